import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RoomEvent } from '../../src/broker/event.ts';
import type { ReplayPage, RoomRef } from '../../src/broker/ports.ts';
import { MemoryBus, type MemoryBusOptions } from '../../src/bus/memory/bus.ts';
import { assertChain, Probe } from '../contract/bus/probe.ts';
import { durable, roomRef } from '../support/rooms.ts';

const AGE = 1000;
const COUNT = 6;
const ROOMS = ['a', 'b', 'c'].map((name, at) =>
  roomRef(name, durable({ count: COUNT, ageMs: AGE * (at + 1) })),
);

interface Seen {
  readonly room: RoomRef;
  readonly seq: number;
  readonly at: number;
}

/** A bus and the whole truth about it: every event ever published, every position ever given out. */
class World {
  readonly clock = { time: 1_760_000_000_000, now: () => this.clock.time };
  readonly bus: MemoryBus;
  readonly roomy: boolean;
  readonly truth = new Map<RoomRef, { seq: number; ts: number }[]>(ROOMS.map((room) => [room, []]));
  readonly open = new Map<RoomRef, Probe>();
  readonly seen: Seen[] = [];

  constructor(limits: MemoryBusOptions['limits'], roomy: boolean) {
    const log = { debug() {}, info() {}, warn() {}, error() {} };
    this.bus = new MemoryBus({ limits, clock: this.clock, epoch: 'e', log });
    this.roomy = roomy;
  }

  see(room: RoomRef, seq: number): void {
    this.seen.push({ room, seq, at: this.clock.time });
  }

  publish(room: RoomRef, size: number): void {
    const payload = `"${'x'.repeat(size)}"`;
    this.bus.publish({ room, from: 'u', payload, ephemeral: false }, (outcome) => {
      if (!outcome.ok) {
        assert.ok(!this.roomy, outcome.reason);
        return;
      }
      this.truth.get(room)?.push({ seq: outcome.seq as number, ts: this.clock.time });
      this.see(room, outcome.seq as number);
    });
  }

  toggle(room: RoomRef): void {
    const probe = this.open.get(room);
    if (probe !== undefined) {
      this.bus.shut(room);
      this.open.delete(room);
      assertChain(probe.events, probe.position.seq);
      const owed = this.truth.get(room)?.filter(({ seq }) => seq > probe.position.seq) ?? [];
      assert.deepEqual(
        probe.seqs,
        owed.map(({ seq }) => seq),
        'the feed had every event once',
      );
      this.see(room, probe.seqs.at(-1) ?? probe.position.seq);
      return;
    }
    const fresh = new Probe();
    this.bus.open(room, fresh);
    if (fresh.faults.length > 0) {
      assert.ok(!this.roomy);
      return;
    }
    this.open.set(room, fresh);
    this.see(room, fresh.position.seq);
  }

  advance(ms: number, swept: boolean): void {
    this.clock.time += ms;
    if (swept) this.bus.sweep(this.clock.time);
  }

  resume(pick: number, page: number): void {
    const seen = this.seen[pick % Math.max(1, this.seen.length)];
    if (seen === undefined) return;
    const { first, events } = this.catchUp(seen, page);
    const missed = (this.truth.get(seen.room) ?? []).filter(({ seq }) => seq > seen.seq);
    if (first.recovered === 'full') assert.equal(first.gap, undefined);
    else assert.deepEqual([first.recovered, first.gap?.from], ['partial', seen.seq]);
    const owed = missed.filter(({ seq }) => seq > (first.gap?.to ?? 0)).map(({ seq }) => seq);
    assert.deepEqual(
      events.map(({ seq }) => seq),
      owed,
      'whatever was missed comes or is in the gap',
    );
    const ageMs = seen.room.policy.history?.ageMs ?? 0;
    for (const event of events) assert.ok(this.clock.time - event.ts <= ageMs, 'no event over its age');
    const justMissed = this.clock.time - seen.at <= ageMs && missed.length <= COUNT;
    if (this.roomy && justMissed)
      assert.equal(first.recovered, 'full', 'nothing was lost, so nothing is said to be');
  }

  catchUp({ room, seq }: Seen, count: number): { first: ReplayPage; events: RoomEvent[] } {
    const pages: ReplayPage[] = [];
    const events: RoomEvent[] = [];
    let since = seq;
    do {
      this.bus.replay(room, { epoch: 'e', seq: since }, { count, maxBytes: 1e9 }, (result) => {
        assert.ok(result.ok);
        pages.push(result);
        events.push(...result.events);
      });
      since = events.at(-1)?.seq ?? since;
    } while ((pages.at(-1)?.remaining ?? 0) > 0);
    return { first: pages[0] as ReplayPage, events };
  }

  check(limits: MemoryBusOptions['limits']): void {
    const { figures } = this.bus.health();
    assert.ok((figures['history_bytes'] as number) <= limits.historyTotalBytes);
    assert.ok((figures['rooms'] as number) <= limits.rooms);
    assert.equal(figures['open_rooms'], this.open.size);
  }
}

type Step = (world: World) => void;
const room = fc.constantFrom(...ROOMS);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(room, fc.nat(900)).map(
      ([at, size]): Step =>
        (world) =>
          world.publish(at, size),
    ),
  },
  {
    weight: 3,
    arbitrary: room.map(
      (at): Step =>
        (world) =>
          world.toggle(at),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(1200), fc.boolean()).map(
      ([ms, swept]): Step =>
        (world) =>
          world.advance(ms, swept),
    ),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(fc.nat(1000), fc.integer({ min: 1, max: 8 })).map(
      ([pick, page]): Step =>
        (world) =>
          world.resume(pick, page),
    ),
  },
);

function holds(limits: MemoryBusOptions['limits'], roomy: boolean): void {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
      const world = new World(limits, roomy);
      for (const run of steps) {
        run(world);
        world.check(limits);
      }
    }),
    { numRuns: 400 },
  );
}

const DEDUPE = { dedupeWindowMs: 1000, dedupeEntries: 10, dedupeEntriesPerTenant: 10 };

test('a resume gets all it missed or is told of the gap; within the history age there is none', () => {
  holds({ historyTotalBytes: 1e9, rooms: 100, roomsPerTenant: 100, ...DEDUPE }, true);
});

test('the same when memory and rooms run out: never a silent hole', () => {
  holds({ historyTotalBytes: 4000, rooms: 2, roomsPerTenant: 2, ...DEDUPE }, false);
});
