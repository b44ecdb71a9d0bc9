import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { RoomPolicy } from '../../../src/broker/settings.ts';
import { applyStreams } from '../../../src/bus/nats/apply.ts';
import { type NatsOptions, natsOptions } from '../../../src/bus/nats/options.ts';
import { accepted, fill, history, opened, replay, seqsOf } from '../../contract/bus/probe.ts';
import { STATE } from '../../contract/cluster/subject.ts';
import { USAGE } from '../../contract/usage.ts';
import { natsBus, newPrefix, VOICE } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { WITHOUT_BATCH } from '../../support/nats/provide.ts';
import { durable, LIVE, roomRef } from '../../support/rooms.ts';

const cluster = await NatsCluster.start(1);
const connection = await connect({ servers: cluster.urls });
const manager = await jetstreamManager(connection);
after(async () => {
  await connection.close();
  await cluster.close();
});

const TEN_MINUTES = durable({ count: 200, ageMs: 600_000 });
const LIMITS = { payloadBytes: 65_536, dedupeWindowMs: 60_000 };

function settings(prefix: string, more: Partial<NatsOptions> = {}): NatsOptions {
  return natsOptions({
    servers: cluster.urls,
    prefix,
    shards: 2,
    streamBytes: 2 ** 25,
    cursorBytes: 2 ** 20,
    ...more,
  });
}

async function started(
  context: TestContext,
  options: Partial<NatsOptions>,
  policies: RoomPolicy[] = [TEN_MINUTES],
) {
  const bus = natsBus(options.servers ?? cluster.urls, { options, policies });
  context.after(() => bus.close());
  await bus.start();
  return bus;
}

function apply(options: NatsOptions, policies: readonly RoomPolicy[] = [TEN_MINUTES]) {
  return applyStreams({ options, policies, limits: LIMITS, state: STATE, usage: USAGE, log: VOICE });
}

test('a broker creates what is missing, as wide as the widest room', async (context) => {
  const prefix = newPrefix();
  await started(context, { prefix }, [LIVE, TEN_MINUTES, durable({ count: 50, ageMs: 3_600_000 })]);
  const { config } = await manager.streams.info(`${prefix.toUpperCase()}_1`);
  assert.equal(config.max_msgs_per_subject, 201);
  assert.equal(config.max_age, 3_600_000 * 1e6);
  assert.equal(config.duplicate_window, 60_000 * 1e6);
  assert.equal(config.max_msg_size, 65_536 + 4096);
  assert.deepEqual(config.republish, { src: `${prefix}.log.1.>`, dest: `${prefix}.live.1.>` });
  assert.equal(config.storage, 'file');
  assert.equal(config.num_replicas, 1);
});

test('the stream of cursors: one message for each, for as long as the settings say', async (context) => {
  const prefix = newPrefix();
  await started(context, { prefix, cursorAgeMs: 7_200_000 });
  const { config } = await manager.streams.info(`${prefix.toUpperCase()}_CURSORS`);
  assert.deepEqual(config.subjects, [`${prefix}.cur.>`]);
  assert.equal(config.max_msgs_per_subject, 1);
  assert.equal(config.max_age, 7_200_000 * 1e6);
  assert.equal(config.storage, 'file');
  assert.equal(config.allow_direct, true);
  await assert.rejects(
    started(context, { prefix, cursorAgeMs: 10_800_000 }),
    new RegExp(`${prefix.toUpperCase()}_CURSORS: max_age is 2h, the settings say 3h.*streams apply`),
  );
});

test('several brokers may start at once', async (context) => {
  const prefix = newPrefix();
  await Promise.all(Array.from({ length: 4 }, () => started(context, { prefix })));
});

