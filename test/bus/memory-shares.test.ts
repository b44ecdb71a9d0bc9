import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBus, type MemoryBusOptions } from '../../src/bus/memory/bus.ts';
import { accepted, history, opened, Probe, publish, replay } from '../contract/bus/probe.ts';
import { LIMITS } from '../support/limits.ts';
import { durable, LIVE, roomRef } from '../support/rooms.ts';

const AGE = 10_000;
const POLICY = durable({ ageMs: AGE });

function make(limits: Partial<MemoryBusOptions['limits']>, openRooms: Readonly<Record<string, number>> = {}) {
  const clock = { time: 1_760_000_000_000, now: () => clock.time };
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const bus = new MemoryBus({
    limits: { ...LIMITS, ...limits },
    openRooms: (tenant) => openRooms[tenant] ?? 0,
    clock,
    epoch: 'e1',
    log,
  });
  const advance = (ms: number): void => {
    clock.time += ms;
    bus.sweep(clock.time);
  };
  const figure = (name: string): number => bus.health().figures[name] as number;
  return { bus, advance, figure };
}

const of = (tenant: string, name: string | number) => roomRef(`${name}`, POLICY, tenant);

/** Publishes to one room after the other until it is refused: how many were taken, and the refusal. */
async function flood(bus: MemoryBus, tenant: string, most = 200) {
  for (let taken = 0; taken < most; taken++) {
    const outcome = await publish(bus, of(tenant, taken), 1);
    if (!outcome.ok) return { taken, refusal: outcome };
  }
  throw new Error(`${most} rooms were taken`);
}

test('a tenant that publishes to rooms without members has half of the rooms, and others go on', async () => {
  const { bus } = make({ rooms: 100 });
  const { taken, refusal } = await flood(bus, 'greedy');
  assert.equal(taken, 50);
  const { code, limit, used, by } = refusal;
  assert.deepEqual(
    { code, limit, used, by },
    { code: 'quota_exceeded', limit: 50, used: 50, by: 'tenant_rooms' },
  );
  const refused = new Probe();
  bus.open(roomRef('live', LIVE, 'greedy'), refused);
  assert.equal(refused.faults[0]?.code, 'quota_exceeded', 'nor may it open one');
  await accepted(bus, of('greedy', 0), 2);
  for (const other of ['b', 'c', 'd']) {
    const probe = await opened(bus, of(other, 'room'));
    await accepted(bus, of(other, 'room'), 1);
    assert.equal(probe.events.length, 1);
  }
});

test('tenants that act together leave places for a further one', async () => {
  const { bus } = make({ rooms: 1000 });
  for (let at = 0; at < 6; at++) await flood(bus, `greedy${at}`, 1000);
  await opened(bus, of('other', 1));
  await accepted(bus, of('other', 2), 1);
});

test('places come back when the events expire, before the rooms are forgotten', async () => {
  const { bus, advance, figure } = make({ rooms: 20 });
  assert.equal((await flood(bus, 'greedy')).taken, 10);
  advance(AGE + 1);
  assert.deepEqual([figure('rooms'), figure('history_events')], [10, 0]);
  for (let at = 100; at < 110; at++) await accepted(bus, of('greedy', at), 1);
  assert.equal(figure('rooms'), 10, 'each in the place of one that nothing is kept of');
  advance(AGE + 1);
  advance(AGE + 1);
  assert.equal(figure('rooms'), 0);
});

test('roomsPerTenant is a number of its own', async () => {
  const { bus } = make({ rooms: 20, roomsPerTenant: 3 });
  const { taken, refusal } = await flood(bus, 'greedy');
  assert.deepEqual([taken, refusal.limit, refusal.used], [3, 3, 3]);
});

test('openRooms counts rooms with events as those with members; an idle room of it takes no place', async () => {
  const { bus, advance } = make({}, { small: 2 });
  await accepted(bus, of('small', 'stored'), 1);
  await opened(bus, of('small', 'joined'));
  const refused = await publish(bus, of('small', 'third'), 1);
  assert.ok(!refused.ok);
  assert.deepEqual([refused.code, refused.limit, refused.used], ['quota_exceeded', 2, 2]);
  await opened(bus, of('small', 'stored'));
  bus.shut(of('small', 'joined'));
  await accepted(bus, of('small', 'third'), 1);
  const again = await publish(bus, of('small', 'joined'), 1);
  assert.equal(!again.ok && again.code, 'quota_exceeded', 'idle rooms are no way around it');
  await accepted(bus, of('large', 'a'), 1);
  advance(AGE + 1);
  await accepted(bus, of('small', 'joined'), 1);
});

test("a tenant's flood pushes out its own idle rooms, and no resume of another tenant suffers", async () => {
  const { bus } = make({ rooms: 10, roomsPerTenant: 9 });
  const quiet = of('quiet', 'room');
  const { position } = await opened(bus, quiet);
  bus.shut(quiet);
  for (let at = 0; at < 30; at++) {
    await opened(bus, of('greedy', at));
    await accepted(bus, of('greedy', 'one'), at);
    bus.shut(of('greedy', at));
  }
  await opened(bus, quiet);
  assert.equal((await replay(bus, quiet, position)).recovered, 'full');
});

test('history beyond historyTotalBytes is taken from the tenant that has most of it', async () => {
  const payload = 'x'.repeat(900);
  const { bus, figure } = make({ historyTotalBytes: 200_000 });
  for (const tenant of ['a', 'b', 'c']) await accepted(bus, of(tenant, 'old'), payload);
  for (let at = 0; at < 1000; at++) await accepted(bus, of('greedy', at % 50), payload);
  assert.ok(figure('history_evicted') > 500);
  for (const tenant of ['a', 'b', 'c'])
    assert.equal((await history(bus, of(tenant, 'old'))).events.length, 1, tenant);
  for (let at = 0; at < 20; at++) await accepted(bus, of('a', 'old'), payload);
  assert.equal(
    (await history(bus, of('a', 'old'))).events.length,
    21,
    'who has little takes it from who has much',
  );
  assert.ok(figure('history_bytes') <= 200_000);
});
