import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RoomEvent } from '../../src/broker/event.ts';
import type { HistoryPolicy } from '../../src/broker/settings.ts';
import { type Ledger, Tail } from '../../src/bus/tail.ts';

const WIDE: HistoryPolicy = { count: 1000, bytes: 1_000_000, ageMs: 1_000_000 };

function event(seq: number, ts: number, size = 10): RoomEvent {
  return new RoomEvent({ room: 'r', payload: `"${'x'.repeat(size)}"`, seq, prev: seq - 1, ts, from: 'u' });
}

/** The same, by filtering an array. */
class NaiveTail {
  kept: RoomEvent[] = [];
  readonly bounds: HistoryPolicy;

  constructor(bounds: HistoryPolicy) {
    this.bounds = bounds;
  }

  get bytes(): number {
    return this.kept.reduce((sum, each) => sum + each.bytes, 0);
  }

  push(added: RoomEvent, now: number): void {
    this.kept.push(added);
    this.expire(now);
    while (this.kept.length > this.bounds.count || this.bytes > this.bounds.bytes) this.kept.shift();
  }

  expire(now: number): void {
    this.kept = this.kept.filter((each) => now - each.ts <= this.bounds.ageMs);
  }

  take(from: number, end: number, count: number, maxBytes: number): RoomEvent[] {
    return fitting(this.kept.slice(from, end), count, maxBytes);
  }

  takeNewest(end: number, count: number, maxBytes: number): RoomEvent[] {
    return fitting(this.kept.slice(0, end).reverse(), count, maxBytes).reverse();
  }
}

function fitting(events: RoomEvent[], count: number, maxBytes: number): RoomEvent[] {
  const fits = (upTo: number): boolean =>
    upTo <= count &&
    (upTo <= 1 || events.slice(0, upTo).reduce((sum, each) => sum + each.size, 0) <= maxBytes);
  return events.filter((_, at) => fits(at + 1));
}

const bounds = fc.record({
  count: fc.integer({ min: 0, max: 40 }),
  bytes: fc.integer({ min: 0, max: 12_000 }),
  ageMs: fc.integer({ min: 0, max: 60 }),
});

/** The tail and its model side by side, through the same steps. */
class Pair {
  readonly policy: HistoryPolicy;
  readonly ledger: Ledger = { events: 0, bytes: 0 };
  readonly tail: Tail;
  readonly naive: NaiveTail;
  now = 1000;
  seq = 0;

  constructor(policy: HistoryPolicy) {
    this.policy = policy;
    this.tail = new Tail(policy, this.ledger);
    this.naive = new NaiveTail(policy);
  }

  push(wait: number, hole: number, size: number): void {
    this.now += wait;
    this.seq += hole;
    const added = event(this.seq, this.now, size);
    this.tail.push(added, this.now);
    this.naive.push(added, this.now);
  }

  expire(wait: number): void {
    this.now += wait;
    const all = this.naive.kept.every((kept) => this.now - kept.ts > this.policy.ageMs);
    assert.equal(this.tail.expired(this.now), all);
    this.tail.expire(this.now);
    this.naive.expire(this.now);
  }

  shift(): void {
    if (this.naive.kept.length === 0) assert.throws(() => this.tail.shift());
    else this.tail.shift();
    this.naive.kept.shift();
  }

  clear(): void {
    this.tail.clear();
    this.naive.kept = [];
  }

  after(back: number): void {
    const at = this.naive.kept.findIndex((kept) => kept.seq > this.seq - back);
    assert.equal(this.tail.after(this.seq - back), at < 0 ? this.naive.kept.length : at);
  }

  take(from: number, upTo: number, count: number, maxBytes: number): void {
    const end = Math.min(upTo, this.naive.kept.length);
    const page = { count, maxBytes };
    assert.deepEqual(this.tail.take(from, end, page), this.naive.take(from, end, count, maxBytes));
    assert.deepEqual(this.tail.takeNewest(end, page), this.naive.takeNewest(end, count, maxBytes));
  }

