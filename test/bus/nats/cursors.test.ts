/** Cursors in NATS: what it costs, what it survives, and what nobody can do to them. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import type { NatsOptions } from '../../../src/bus/nats/options.ts';
import { SUBJECT_MAX } from '../../../src/bus/nats/subject.ts';
import { opened } from '../../contract/bus/probe.ts';
import { becomes, get } from '../../contract/cursors.ts';
import { natsBus, newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Line } from '../../support/nats/line.ts';
import { durable, roomRef } from '../../support/rooms.ts';

const cluster = await NatsCluster.start(1);
const connection = await connect({ servers: cluster.urls });
const manager = await jetstreamManager(connection);
after(async () => {
  await connection.close();
  await cluster.close();
});

const ROOM = roomRef('@ann');

interface Node {
  readonly bus: NatsBus;
  readonly epoch: string;
  readonly prefix: string;
  readonly stream: string;
  readonly line: Line;
}

/** Behind a line that can be cut. */
async function node(
  context: TestContext,
  options: Partial<NatsOptions> = {},
  cursors?: number,
): Promise<Node> {
  const line = await Line.to(cluster.server(0).url);
  const prefix = options.prefix ?? newPrefix();
  const bus = natsBus([line.url], {
    options: { shards: 1, discover: false, cursorWriteMs: 30, ...options, prefix },
    ...(cursors !== undefined && { cursors }),
  });
  context.after(async () => {
    await bus.close();
    await line.close();
  });
  await bus.start();
  const { position } = await opened(bus, roomRef('epochs'));
  return { bus, epoch: position.epoch, prefix, stream: `${prefix.toUpperCase()}_CURSORS`, line };
}

const figure = (bus: NatsBus, name: string): number => bus.health().figures[name] ?? -1;

async function until(what: string, holds: () => boolean, ms = 5000): Promise<void> {
  const end = Date.now() + ms;
  while (!holds()) {
    assert.ok(Date.now() < end, `waited in vain for ${what}`);
    await sleep(10);
  }
}

const written = (bus: NatsBus) =>
  until('what is to be written', () => figure(bus, 'cursors_unwritten') === 0);

test('a cursor that moves a thousand times is written once in each interval', async (context) => {
  const { bus, epoch } = await node(context, { cursorWriteMs: 300 });
  for (let seq = 1; seq <= 1000; seq++) bus.cursors.put(ROOM, 'ann', { epoch, seq });
  await sleep(100);
  assert.equal(figure(bus, 'cursor_writes'), 0, 'not at once');
  await written(bus);
  assert.equal(figure(bus, 'cursor_writes'), 1);
  for (let seq = 500; seq <= 1000; seq++) bus.cursors.put(ROOM, 'ann', { epoch, seq });
  assert.equal(figure(bus, 'cursors_unwritten'), 0, 'what has been seen before is no move');
});

test('a node begins no more writes than it may, and a drain does not wait for that', async (context) => {
  const { bus, epoch } = await node(context, { cursorWriteMs: 10, cursorWritesPerSecond: 50 });
  const began = performance.now();
  for (let n = 0; n < 200; n++) {
    bus.cursors.put(ROOM, `user-${n}`, { epoch, seq: 1 });
    bus.cursors.flush(ROOM, `user-${n}`);
  }
  await until('some writes', () => figure(bus, 'cursor_writes') > 12);
  const most = 10 + (50 * (performance.now() - began)) / 1000;
  assert.ok(figure(bus, 'cursor_writes') <= most, `${figure(bus, 'cursor_writes')} of ${most}`);
  await bus.cursors.drain(Number.POSITIVE_INFINITY);
  assert.equal(figure(bus, 'cursor_writes'), 200);
});

test('many users who come at once take one request', async (context) => {
  const { bus, epoch, prefix } = await node(context);
  const users = Array.from({ length: 300 }, (_, n) => `user-${n}`);
  for (const [seq, user] of users.entries()) bus.cursors.put(ROOM, user, { epoch, seq });
  await bus.cursors.drain(Number.POSITIVE_INFINITY);
  const other = await node(context, { prefix });
  const answers = await Promise.all(users.map((user) => get(other.bus.cursors, ROOM, user)));
  assert.deepEqual(
    answers,
    users.map((_, seq) => ({ epoch, seq })),
  );
  assert.equal(figure(other.bus, 'cursor_reads'), 300);
  assert.equal(figure(other.bus, 'cursor_read_requests'), 1);
});

