import assert from 'node:assert/strict';
import type { EventFrame, GapFrame, JoinedFrame, Overflow, Since } from '../../../src/protocol/frames.ts';
import type { Fact, Order, Truth } from '../truth.ts';

export interface Join {
  readonly room: string;
  readonly since: Since | undefined;
  readonly overflow: Overflow | undefined;
  /** No position was sent, and the room keeps cursors: the furthest that the user has seen, by epoch. */
  readonly cursors: ReadonlyMap<string, number> | undefined;
}

/** What a client knows of a room that it is in, checked against what really happened there. */
export class Place {
  readonly key: string;
  readonly epoch: string;
  readonly join: Join;
  readonly durable: boolean;
  readonly #truth: Truth;
  readonly #order: Order;
  /** The last position; undefined until the replay says where it begins. */
  seq: number | undefined;
  catchingUp: boolean;
  /** The epoch has changed: nothing but `left` may follow. */
  void = false;
  /** What `joined` says must follow at once. */
  #announced: { readonly reason: 'retention' | 'epoch'; readonly from: number | undefined } | undefined;
  readonly #optional = new Set<number>();
  readonly #until: number;
  #replay: number | undefined;
  /** By key, what `latest` has left out and has yet to be made up for by something newer. */
  readonly owed = new Map<string | undefined, number>();

  constructor(key: string, frame: JoinedFrame, join: Join, truth: Truth) {
    this.key = key;
    this.epoch = frame.epoch;
    this.join = join;
    this.durable = frame.durable;
    this.#truth = truth;
    this.#order = truth.order(frame.epoch, key);
    const { since } = join;
    const positioned = since !== undefined && 'seq' in since;
    this.catchingUp = since !== undefined || frame.unread !== undefined;
    this.#until = frame.seq;
    this.#replay = this.catchingUp ? frame.replay : undefined;
    assert.equal(
      frame.unread !== undefined,
      join.cursors !== undefined,
      'unread is there where cursors are kept',
    );
    if (frame.unread !== undefined) assert.equal(frame.unread, frame.replay);
    if (!positioned && frame.unread === undefined) assert.equal(frame.recovered, 'fresh');
    if (positioned) this.#resumed(frame, since.epoch, since.seq);
    else if (!this.catchingUp) this.seq = frame.seq;
    else if (frame.recovered === 'partial') this.#announced = { reason: 'retention', from: undefined };
    else if (frame.recovered === 'none') this.#announced = { reason: 'epoch', from: undefined };
  }

