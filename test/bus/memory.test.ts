import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomSink } from '../../src/broker/ports.ts';
import { MemoryBus, type MemoryBusOptions } from '../../src/bus/memory/bus.ts';
import { accepted, fill, history, opened, Probe, publish, replay, seqsOf } from '../contract/bus/probe.ts';
import { durable, LIVE, roomRef } from '../support/rooms.ts';

const AGE = 10_000;
const POLICY = durable({ ageMs: AGE });

function make(limits: Partial<MemoryBusOptions['limits']> = {}) {
  const clock = { time: 1_760_000_000_000, now: () => clock.time };
  const warnings: { fields: object; message: string }[] = [];
  const log = {
    debug: () => {},
    info: () => {},
    warn: (fields: object, message: string) => warnings.push({ fields, message }),
    error: () => {},
  };
  const wide = {
    historyTotalBytes: 1e9,
    rooms: 1000,
    roomsPerTenant: 100_000,
    dedupeWindowMs: 60_000,
    dedupeEntries: 1000,
    dedupeEntriesPerTenant: 1000,
  };
  const bus = new MemoryBus({ limits: { ...wide, ...limits }, clock, epoch: 'e1', log });
  const advance = (ms: number): void => {
    clock.time += ms;
    bus.sweep(clock.time);
  };
  const figure = (name: string): number => bus.health().figures[name] as number;
  return { bus, clock, advance, figure, warnings };
}

test('everything is answered before the call returns', () => {
  const { bus } = make();
  const room = roomRef('a');
  const calls: string[] = [];
  const sink: RoomSink = {
    opened: ({ epoch, seq }) => calls.push(`opened ${epoch} ${seq}`),
    failed: () => calls.push('failed'),
    event: (event) => calls.push(`event ${event.seq}`),
    gap: () => calls.push('gap'),
  };
  bus.open(room, sink);
  bus.publish({ room, from: 'u', payload: '1', ephemeral: false }, () => calls.push('settled'));
  bus.replay(room, { last: 1 }, { count: 1, maxBytes: 1 }, () => calls.push('replayed'));
  bus.history(room, { limit: 1, maxBytes: 1 }, () => calls.push('read'));
  assert.deepEqual(calls, ['opened e1 0', 'event 1', 'settled', 'replayed', 'read']);
});

test('one counter numbers the events of all rooms', async () => {
  const { bus } = make();
  const [a, b, live] = [roomRef('a'), roomRef('b'), roomRef('c', LIVE)];
  const seqs = [await accepted(bus, a, 1), await accepted(bus, b, 1), await accepted(bus, live, 1)];
  assert.deepEqual([...seqs, await accepted(bus, a, 2)], [1, 2, 3, 4]);
  assert.deepEqual(seqsOf(await history(bus, a)), [1, 4]);
});

test('a room is remembered for one history age after it had neither members nor events', async () => {
  const { bus, advance, figure } = make();
  const room = roomRef('a', POLICY);
  await opened(bus, room);
  advance(3 * AGE);
  assert.equal(figure('rooms'), 1, 'members keep it');
  await accepted(bus, room, 1);
  bus.shut(room);
  advance(AGE);
  assert.equal(figure('history_events'), 1, 'at its age exactly an event is still there');
  advance(1);
  assert.deepEqual([figure('history_events'), figure('history_bytes'), figure('rooms')], [0, 0, 1]);
  advance(AGE);
  assert.equal(figure('rooms'), 1);
  advance(1);
  assert.equal(figure('rooms'), 0);
});

test('a forgotten room raises the floor: a resume from before is partial, never a silent hole', async () => {
  const { bus, advance, figure } = make();
  const quiet = roomRef('quiet', POLICY);
  const { position } = await opened(bus, quiet);
  bus.shut(quiet);
  const missed = await accepted(bus, quiet, 'missed');
  for (let n = 0; n < 3; n++) advance(AGE + 1);
  assert.equal(figure('rooms'), 0);
  const back = await opened(bus, quiet);
  assert.equal(back.position.seq, missed, 'a room that may be an old one starts where no old one can be');
  const page = await replay(bus, quiet, position);
  assert.equal(page.recovered, 'partial');
  assert.deepEqual(page.gap, { from: position.seq, to: missed, reason: 'retention' });
  await accepted(bus, quiet, 'next');
  assert.equal(back.events[0]?.prev, back.position.seq);
  assert.equal((await history(bus, quiet)).truncated, false, 'nothing is known to be gone');
  assert.equal((await history(bus, quiet, { after: position.seq })).truncated, true, 'but it may be');
});