test('a stream that does not fit: the start is refused with what differs, and nothing is changed', async (context) => {
  const prefix = newPrefix();
  await started(context, { prefix });
  const wider = [durable({ count: 500, ageMs: 600_000 })];
  await assert.rejects(started(context, { prefix }, wider), (error: Error) => {
    assert.match(
      error.message,
      new RegExp(`${prefix.toUpperCase()}_0: max_msgs_per_subject is 201, the settings say 501`),
    );
    assert.match(error.message, /carillon streams apply/);
    return true;
  });
  assert.equal((await manager.streams.info(`${prefix.toUpperCase()}_0`)).config.max_msgs_per_subject, 201);
});

test("sizes and copies are the operator's own", async (context) => {
  const prefix = newPrefix();
  await started(context, { prefix });
  const name = `${prefix.toUpperCase()}_0`;
  const { config } = await manager.streams.info(name);
  await manager.streams.update(name, { ...config, max_bytes: 2 ** 24 });
  await started(context, { prefix });
  assert.equal((await manager.streams.info(name)).config.max_bytes, 2 ** 24);
});

test('manageStreams: false creates nothing and says what is missing', async (context) => {
  const prefix = newPrefix();
  await assert.rejects(
    started(context, { prefix, manageStreams: false }),
    /_0 is missing, and nats.manageStreams is false/,
  );
  await assert.rejects(manager.streams.info(`${prefix.toUpperCase()}_0`));
  await apply(settings(prefix));
  const bus = await started(context, { prefix, manageStreams: false });
  await accepted(bus, roomRef('a', TEN_MINUTES), 1);
});

test('streams apply creates, then updates, then has nothing to do', async () => {
  const prefix = newPrefix();
  const shards = [0, 1].map((shard) => `${prefix.toUpperCase()}_${shard}`);
  const cursors = `${prefix.toUpperCase()}_CURSORS`;
  const state = `${prefix.toUpperCase()}_STATE`;
  const usage = `${prefix.toUpperCase()}_USAGE`;
  const names = [...shards, cursors, state, usage];
  const none = { created: [], updated: [], unchanged: [], wider: [], narrowed: [] };
  assert.deepEqual(await apply(settings(prefix)), { ...none, created: names });
  assert.deepEqual(await apply(settings(prefix)), { ...none, unchanged: names });
  const wider = [durable({ count: 500, ageMs: 600_000 })];
  assert.deepEqual(await apply(settings(prefix), wider), {
    ...none,
    updated: shards,
    unchanged: [cursors, state, usage],
  });
  assert.equal((await manager.streams.info(shards[0] as string)).config.max_msgs_per_subject, 501);
  const longer = settings(prefix, { cursorAgeMs: 100 * 24 * 3_600_000, cursorBytes: 2 ** 21 });
  assert.deepEqual((await apply(longer, wider)).updated, [cursors]);
  const { config } = await manager.streams.info(cursors);
  assert.deepEqual([config.max_age, config.max_bytes], [100 * 24 * 3_600_000 * 1e6, 2 ** 21]);
});

test('another number of shards is refused by the start and by apply: rooms would be looked for elsewhere', async (context) => {
  const prefix = newPrefix();
  await started(context, { prefix });
  await assert.rejects(started(context, { prefix, shards: 4 }), /carillon.shards is 2, the settings say 4/);
  await assert.rejects(apply(settings(prefix, { shards: 4 })), /belongs to an installation with 2 shards/);
});

test('rooms without history need no streams', async (context) => {
  const prefix = newPrefix();
  const bus = await started(context, { prefix, manageStreams: false }, [LIVE]);
  const probe = await opened(bus, roomRef('a', LIVE));
  await accepted(bus, roomRef('a', LIVE), 1);
  assert.equal(probe.events.length, 1);
  const { created } = await apply(settings(prefix), [LIVE]);
  assert.deepEqual(
    created,
    [`${prefix.toUpperCase()}_STATE`, `${prefix.toUpperCase()}_USAGE`],
    'stores and usage need no history',
  );
});

test('a payload limit over that of the server is refused at the start', async (context) => {
  const bus = natsBus(cluster.urls, { options: { prefix: newPrefix() }, payloadBytes: 2 ** 20 });
  context.after(() => bus.close());
  await assert.rejects(bus.start(), /max_payload/);
});