  event(frame: EventFrame): void {
    assert.ok(!this.void, 'an event between the change of the epoch and left');
    assert.equal(this.#announced, undefined, `joined announced a gap, not event ${frame.seq}`);
    const { seq, prev } = frame as { seq: number; prev: number };
    const from = this.goneTo(prev) ?? this.#begin(prev);
    assert.equal(prev, from, `prev of event ${seq}`);
    const fact = this.#order.next(from);
    assert.ok(fact, `event ${seq} after ${from} was never accepted`);
    assert.equal(seq, fact.seq, 'the next event of the room');
    sameEvent(frame, fact);
    this.seq = seq;
    this.owed.delete(frame.key);
    if (this.#replay !== undefined && seq <= this.#until) this.#replay--;
  }

  /** The ack of an own publish that wanted no echo stands for its event. */
  silent(seq: number): void {
    const from = this.goneTo(seq - 1);
    if (from === undefined || seq <= from) return;
    assert.equal(
      this.#order.next(from)?.seq,
      seq,
      'the ack of a silent publish stands where its event would',
    );
    this.seq = seq;
  }

  /** The same of a publish that was sent before the client was in the room: its event may come, or not. */
  perhapsSilent(seq: number): void {
    this.#optional.add(seq);
  }

  gap(frame: GapFrame, wasSlow: boolean): void {
    assert.ok(!this.void, 'a gap between the change of the epoch and left');
    if (frame.action === 'rejoin') {
      this.void = true;
      return;
    }
    const announced = this.#announced;
    this.#announced = undefined;
    if (announced !== undefined)
      assert.equal(frame.reason, announced.reason, 'the gap that joined announced');
    else if (frame.reason === 'epoch')
      assert.ok(this.#truth.over(this.epoch), 'only joined announces a gap of the epoch');
    const from = announced?.from ?? this.goneTo(frame.from) ?? frame.from;
    assert.equal(frame.from, from, 'the gap begins at the position');
    if (frame.reason === 'epoch') this.#nothingKept(frame.to);
    else this.#explain(frame, wasSlow);
    if (announced === undefined) this.#replay = undefined;
    this.seq = frame.to;
  }

  caughtUp(seq: number, wasSlow: boolean): void {
    assert.ok(this.catchingUp || (wasSlow && this.durable), 'caught_up once, after a replay');
    assert.equal(this.#announced, undefined, 'joined announced a gap, not caught_up');
    const from = this.goneTo(seq) ?? this.#begin(seq);
    // A node may know a silent room's position as another than the one that the client came with.
    const between = this.#order.between(Math.min(from, seq), Math.max(from, seq));
    assert.equal(between.length, 0, `caught_up at ${seq} stands at ${from}`);
    if (this.#replay !== undefined) assert.equal(this.#replay, 0, 'as many events as joined said');
    this.#replay = undefined;
    this.catchingUp = false;
    this.seq = seq;
  }

  /** Everything has come to rest: nothing is missing. */
  rested(): void {
    assert.ok(!this.void, 'left follows the change of the epoch');
    assert.equal(this.catchingUp, false, 'the replay has ended');
    assert.ok(this.goneTo(this.#order.head) !== undefined && this.seq !== undefined);
    assert.equal(this.#order.next(this.seq)?.seq, undefined, `nothing follows position ${this.seq}`);
    assert.deepEqual([...this.owed.keys()], [], 'latest gave the newest of every key');
  }

  /** The position, where those before this one that need not come have not come. */
  goneTo(seq: number): number | undefined {
    while (this.seq !== undefined && this.seq < seq) {
      const next = this.#order.next(this.seq)?.seq;
      if (next === undefined || !this.#optional.has(next)) break;
      this.seq = next;
    }
    return this.seq;
  }

  #resumed(frame: JoinedFrame, epoch: string, seq: number): void {
    assert.notEqual(frame.recovered, 'fresh');
    if (frame.recovered === 'none') {
      assert.ok(frame.epoch !== epoch || this.#truth.over(epoch), 'a position of this epoch is known');
      this.#announced = { reason: 'epoch', from: seq };
      return;
    }
    assert.equal(frame.epoch, epoch, `${frame.recovered} within one epoch`);
    this.seq = seq;
    if (frame.recovered === 'partial') this.#announced = { reason: 'retention', from: seq };
    else if (!frame.durable)
      assert.equal(this.#order.between(seq, frame.seq).length, 0, 'nothing was missed in the live room');
  }

  /** Where a replay begins that the client has named no position for. */
  #begin(from: number): number {
    const { since, cursors } = this.join;
    const replayed = this.#order.between(from, this.#until).length;
    if (since !== undefined && 'last' in since) assert.ok(replayed <= since.last, 'the newest n');
    const seen = cursors?.get(this.epoch);
    // What the user has told a connection that had ended already has not been heard.
    if (cursors !== undefined && this.#order.between(seen ?? 0, from).length > 0) this.#nothingKept(from);
    return from;
  }

  #explain({ from, to, reason, action }: GapFrame, wasSlow: boolean): void {
    const missed = this.#order.between(from, to);
    if (this.durable) assert.ok(missed.length > 0, `the gap of (${from}, ${to}] names something`);
    if (reason !== 'backpressure') {
      if (this.durable) this.#nothingKept(to);
      return;
    }
    assert.ok(wasSlow, 'only slow readers have gaps of backpressure');
    if (this.durable) assert.notEqual(this.join.overflow, 'backfill', 'backfill leaves nothing out');
    assert.equal(action, this.join.overflow === 'latest' ? 'latest' : 'skip');
    if (action !== 'latest') return;
    for (const fact of missed)
      if (!this.#truth.wasLost(this.epoch, fact.seq)) this.owed.set(fact.key, fact.seq);
  }

  #nothingKept(to: number): void {
    const oldest = this.#truth.oldestKept(this.epoch, this.key);
    assert.ok(oldest === undefined || oldest > to, `event ${oldest} is kept, but the gap goes to ${to}`);
  }
}

export function sameEvent(frame: EventFrame, fact: Fact): void {
  const { from, key, payload } = frame;
  assert.equal(from, fact.from);
  assert.equal(key, fact.key);
  assert.equal(
    (payload as { n: number }).n,
    (JSON.parse(fact.payload) as { n: number }).n,
    'the same payload',
  );
}
