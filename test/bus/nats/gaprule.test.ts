import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { GapRule } from '../../../src/bus/nats/gaprule.ts';

interface Event {
  readonly seq: number;
  readonly prev: number;
}

/** A room whose events stand at growing places of the stream, not one after the other. */
const room = fc
  .array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 40 })
  .map((steps) => chain(steps));

function chain(steps: readonly number[]): Event[] {
  const events: Event[] = [];
  let prev = 0;
  for (const step of steps) {
    events.push({ seq: prev + step, prev });
    prev += step;
  }
  return events;
}

/** The live feed: what is lost, what comes twice, and how far an event may come late, by place in the room. */
const chaos = fc.record({
  lost: fc.array(fc.boolean(), { maxLength: 40 }),
  twice: fc.array(fc.boolean(), { maxLength: 40 }),
  late: fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 40 }),
});

function distort(
  events: readonly Event[],
  { lost, twice, late }: { lost: boolean[]; twice: boolean[]; late: number[] },
) {
  const feed = events.flatMap((event, at) => {
    if (lost[at] === true) return [];
    const place = at + (late[at] ?? 0);
    return twice[at] === true
      ? [
          { place, event },
          { place: place + 2, event },
        ]
      : [{ place, event }];
  });
  return feed.sort((one, other) => one.place - other.place).map(({ event }) => event);
}

class Receiver {
  readonly rule = new GapRule<Event>(0);
  readonly got: number[] = [];
  readonly #store: readonly Event[];

  constructor(store: readonly Event[]) {
    this.#store = store;
  }

  live(event: Event): void {
    const verdict = this.rule.arrived(event);
    if (verdict === 'hold') this.rule.hold(event.prev, event);
    if (verdict !== 'deliver') return;
    this.got.push(event.seq);
    this.#take(this.rule.filled([], this.rule.last));
  }

  /** As the bus does it: reads the hole from the store, at most so many events at once. */
  fill(most = Number.POSITIVE_INFINITY): boolean {
    const hole = this.rule.hole;
    if (hole === undefined) return false;
    const all = this.#store.filter(({ seq }) => seq > hole.from && seq <= hole.to);
    const read = all.slice(0, most);
    const upTo = read.length < all.length ? (read[read.length - 1] as Event).seq : hole.to;
    this.#take(this.rule.filled(read, upTo));
    return true;
  }

  #take(events: readonly Event[]): void {
    for (const { seq } of events) this.got.push(seq);
  }
}

test('a feed that loses, repeats and reorders: each event once, in order, none missing', () => {
  fc.assert(
    fc.property(room, chaos, fc.array(fc.nat(3), { maxLength: 60 }), (events, how, fills) => {
      const receiver = new Receiver(events);
      distort(events, how).forEach((event, at) => {
        receiver.live(event);
        // Fills end whenever they end, and may have been cut short.
        if (fills[at] === 0) receiver.fill();
        if (fills[at] === 1) receiver.fill(1);
      });
      // The audit: the newest event of the room exists.
      receiver.rule.exists((events[events.length - 1] as Event).seq);
      while (receiver.fill());
      assert.deepEqual(
        receiver.got,
        events.map(({ seq }) => seq),
      );
      assert.equal(receiver.rule.held, 0);
      assert.equal(receiver.rule.hole, undefined);
    }),
    { numRuns: 2000 },
  );
});

test('what is held is forgotten under pressure and comes from the store', () => {
  const events = chain([1, 1, 1, 1, 1, 1]);
  const receiver = new Receiver(events);
  for (const event of events.slice(2)) receiver.live(event);
  assert.equal(receiver.rule.held, 4);
  receiver.rule.forget();
  assert.equal(receiver.rule.held, 0);
  while (receiver.fill());
  assert.deepEqual(receiver.got, [1, 2, 3, 4, 5, 6]);
});

test('a hole that the store cannot fill is skipped, and the feed goes on behind it', () => {
  const rule = new GapRule<Event>(100);
  const held = { seq: 160, prev: 150 };
  assert.equal(rule.arrived(held), 'hold');
  rule.hold(held.prev, held);
  assert.deepEqual(rule.hole, { from: 100, to: 150, event: true });
  rule.skip(150);
  assert.deepEqual(rule.filled([], 150), [held]);
  assert.equal(rule.last, 160);
});

test('prev before the last event means that the stream dropped it, not that something is missing', () => {
  const rule = new GapRule<Event>(100);
  assert.equal(rule.arrived({ seq: 120, prev: 0 }), 'deliver');
  assert.equal(rule.arrived({ seq: 120, prev: 0 }), 'duplicate');
  assert.equal(rule.arrived({ seq: 130, prev: 120 }), 'deliver');
});

test('an event that exists and has not come is a hole; one that has come is none', () => {
  const rule = new GapRule<Event>(100);
  assert.equal(rule.exists(90), false);
  assert.equal(rule.exists(140), true);
  assert.deepEqual(rule.hole, { from: 100, to: 140, event: true });
  assert.equal(rule.arrived({ seq: 140, prev: 100 }), 'deliver');
  assert.equal(rule.hole, undefined);
});
