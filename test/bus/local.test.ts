/** What only the bus between workers has: streams that end, and ends that do not read. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { LifecycleEvent } from '../../src/broker/lifecycle/event.ts';
import type { Skip } from '../../src/broker/ports.ts';
import { LocalBus } from '../../src/bus/local/bus.ts';
import { LocalCluster } from '../../src/bus/local/cluster.ts';
import type { HubLine } from '../../src/bus/local/line.ts';
import { LocalRecord } from '../../src/bus/local/record.ts';
import { FileLifecycle } from '../../src/bus/memory/lifecycle.ts';
import { accepted, opened, publish } from '../contract/bus/probe.ts';
import { SETTINGS, STATE, STATUS, until } from '../contract/cluster/subject.ts';
import { type HubSetup, RunningHub } from '../support/local-hub.ts';
import { QUIET } from '../support/log.ts';
import { roomRef } from '../support/rooms.ts';

async function running(context: TestContext, setup: HubSetup = {}): Promise<RunningHub> {
  const hub = await RunningHub.start(setup);
  context.after(() => hub.close());
  return hub;
}

async function joined(line: HubLine, node: string): Promise<LocalCluster> {
  const parts = { node, incarnation: `${node}-run`, status: () => STATUS, settings: SETTINGS, limits: STATE };
  const cluster = new LocalCluster({ ...parts, line, clock: { now: Date.now }, log: QUIET });
  await cluster.start();
  return cluster;
}

test('when the hub is gone every publish has its answer, and every room says so', async (context) => {
  const hub = await running(context);
  const line = await hub.line();
  const bus = new LocalBus(line);
  const cluster = await joined(line, 'w1');
  const heard: boolean[] = [];
  cluster.watchConnected((connected) => heard.push(connected));
  const probe = await opened(bus, roomRef('chat:a'));
  const waiting = publish(bus, roomRef('chat:a'), 1);
  const asking = cluster.ask('nobody-answers', 1, 5000);
  hub.kill();
  const outcome = await waiting;
  assert.equal(outcome.ok || outcome.code === 'unavailable', true);
  await probe.until('the loss', () => probe.faults.length === 1);
  assert.equal(probe.faults[0]?.code, 'unavailable');
  assert.deepEqual([bus.health().state, cluster.connected, heard], ['down', false, [false]]);
  const after = await publish(bus, roomRef('chat:a'), 2);
  assert.equal(!after.ok && after.code, 'unavailable');
  assert.deepEqual(await cluster.store('a').put('k', 1), { ok: false, why: 'unavailable' });
  assert.deepEqual((await asking).missing, ['w1']);
  await cluster.close();
});

test('a worker that dies is down for the others at once, and its rooms are not fed any more', async (context) => {
  const hub = await running(context);
  const lines = [await hub.line(), await hub.line()] as const;
  const [bus, other] = [new LocalBus(lines[0]), new LocalBus(lines[1])];
  const [here, there] = [await joined(lines[0], 'w1'), await joined(lines[1], 'w2')];
  await opened(other, roomRef('chat:only-there'));
  const changes: string[] = [];
  here.watchNodes(({ node }, change) => changes.push(`${node} ${change}`));
  await until('each knows the other', () => here.nodes().length === 2);
  const asking = here.askNode('w2', 'late', 1, 5000);
  there.answer('late', () => new Promise(() => undefined));
  lines[1].close();
  await until('down', () => changes.includes('w2 down'));
  assert.deepEqual(await asking, { ok: false, why: 'unanswered' }, 'nobody waits for it');
  await accepted(bus, roomRef('chat:only-there'), 1);
  assert.equal(hub.bus.health().figures['open_rooms'], 0);
  await Promise.all([here.close(), there.close()]);
});

test('a room shut and opened again at once is fed from the second opening on', async (context) => {
  const hub = await running(context);
  const [bus, other] = [new LocalBus(await hub.line()), new LocalBus(await hub.line())];
  const room = roomRef('chat:a');
  const first = await opened(other, room);
  for (let round = 0; round < 20; round++) {
    const before = accepted(other, room, round);
    const stale = opened(bus, room).catch(() => undefined);
    bus.shut(room);
    const probe = await opened(bus, room);
    await before;
    const seq = await accepted(other, room, 'after');
    await probe.until('its event', () => probe.seqs.includes(seq));
    assert.ok(probe.events.every((event) => event.seq > probe.position.seq));
    assert.equal(probe.events[0]?.prev, probe.position.seq);
    bus.shut(room);
    void stale;
  }
  assert.equal(first.events.length, 40);
});

test('an event comes back with what its publisher asked for, to the publisher’s worker alone', async (context) => {
  const hub = await running(context);
  const [bus, other] = [new LocalBus(await hub.line()), new LocalBus(await hub.line())];
  const room = roomRef('chat:a');
  const [here, there] = [await opened(bus, room), await opened(other, room)];
  const skip = { placed: () => undefined } as unknown as Skip;
  await accepted(bus, room, 1, { skip });
  await there.count(1);
  assert.equal(here.events[0]?.skip, skip);
  assert.equal(there.events[0]?.skip, undefined);
});

test('a worker that does not read is cut off, and the others go on', { timeout: 20_000 }, async (context) => {
  const hub = await running(context, { queueBytes: 256 * 1024 });
  const socket = await hub.socket();
  const stuck = new LocalBus(await hub.line(socket));
  const bus = new LocalBus(await hub.line());
  const room = roomRef('chat:a');
  const probe = await opened(stuck, room);
  const reading = await opened(bus, room);
  socket.pause();
  const payload = 'x'.repeat(10_000);
  for (let n = 0; n < 200; n++) await accepted(bus, room, payload);
  await until('one feed is left', () => socket.destroyed || hub.workers === 1, 5000);
  socket.resume();
  await probe.until('the loss', () => probe.faults.length === 1);
  await reading.count(200);
});

test('a worker that says more than the hub reads refuses publishes', async (context) => {
  const hub = await running(context, { queueBytes: 64 * 1024 });
  const bus = new LocalBus(await hub.line());
  const payload = 'x'.repeat(10_000);
  const outcomes = await Promise.all(
    Array.from({ length: 20 }, () => publish(bus, roomRef('chat:a'), payload)),
  );
  const refused = outcomes.filter((outcome) => !outcome.ok);
  assert.ok(refused.length > 0 && refused.length < 20, `${refused.length}`);
  for (const outcome of refused) assert.equal(!outcome.ok && outcome.code, 'overloaded');
  await accepted(bus, roomRef('chat:a'), 'after');
});

test('the record of sessions is one, and each worker can read what another has left', async (context) => {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-record-'));
  context.after(() => rm(dir, { recursive: true }));
  const settings = { fileBytes: 1e6, files: 3, queue: 1000 };
  const hub = await running(context, { record: new FileLifecycle({ dir, settings, log: QUIET }) });
  const lines = [await hub.line(), await hub.line()] as const;
  const [one, other] = [new LocalRecord(lines[0]), new LocalRecord(lines[1])];
  const event = (run: string): LifecycleEvent =>
    ({ id: `${run}:1`, event: 'joined', at: 1, node: run, run, tenant: 't' }) as LifecycleEvent;
  one.append(event('r1'));
  other.append(event('r2'));
  assert.equal(await one.flushed(), true);
  lines[0].close();
  assert.deepEqual(await other.read('r1'), [event('r1')]);
});