test('cursors survive their nodes and the server', async (context) => {
  const first = await node(context);
  first.bus.cursors.put(ROOM, 'ann', { epoch: first.epoch, seq: 41 });
  await first.bus.close();
  await cluster.server(0).kill();
  await cluster.up();
  const second = await node(context, { prefix: first.prefix });
  assert.deepEqual(await get(second.bus.cursors, ROOM, 'ann'), { epoch: first.epoch, seq: 41 });
  second.bus.cursors.put(ROOM, 'ann', { epoch: first.epoch, seq: 42 });
  second.bus.cursors.put(ROOM, 'bob', { epoch: first.epoch, seq: 7 });
  await second.bus.drain(2000);
  const third = await node(context, { prefix: first.prefix });
  assert.deepEqual(await get(third.bus.cursors, ROOM, 'ann'), { epoch: first.epoch, seq: 42 });
  assert.deepEqual(await get(third.bus.cursors, ROOM, 'bob'), { epoch: first.epoch, seq: 7 });
});

test('NATS away: what is known here is the answer, else unavailable; moves wait, within the limit', async (context) => {
  const { bus, epoch, line, prefix } = await node(context, {}, 5);
  bus.cursors.put(ROOM, 'ann', { epoch, seq: 5 });
  await written(bus);
  line.away();
  await until('the loss', () => bus.health().state === 'down');
  assert.deepEqual(await get(bus.cursors, ROOM, 'ann'), { epoch, seq: 5 });
  const unknown = await get(bus.cursors, ROOM, 'bob');
  assert.ok(unknown !== undefined && 'ok' in unknown);
  assert.equal(unknown.code, 'unavailable');
  assert.ok((unknown.retryAfterMs ?? 0) > 0);
  for (const [user, seq] of [
    ['ann', 6],
    ['bob', 1],
    ['cid', 2],
    ['cid', 3],
  ] as const) {
    assert.equal(bus.cursors.put(ROOM, user, { epoch, seq }), undefined);
    bus.cursors.flush(ROOM, user);
  }
  assert.deepEqual(await get(bus.cursors, ROOM, 'cid'), { epoch, seq: 3 });
  const refused = bus.cursors.put(ROOM, 'dan', { epoch, seq: 1 });
  assert.deepEqual([refused?.code, refused?.limit], ['quota_exceeded', 3]);
  assert.equal(figure(bus, 'cursors_refused'), 1);
  line.back();
  await written(bus);
  assert.equal(bus.cursors.put(ROOM, 'dan', { epoch, seq: 1 }), undefined);
  const other = await node(context, { prefix });
  for (const [user, seq] of [
    ['ann', 6],
    ['bob', 1],
    ['cid', 3],
    ['dan', 1],
  ] as const)
    await becomes(other.bus.cursors, ROOM, user, { epoch, seq });
  assert.ok(figure(bus, 'cursors_held') <= 5, 'and no more are held');
});

test('an answer that was lost: the write is not taken for one of somebody else', async (context) => {
  const { bus, epoch, line, prefix } = await node(context, { pingIntervalMs: 500, ackTimeoutMs: 300 });
  bus.cursors.put(ROOM, 'ann', { epoch, seq: 1 });
  await written(bus);
  line.deafen();
  bus.cursors.put(ROOM, 'ann', { epoch, seq: 2 });
  await until('the time-out', () => figure(bus, 'cursor_write_failures') > 0);
  line.cut();
  await written(bus);
  const other = await node(context, { prefix });
  assert.deepEqual(await get(other.bus.cursors, ROOM, 'ann'), { epoch, seq: 2 });
});

test('what stands in NATS never goes back, while two nodes write', async (context) => {
  const one = await node(context, { cursorWriteMs: 10 });
  const two = await node(context, { cursorWriteMs: 10, prefix: one.prefix });
  const { epoch, stream } = one;
  const subject = `${one.prefix}.cur.default.%40ann.ann`;
  const seen: number[] = [];
  let running = true;
  const watching = (async () => {
    while (running) {
      const message = await manager.streams.getMessage(stream, { last_by_subj: subject });
      if (message !== null) seen.push(message.json<{ seq: number }>().seq);
    }
  })();
  for (let seq = 1; seq <= 300; seq++) {
    // One of them is always behind the other.
    one.bus.cursors.put(ROOM, 'ann', { epoch, seq });
    two.bus.cursors.put(ROOM, 'ann', { epoch, seq: 301 - seq });
    two.bus.cursors.put(ROOM, 'ann', { epoch, seq: seq + (seq % 7) });
    for (const { bus } of [one, two]) bus.cursors.flush(ROOM, 'ann');
    if (seq % 3 === 0) await sleep(1);
  }
  await Promise.all([one, two].map(({ bus }) => written(bus)));
  running = false;
  await watching;
  assert.deepEqual(
    seen,
    [...seen].sort((a, b) => a - b),
  );
  for (const { bus } of [one, two]) await becomes(bus.cursors, ROOM, 'ann', { epoch, seq: 306 });
  assert.ok(figure(one.bus, 'cursor_write_conflicts') + figure(two.bus, 'cursor_write_conflicts') > 0);
});