test('NATS that cannot be reached: the start says where and why', async (context) => {
  const options = { servers: ['nats://ann:secret@127.0.0.1:1'], startTimeoutMs: 300 };
  await assert.rejects(started(context, options), (error: Error) => {
    assert.match(error.message, /nats:\/\/127\.0\.0\.1:1 cannot be reached: .*refused/);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test('without JetStream: history is refused, live rooms are served', async (context) => {
  const plain = await NatsCluster.start(1, { jetstream: false });
  context.after(() => plain.close());
  await assert.rejects(started(context, { servers: plain.urls }), /runs without JetStream/);
  await started(context, { servers: plain.urls }, [LIVE]);
});

test('a server without batch direct get: refused by name, or all rooms live if that is wanted', async (context) => {
  const old = await NatsCluster.start(1, { wanted: WITHOUT_BATCH });
  context.after(() => old.close());
  await assert.rejects(started(context, { servers: old.urls }), (error: Error) => {
    assert.match(
      error.message,
      /the server is version 2\.\d+\.\d+ with JetStream API level 0, and history needs level 1 \(2\.11 or newer\)/,
    );
    assert.match(error.message, /nats\.coreOnly/);
    return true;
  });
  const prefix = newPrefix();
  const buses = [];
  for (let n = 0; n < 2; n++)
    buses.push(await started(context, { servers: old.urls, prefix, coreOnly: true }));
  const [here, there] = buses as [(typeof buses)[number], (typeof buses)[number]];
  const room = roomRef('a', TEN_MINUTES);
  const probes = [await opened(here, room), await opened(there, room)];
  for (let n = 0; n < 5; n++) await accepted(n % 2 === 0 ? here : there, room, n);
  for (const probe of probes) {
    await probe.count(5);
    assert.deepEqual([...probe.payloads].sort(), [0, 1, 2, 3, 4]);
  }
  const page = await new Promise((done) => here.history(room, { limit: 5, maxBytes: 1000 }, done));
  assert.deepEqual((page as { events: unknown[] }).events, []);
});

for (const more of [0, 60]) {
  test(`a limit raised: what the old one has cut is told, where ${more} events came since`, async (context) => {
    const prefix = newPrefix();
    const [small, large] = [durable({ count: 20 }), durable({ count: 200 })];
    const options = { prefix, shards: 1 };
    const before = await started(context, options, [small]);
    await accepted(before, roomRef('quiet', small), 'the first place of the stream');
    const { epoch } = (await opened(before, roomRef('a', small))).position;
    const stored = await fill(before, roomRef('a', small), 60);
    await before.close();
    await apply(settings(prefix, options), [large]);
    const bus = await started(context, options, [large]);
    const room = roomRef('a', large);
    const probe = await opened(bus, room);
    const later = await fill(bus, room, more);
    await probe.count(more);
    assert.equal((await history(bus, room)).truncated, true);
    const page = await replay(bus, room, { epoch, seq: stored[20] as number });
    assert.deepEqual([page.recovered, page.gap?.from], ['partial', stored[20]]);
    assert.deepEqual(seqsOf(page), [...stored.slice(-21), ...later]);
  });
}

test('raising a limit is brought to its end by the next apply', async () => {
  const prefix = newPrefix();
  const options = settings(prefix, { shards: 1 });
  await apply(options);
  const name = `${prefix.toUpperCase()}_0`;
  const { config } = await manager.streams.info(name);
  const metadata = { ...config.metadata, 'carillon.grown': String(Number.MAX_SAFE_INTEGER) };
  await manager.streams.update(name, { ...config, metadata });
  assert.deepEqual((await apply(options)).updated, [name]);
  assert.equal((await manager.streams.info(name)).config.metadata?.['carillon.grown'], '0');
  assert.deepEqual((await apply(options)).updated, []);
});