  check(): void {
    const { tail, naive } = this;
    assert.deepEqual(
      Array.from({ length: tail.length }, (_, place) => tail.at(place)),
      naive.kept,
    );
    assert.equal(tail.oldest, naive.kept[0]);
    assert.equal(tail.newest, naive.kept.at(-1));
    assert.equal(tail.bytes, naive.bytes);
    assert.deepEqual(this.ledger, { events: naive.kept.length, bytes: naive.bytes });
  }
}

type Step = (pair: Pair) => void;
const up = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });
const push = fc.tuple(up(5), fc.integer({ min: 1, max: 4 }), up(400)).map(
  ([wait, hole, size]): Step =>
    (pair) =>
      pair.push(wait, hole, size),
);
const step = fc.oneof(
  { weight: 40, arbitrary: push },
  {
    weight: 5,
    arbitrary: up(40).map(
      (wait): Step =>
        (pair) =>
          pair.expire(wait),
    ),
  },
  { weight: 5, arbitrary: fc.constant<Step>((pair) => pair.shift()) },
  {
    weight: 5,
    arbitrary: up(40).map(
      (at): Step =>
        (pair) =>
          pair.naive.kept[at]?.msgpack,
    ),
  },
  {
    weight: 5,
    arbitrary: fc.integer({ min: -3, max: 120 }).map(
      (back): Step =>
        (pair) =>
          pair.after(back),
    ),
  },
  {
    weight: 5,
    arbitrary: fc.tuple(up(40), up(40), up(20), up(3000)).map(
      ([from, end, count, maxBytes]): Step =>
        (pair) =>
          pair.take(from, end, count, maxBytes),
    ),
  },
  { weight: 1, arbitrary: fc.constant<Step>((pair) => pair.clear()) },
);

test('a tail is what filtering an array gives', () => {
  fc.assert(
    fc.property(bounds, fc.array(step, { maxLength: 120 }), (policy, steps) => {
      const pair = new Pair(policy);
      for (const run of steps) {
        run(pair);
        pair.check();
      }
    }),
    { numRuns: 300 },
  );
});

test('an event that gets its MessagePack form while it is kept is charged for it, and the next push evicts', () => {
  const plain = event(1, 0, 100);
  const ledger: Ledger = { events: 0, bytes: 0 };
  const tail = new Tail({ ...WIDE, bytes: plain.bytes * 3 }, ledger);
  const first = event(2, 0, 100);
  tail.push(first, 0);
  tail.push(event(3, 0, 100), 0);
  const before = tail.bytes;
  assert.ok(first.msgpack.byteLength > 100);
  assert.ok(tail.bytes > before + first.msgpack.byteLength);
  assert.equal(ledger.bytes, tail.bytes);
  tail.push(event(4, 0, 100), 0);
  assert.deepEqual([tail.length, tail.oldest?.seq], [2, 3]);
  const gone = tail.at(0);
  tail.shift();
  gone.msgpack;
  event(5, 0).msgpack;
  assert.equal(tail.bytes, plain.bytes, 'what is not kept is not charged');
});

test('a tail takes events in order only, and gives places that exist only', () => {
  const tail = new Tail(WIDE, { events: 0, bytes: 0 });
  tail.push(event(5, 0), 0);
  assert.throws(() => tail.push(event(5, 0), 0));
  assert.throws(() => tail.push(event(4, 0), 0));
  assert.equal(tail.length, 1);
  for (const seq of [6, 7, 8]) tail.push(event(seq, 0), 0);
  for (const place of [-4, -1, 4, 8]) assert.throws(() => tail.at(place), RangeError);
});

test('a full tail moves nothing for the next event', () => {
  // Counted, not timed: the events that a push reads.
  const steps = (count: number): number => {
    const tail = new Tail({ ...WIDE, count, bytes: 1e12 }, { events: 0, bytes: 0 });
    for (let seq = 1; seq <= 2 * count; seq++) tail.push(event(seq, 0), 0);
    let at = 0;
    const counted = tail.at.bind(tail);
    tail.at = (place) => {
      at++;
      return counted(place);
    };
    for (let seq = 2 * count + 1; seq <= 3 * count; seq++) tail.push(event(seq, 0), 0);
    return at / count;
  };
  assert.ok(steps(10_000) <= 2, `${steps(10_000)} slots per push`);
});
