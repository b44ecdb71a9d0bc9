/** Streams that keep more than the settings say, as after a rollback: brokers live with them, apply leaves them so. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { Log } from '../../../src/broker/ports.ts';
import type { HistoryPolicy } from '../../../src/broker/settings.ts';
import { applyStreams } from '../../../src/bus/nats/apply.ts';
import { type NatsOptions, natsOptions } from '../../../src/bus/nats/options.ts';
import { showApplied } from '../../../src/cli/streams.ts';
import { accepted, history, opened, payloadsOf } from '../../contract/bus/probe.ts';
import { STATE } from '../../contract/cluster/subject.ts';
import { USAGE } from '../../contract/usage.ts';
import { natsBus, newPrefix, VOICE } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { durable, roomRef } from '../../support/rooms.ts';

const cluster = await NatsCluster.start(1);
const connection = await connect({ servers: cluster.urls });
const manager = await jetstreamManager(connection);
after(async () => {
  await connection.close();
  await cluster.close();
});

const NARROW = { count: 5, ageMs: 600_000 };
const WIDE = { count: 50, ageMs: 3_600_000 };
const WINDOW = { payloadBytes: 65_536, dedupeWindowMs: 60_000 };

interface Setup {
  readonly prefix: string;
  readonly history: Partial<HistoryPolicy>;
  readonly options?: Partial<NatsOptions>;
  readonly limits?: Partial<typeof WINDOW>;
  readonly narrow?: boolean;
}

function apply({ prefix, history, options = {}, limits = {}, narrow = false }: Setup) {
  const sizes = { shards: 1, streamBytes: 2 ** 25, cursorBytes: 2 ** 20 };
  const parts = { policies: [durable(history)], limits: { ...WINDOW, ...limits } };
  const all = natsOptions({ servers: cluster.urls, prefix, ...sizes, ...options });
  return applyStreams({ ...parts, options: all, state: STATE, usage: USAGE, log: VOICE }, { narrow });
}

async function started(context: TestContext, prefix: string, history: Partial<HistoryPolicy>, log?: Log) {
  const options = { prefix, shards: 1, manageStreams: false };
  const bus = natsBus(cluster.urls, { options, policies: [durable(history)], ...(log && { log }) });
  context.after(() => bus.close());
  await bus.start();
  return bus;
}

const streamOf = async (prefix: string) => manager.streams.info(`${prefix.toUpperCase()}_0`);

test('a broker lives with a wider stream, says so, and its rooms keep their own bounds', async (context) => {
  const prefix = newPrefix();
  await apply({ prefix, history: WIDE });
  const said: { fields: object; message: string }[] = [];
  const warn = (fields: object, message: string) => void said.push({ fields, message });
  const bus = await started(context, prefix, NARROW, { ...VOICE, warn });
  const [told] = said.filter(({ message }) => message.includes('more than the settings'));
  assert.match(JSON.stringify(told?.fields), /_0: max_age is 1h, the settings say 10m/);
  assert.match(JSON.stringify(told?.fields), /_0: max_msgs_per_subject is 51, the settings say 6/);
  assert.equal(bus.health().state, 'up');
  assert.equal(bus.health().figures['wider_streams'], 1);
  const room = roomRef('a', durable(NARROW));
  await opened(bus, room);
  for (let n = 0; n < 12; n++) await accepted(bus, room, n);
  assert.equal((await streamOf(prefix)).state.messages, 12);
  const page = await history(bus, room, { limit: 50 });
  assert.deepEqual(payloadsOf(page), [7, 8, 9, 10, 11]);
  // Nothing of it where the stream fits.
  const exact = await started(context, prefix, WIDE);
  assert.equal(exact.health().figures['wider_streams'], 0);
});

test('a narrower stream is refused, with both values in units that a person reads', async (context) => {
  const prefix = newPrefix();
  await apply({ prefix, history: NARROW });
  await assert.rejects(started(context, prefix, WIDE), (error: Error) => {
    assert.match(error.message, /_0: max_age is 10m, the settings say 1h; .*_0: max_msgs_per_subject is 6,/);
    assert.match(error.message, /carillon streams apply/);
    assert.doesNotMatch(error.message, /00000000/);
    return true;
  });
});

test('apply widens by itself, and narrows only when told to, after saying what that drops', async (context) => {
  const prefix = newPrefix();
  await apply({ prefix, history: NARROW });
  const wide = { payloadBytes: 131_072, dedupeWindowMs: 120_000 };
  const options = { streamBytes: 2 ** 26 };
  const name = `${prefix.toUpperCase()}_0`;
  assert.deepEqual((await apply({ prefix, history: WIDE, limits: wide, options })).updated, [name]);
  const before = (await streamOf(prefix)).config;
  assert.deepEqual([before.max_msgs_per_subject, before.max_age], [51, 3_600_000 * 1e6]);
  const bus = await started(context, prefix, WIDE);
  const room = roomRef('a', durable(WIDE));
  for (let n = 0; n < 12; n++) await accepted(bus, room, n);

  const back = await apply({ prefix, history: NARROW });
  assert.deepEqual([back.updated, back.narrowed], [[], []]);
  assert.ok(back.unchanged.includes(name));
  assert.deepEqual((await streamOf(prefix)).config, before);
  const text = showApplied(back);
  for (const line of [
    /max_age is 1h, the settings say 10m; --narrow would drop: nothing now: it has nothing older than 10m/,
    /max_msgs_per_subject is 51, the settings say 6; --narrow would drop: of each room all but its newest 6/,
    /max_msg_size is 132KiB, the settings say 68KiB; --narrow would drop: nothing that is stored/,
    /duplicate_window is 2m, the settings say 1m; /,
    /max_bytes is 64MiB, the settings say 32MiB; --narrow would drop: nothing now: \d+ bytes are used/,
  ])
    assert.match(text, line);

  const told = await apply({ prefix, history: NARROW, narrow: true });
  assert.deepEqual([told.updated, told.wider], [[name], []]);
  assert.equal(told.narrowed.length, 5);
  const { config, state } = await streamOf(prefix);
  assert.deepEqual([config.max_msgs_per_subject, config.max_age, state.messages], [6, 600_000 * 1e6, 6]);
});

test('one bound wider, another narrower: the narrower one is widened, the other stays', async () => {
  const prefix = newPrefix();
  await apply({ prefix, history: { count: 50, ageMs: 600_000 } });
  const { wider } = await apply({ prefix, history: { count: 5, ageMs: 3_600_000 } });
  assert.deepEqual(
    wider.map(({ difference }) => difference),
    ['max_msgs_per_subject is 51, the settings say 6'],
  );
  const { config } = await streamOf(prefix);
  assert.deepEqual([config.max_msgs_per_subject, config.max_age], [51, 3_600_000 * 1e6]);
});

test('no limit at all is wider than any', async (context) => {
  const prefix = newPrefix();
  await apply({ prefix, history: NARROW });
  const { config } = await streamOf(prefix);
  const open = { max_age: 0, max_msgs_per_subject: -1, max_msg_size: -1 };
  await manager.streams.update(config.name, { ...config, ...open });
  const bus = await started(context, prefix, NARROW);
  assert.equal(bus.health().figures['wider_streams'], 1);
  const { wider, updated } = await apply({ prefix, history: NARROW });
  assert.match(
    showApplied({ created: [], updated, unchanged: [], wider, narrowed: [] }),
    /max_age is without limit/,
  );
  assert.equal((await streamOf(prefix)).config.max_age, 0);
});

test('messages in memory cannot be moved to files: apply says so before it changes any stream', async () => {
  const prefix = newPrefix();
  await apply({ prefix, history: NARROW });
  const usage = `${prefix.toUpperCase()}_USAGE`;
  const { config } = await manager.streams.info(usage);
  await manager.streams.delete(usage);
  await manager.streams.add({ ...config, storage: 'memory' });
  await assert.rejects(
    apply({ prefix, history: WIDE }),
    /_USAGE has its messages in memory, and Carillon needs them in file\. NATS cannot change that/,
  );
  assert.equal((await streamOf(prefix)).config.max_msgs_per_subject, 6);
});

test('copies: more are made, fewer only when told to', async (context) => {
  const three = await NatsCluster.start(3);
  context.after(() => three.close());
  const prefix = newPrefix();
  const copies = (replicas: 1 | 3, narrow = false) =>
    apply({ prefix, history: NARROW, narrow, options: { servers: three.urls, replicas } });
  await copies(1);
  assert.equal((await copies(3)).updated.length, 4);
  const kept = await copies(1);
  assert.deepEqual(kept.updated, []);
  assert.match(
    showApplied(kept),
    /_0: num_replicas is 3, the settings say 1; --narrow would drop: 2 of 3 copies/,
  );
  assert.equal((await copies(1, true)).updated.length, 4);
});