test('the floor never goes back', async () => {
  const { bus, advance } = make();
  const [first, second, fresh] = [roomRef('1', POLICY), roomRef('2', POLICY), roomRef('3', POLICY)];
  await accepted(bus, first, 1);
  const later = await accepted(bus, second, 1);
  await accepted(bus, first, 2, { ephemeral: false });
  for (let n = 0; n < 3; n++) advance(AGE + 1);
  const probe = await opened(bus, fresh);
  assert.equal(probe.position.seq, later + 1);
});

test('a room published to without members is remembered too; an ephemeral publish makes no room', async () => {
  const { bus, figure } = make();
  await accepted(bus, roomRef('a', POLICY), 1);
  await publish(bus, roomRef('b', POLICY), 1, { ephemeral: true });
  await accepted(bus, roomRef('c', LIVE), 1);
  assert.deepEqual([figure('rooms'), figure('open_rooms')], [1, 0]);
});

test('a live room is forgotten with its last member, and its position goes on', async () => {
  const { bus, figure } = make();
  const room = roomRef('a', LIVE);
  const first = await opened(bus, room);
  const [seen] = await fill(bus, room, 1);
  bus.shut(room);
  assert.equal(figure('rooms'), 0);
  assert.equal((await opened(bus, room)).position.seq, seen);
  assert.equal((await replay(bus, room, { epoch: 'e1', seq: seen as number })).recovered, 'full');
  assert.equal((await replay(bus, room, first.position)).recovered, 'partial');
});

test('all rooms together keep historyTotalBytes, least recently published to evicted first', async () => {
  const payload = 'x'.repeat(900);
  const sample = make();
  await accepted(sample.bus, roomRef('a', POLICY), payload);
  const each = sample.figure('history_bytes');
  const { bus, figure, warnings, advance } = make({ historyTotalBytes: each * 10 + 100 });
  const [a, b, c] = [roomRef('a', POLICY), roomRef('b', POLICY), roomRef('c', POLICY)];
  for (const room of [a, b, c]) for (let n = 0; n < 3; n++) await accepted(bus, room, payload);
  const [recent] = await fill(bus, a, 1, () => payload);
  assert.equal(figure('history_evicted'), 0);
  await accepted(bus, c, payload);
  await accepted(bus, c, payload);
  const lengths = async () =>
    Promise.all([a, b, c].map(async (room) => (await history(bus, room)).events.length));
  assert.deepEqual(await lengths(), [4, 1, 5], 'b was published to least recently');
  await accepted(bus, c, payload);
  await accepted(bus, c, payload);
  assert.deepEqual(await lengths(), [3, 0, 7], 'then a');
  assert.deepEqual([figure('history_evicted'), figure('history_events')], [4, 10]);
  assert.ok(figure('history_bytes') <= each * 10 + 100);
  assert.equal(seqsOf(await history(bus, a)).at(-1), recent);
  for (let n = 0; n < 20; n++) await accepted(bus, c, payload);
  assert.deepEqual(await lengths(), [0, 0, 10], 'a room alone evicts its own');
  advance(1000);
  await accepted(bus, c, payload);
  advance(1000);
  assert.equal(warnings.length, 1, 'told once, not every second');
});

test('the least recent room is found among rooms of different ages', async () => {
  const { bus, figure } = make({ historyTotalBytes: 5500 });
  const rooms = [5, 1, 9, 3].map((n) => roomRef(`r${n}`, durable({ ageMs: n * AGE })));
  for (const room of rooms) await accepted(bus, room, 'x'.repeat(1200));
  const kept = await Promise.all(rooms.map(async (room) => (await history(bus, room)).events.length));
  assert.deepEqual(kept, [0, 1, 1, 1]);
  assert.equal(figure('history_evicted'), 1);
});