test('a message that is no cursor is not taken for one, and gives way to one', async (context) => {
  const { bus, epoch, prefix } = await node(context);
  for (const [user, text] of [
    ['a', 'x'],
    ['b', '{"epoch":7,"seq":1}'],
    ['c', 'null'],
    ['d', `{"epoch":"${epoch}","seq":1.5}`],
  ] as const) {
    await connection.request(`${prefix}.cur.default.%40ann.${user}`, text);
    assert.equal(await get(bus.cursors, ROOM, user), undefined);
    bus.cursors.put(ROOM, user, { epoch, seq: 3 });
    bus.cursors.flush(ROOM, user);
  }
  await written(bus);
  const other = await node(context, { prefix });
  for (const user of ['a', 'b', 'c', 'd'])
    assert.deepEqual(await get(other.bus.cursors, ROOM, user), { epoch, seq: 3 });
});

test('positions of an epoch that is over are not written', async (context) => {
  const { bus, epoch } = await node(context);
  bus.cursors.put(ROOM, 'ann', { epoch, seq: 3 });
  await written(bus);
  bus.cursors.put(ROOM, 'ann', { epoch: 'another', seq: 9 });
  await written(bus);
  assert.deepEqual(await get(bus.cursors, ROOM, 'ann'), { epoch, seq: 3 });
  assert.equal(figure(bus, 'cursor_writes'), 1);
});

test('the stream of cursors deleted: it is made anew where that is allowed, and what moves is stored', async (context) => {
  const { bus, epoch, stream, prefix } = await node(context);
  bus.cursors.put(ROOM, 'ann', { epoch, seq: 3 });
  await written(bus);
  await manager.streams.delete(stream);
  bus.cursors.put(ROOM, 'ann', { epoch, seq: 4 });
  await written(bus);
  const other = await node(context, { prefix });
  assert.deepEqual(await get(other.bus.cursors, ROOM, 'ann'), { epoch, seq: 4 });
  assert.equal((await manager.streams.info(stream)).config.max_msgs_per_subject, 1);
});

test('no subject is over the length that the server takes', async (context) => {
  const { bus, epoch, stream } = await node(context);
  const room = roomRef('@'.repeat(128), durable(), '.'.repeat(64));
  bus.cursors.put(room, '🎈'.repeat(128), { epoch, seq: 3 });
  await written(bus);
  const { state } = await manager.streams.info(stream, { subjects_filter: '>' });
  const [subject = ''] = Object.keys(state.subjects ?? {});
  assert.match(subject, /\.%sha256-[\w-]{43}$/);
  assert.ok(subject.length <= SUBJECT_MAX);
});

test('rooms that keep no cursors need no stream', async (context) => {
  const prefix = newPrefix();
  const policies = [{ ...durable(), cursor: false }];
  const bus = natsBus(cluster.urls, { options: { prefix, shards: 1 }, policies });
  context.after(() => bus.close());
  await bus.start();
  await assert.rejects(manager.streams.info(`${prefix.toUpperCase()}_CURSORS`), /not found/);
});

/** Both nodes move the same cursors, now ahead of and now behind each other, up to position 100. */
async function churn(
  buses: readonly NatsBus[],
  users: readonly string[],
  epoch: string,
  halfway: () => Promise<void>,
): Promise<void> {
  for (let round = 1; round <= 100; round++) {
    if (round === 50) await halfway();
    for (const [n, user] of users.entries()) {
      const { cursors } = buses[(n + round) % buses.length] as NatsBus;
      cursors.put(ROOM, user, { epoch, seq: round % 3 === 0 ? 1 : round });
      if ((n * round) % 5 === 0) cursors.flush(ROOM, user);
    }
    await sleep(2);
  }
}

test('three servers, the leader killed while two nodes write the same cursors: the greatest stand', async (context) => {
  const three = await NatsCluster.start(3);
  const options = {
    prefix: newPrefix(),
    shards: 1,
    cursorWriteMs: 10,
    ackTimeoutMs: 1000,
    pingIntervalMs: 500,
  };
  const buses = [0, 1].map((at) => natsBus([three.server(at).url], { options }));
  const looking = await connect({ servers: three.urls });
  context.after(async () => {
    for (const bus of buses) await bus.close();
    await looking.close();
    await three.close();
  });
  for (const bus of buses) await bus.start();
  const { position } = await opened(buses[0] as NatsBus, roomRef('epochs'));
  const streams = (await jetstreamManager(looking)).streams;
  const users = Array.from({ length: 50 }, (_, n) => `user-${n}`);
  await churn(buses, users, position.epoch, async () => {
    const { cluster: raft } = await streams.info(`${options.prefix.toUpperCase()}_CURSORS`);
    await three.named(raft?.leader ?? '').kill();
  });
  for (const bus of buses) {
    await until('what is to be written', () => figure(bus, 'cursors_unwritten') === 0, 30_000);
    for (const user of users) await becomes(bus.cursors, ROOM, user, { epoch: position.epoch, seq: 100 });
  }
});