test('MessagePack forms made later count, and the next sweep evicts for them', async () => {
  const { bus, figure, advance } = make({ historyTotalBytes: 20_000 });
  const rooms = Array.from({ length: 8 }, (_, n) => roomRef(`r${n}`, POLICY));
  for (const room of rooms) await accepted(bus, room, 'x'.repeat(2000));
  assert.equal(figure('history_evicted'), 0);
  for (const room of rooms) for (const event of (await history(bus, room)).events) event.msgpack;
  assert.ok(figure('history_bytes') > 30_000);
  advance(0);
  assert.ok(figure('history_bytes') <= 20_000);
  assert.equal(figure('history_events'), 4);
});

test('a sweep reaches rooms of a short age behind fresh ones of a long age', async () => {
  const { bus, figure, advance } = make();
  await accepted(bus, roomRef('long', durable({ ageMs: 100 * AGE })), 1);
  await accepted(bus, roomRef('short', POLICY), 1);
  advance(AGE + 1);
  assert.equal(figure('history_events'), 1);
});

test('one sweep looks at a bounded number of rooms', async () => {
  const { bus, figure, advance } = make({ rooms: 100_000 });
  for (let n = 0; n < 15_000; n++) await accepted(bus, roomRef(`r${n}`, POLICY), 1);
  advance(AGE + 1);
  assert.equal(figure('history_events'), 5000);
  advance(0);
  assert.equal(figure('history_events'), 0);
});

test('an event over its age is not given out, swept or not', async () => {
  const { bus, clock, figure } = make();
  const room = roomRef('a', POLICY);
  const { position } = await opened(bus, room);
  await fill(bus, room, 2);
  clock.time += AGE + 1;
  assert.deepEqual((await history(bus, room)).events, []);
  assert.equal((await replay(bus, room, position)).recovered, 'partial');
  assert.equal(figure('history_events'), 0);
});

test('at limits.rooms an idle room makes place; without one, open and publish are refused', async () => {
  const { bus, figure, clock } = make({ rooms: 2 });
  const [a, b, c] = [roomRef('a', POLICY), roomRef('b', POLICY), roomRef('c', POLICY)];
  const first = await opened(bus, a);
  await opened(bus, b);
  const refused = new Probe();
  bus.open(c, refused);
  const limit = { ok: false, code: 'overloaded', retryAfterMs: 1000, limit: 2 };
  const fault = { ...limit, reason: 'this node holds as many rooms as it may' };
  assert.deepEqual(refused.faults, [fault]);
  assert.deepEqual(refused.positions, []);
  assert.deepEqual(await publish(bus, c, 1, { msgId: 'm' }), fault);
  assert.equal((await publish(bus, c, 1, { ephemeral: true })).ok, true, 'which needs no place');
  const seq = await accepted(bus, a, 1);
  bus.shut(a);
  assert.deepEqual(await publish(bus, c, 1), fault, 'a room with events is not idle');
  clock.time += 1;
  bus.shut(b);
  const third = await opened(bus, c);
  assert.deepEqual([figure('rooms'), figure('open_rooms')], [2, 1]);
  await accepted(bus, c, 1, { msgId: 'm' });
  assert.equal(third.events.length, 1, 'a refused msgId was not taken for published');
  assert.deepEqual(seqsOf(await history(bus, a)), [seq]);
  assert.equal(first.events.length, 1);
});

test('the room that has been idle longest makes place, and raises the floor first', async () => {
  const { bus, clock } = make({ rooms: 2 });
  const [a, b, c] = [roomRef('a', durable({ ageMs: 2 * AGE })), roomRef('b', POLICY), roomRef('c', POLICY)];
  await opened(bus, b);
  await opened(bus, a);
  const seq = await accepted(bus, b, 'x');
  clock.time += AGE + 1;
  assert.deepEqual((await history(bus, b)).events, []);
  bus.shut(b);
  clock.time += 1;
  bus.shut(a);
  const third = await opened(bus, c);
  assert.equal(third.position.seq, seq, 'b was forgotten for c');
  assert.equal((await replay(bus, a, { epoch: 'e1', seq: 0 })).recovered, 'full', 'a is still known');
});

test('duplicates are known for the window, counted, and bounded', async () => {
  const { bus, advance, figure } = make({ dedupeEntries: 10, dedupeEntriesPerTenant: 10 });
  const room = roomRef('a');
  const first = await accepted(bus, room, 1, { msgId: 'm' });
  advance(59_999);
  assert.equal((await publish(bus, room, 1, { msgId: 'm' })).ok, true);
  assert.equal(figure('dedupe_entries'), 1);
  advance(120_000);
  assert.equal(figure('dedupe_entries'), 0);
  assert.ok((await accepted(bus, room, 1, { msgId: 'm' })) > first);
  for (let n = 0; n < 25; n++) await accepted(bus, room, 1, { msgId: `m${n}` });
  assert.ok(figure('dedupe_entries') <= 10);
  assert.equal(figure('dedupe_evicted'), 26 - figure('dedupe_entries'));
});

test('an ephemeral or live publish does not use the window up', async () => {
  const { bus, figure } = make();
  await publish(bus, roomRef('a'), 1, { msgId: 'm', ephemeral: true });
  await publish(bus, roomRef('b', LIVE), 1, { msgId: 'm' });
  assert.equal(figure('dedupe_entries'), 0);
});

test('a sink that throws takes neither its publisher’s answer nor those of others with it', () => {
  const { bus } = make();
  const room = roomRef('a');
  const settled: string[] = [];
  const publishOne = (payload: string): void =>
    bus.publish({ room, from: 'u', payload, ephemeral: false }, () => settled.push(payload));
  const sink = new Probe();
  sink.onEvent = (event) => {
    if (event.payload === '0') for (const payload of ['1', '2', '3']) publishOne(payload);
    throw new Error(`broken at ${event.payload}`);
  };
  bus.open(room, sink);
  assert.throws(() => publishOne('0'), /broken at/);
  assert.deepEqual(settled, ['0', '1', '2', '3']);
  assert.deepEqual(sink.payloads, [0, 1, 2, 3]);
});

test('history is truncated where events of the asked range are gone, not where the range is empty', async () => {
  const { bus } = make();
  const room = roomRef('a', durable({ count: 2 }));
  await fill(bus, room, 5);
  const truncated = async (query: object): Promise<boolean> => (await history(bus, room, query)).truncated;
  assert.equal(await truncated({ before: 2 }), true, 'event 1 is gone');
  assert.equal(await truncated({ before: 1 }), false);
  assert.equal(await truncated({ after: 2, before: 4 }), true, 'event 3 is gone');
  assert.equal(await truncated({ after: 2, before: 3 }), false);
  assert.equal(await truncated({ after: 3 }), false);
});

test('opening an open room is a broken invariant; shutting one that is not open is nothing', async () => {
  const { bus, figure } = make();
  const room = roomRef('a');
  bus.shut(room);
  await opened(bus, room);
  assert.throws(() => bus.open(room, new Probe()));
  bus.shut(room);
  bus.shut(room);
  assert.equal(figure('open_rooms'), 0);
});

test('what a room keeps does not hold the publisher’s connection where nobody hears it', async () => {
  const { bus } = make();
  const room = roomRef('a');
  await accepted(bus, room, 1, { skip: { stamp: 0, connection: Object.create(null), placed: () => {} } });
  assert.equal((await history(bus, room)).events[0]?.skip, undefined);
});

test('close forgets everything and answers with unavailable', async () => {
  const { bus, figure } = make();
  await bus.start();
  const room = roomRef('a');
  await opened(bus, room);
  await accepted(bus, room, 1, { msgId: 'm' });
  await bus.close();
  const { state } = bus.health();
  assert.equal(state, 'down');
  for (const name of ['rooms', 'open_rooms', 'history_events', 'history_bytes', 'dedupe_entries'])
    assert.equal(figure(name), 0, name);
  const probe = new Probe();
  bus.open(room, probe);
  assert.equal(probe.faults[0]?.code, 'unavailable');
  bus.replay(room, { last: 1 }, { count: 1, maxBytes: 1 }, (result) => assert.equal(result.ok, false));
  bus.history(room, { limit: 1, maxBytes: 1 }, (result) => assert.equal(result.ok, false));
  assert.equal(!(await publish(bus, room, 1)).ok, true);
});
