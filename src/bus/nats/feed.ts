import type { RoomEvent } from '../../broker/event.ts';
import type { Fault, RoomRef, RoomSink, Skip } from '../../broker/ports.ts';
import type { Arrival } from './arrival.ts';
import { eventOf } from './events.ts';
import { GapRule } from './gaprule.ts';
import type { Meta } from './headers.ts';
import type { Ring } from './ring.ts';

/** What a feed asks of the bus around it. */
export interface FeedHost {
  now(): number;
  /** Something is missing and has to come from the store. */
  missing(feed: Feed): void;
  /** The `skip` that a publish of this node left; it is handed out once. */
  skipOf(meta: Meta): Skip | undefined;
}

/** An own publish that is stored, but whose event has not come yet. */
interface Waiter {
  readonly seq: number;
  readonly then: (seen: boolean) => void;
}

/** More than this is not held in memory: it comes from the store like what is missing before it. */
const HELD_MAX = 5000;

/** A durable room that this node listens to: the live feed and the store brought into one order. */
export class Feed {
  readonly ref: RoomRef;
  readonly log: string;
  readonly shard: number;
  readonly #host: FeedHost;
  /** undefined: nobody is in the room; it is kept warm. */
  sink: RoomSink | undefined = undefined;
  #ring: Ring | undefined = undefined;
  #rule: GapRule<Arrival> | undefined = undefined;
  /** What came while the feed was opening. */
  #early: { readonly prev: number; readonly arrival: Arrival }[] = [];
  #waiters: Waiter[] = [];
  /** The room has no events in (last, sure]. */
  sure = 0;
  /** How often this node may have missed events, and how many of these times are settled. */
  #doubts = 0;
  #settled = 0;
  /** As many doubts as there were when the last event without a known predecessor came. */
  #heldAt = 0;
  #epoch = '';

  constructor(ref: RoomRef, log: string, shard: number, host: FeedHost) {
    this.ref = ref;
    this.log = log;
    this.shard = shard;
    this.#host = host;
  }

  /** undefined while it is opening. */
  get ring(): Ring | undefined {
    return this.#ring;
  }

  get rule(): GapRule<Arrival> | undefined {
    return this.#rule;
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** The feed runs from this position on. `sure` as the field. */
  opened(ring: Ring, epoch: string, sure: number): void {
    this.#ring?.close();
    this.#ring = ring;
    this.#rule = new GapRule<Arrival>(ring.last, ring.complete ? 0 : ring.last);
    this.#epoch = epoch;
    this.sure = Math.max(ring.last, sure);
    this.#settled = this.#doubts;
    this.sink?.opened({ epoch, seq: ring.last });
    const early = this.#early;
    this.#early = [];
    for (const { prev, arrival } of early) this.arrived(prev, arrival);
    this.#settle();
  }

  /** The stream is another one: positions are void until `opened` is called again. */
  reset(): void {
    this.#rule = undefined;
    this.#early = [];
    for (const { then } of this.#waiters.splice(0)) then(false);
  }

  failed(fault: Fault): void {
    const { sink } = this;
    this.sink = undefined;
    sink?.failed(fault);
  }

  /** The room has members again. Its position does not move: nothing was missed while it was warm. */
  taken(sink: RoomSink): void {
    this.sink = sink;
    if (this.#ring !== undefined && this.#rule !== undefined)
      sink.opened({ epoch: this.#epoch, seq: this.#ring.last });
  }

  /** An event of the live feed. */
  arrived(prev: number, arrival: Arrival): void {
    const rule = this.#rule;
    if (rule === undefined) {
      if (this.#early.length < HELD_MAX) this.#early.push({ prev, arrival });
      return;
    }
    // The stream had nothing of the room when it took this one: what came between may have expired unheard.
    if (this.doubted && prev < rule.last && arrival.seq > rule.last) {
      this.#heldAt = this.#doubts;
      return this.#hold(rule, arrival.seq - 1, arrival, true);
    }
    if (prev === rule.last) this.#settled = this.#doubts;
    const verdict = rule.arrived({ seq: arrival.seq, prev });
    if (verdict === 'deliver') {
      this.#deliver(arrival);
      if (rule.held > 0) this.#deliverAll(rule.filled([], rule.last));
    } else if (verdict === 'hold') this.#hold(rule, prev, arrival, false);
  }

  #hold(rule: GapRule<Arrival>, prev: number, arrival: Arrival, doubted: boolean): void {
    rule.hold(prev, arrival, doubted);
    if (rule.held > HELD_MAX) rule.forget();
    this.#host.missing(this);
  }

  /** Outside the order: not stored, to whoever is here. */
  passed(event: RoomEvent): void {
    if (this.#rule !== undefined) this.sink?.event(event);
  }

  /** The store has been read, see `GapRule.filled`. */
  filled(arrivals: readonly Arrival[], upTo: number): void {
    const rule = this.#rule;
    if (rule === undefined) return;
    this.#deliverAll(rule.filled(arrivals, upTo));
    if (rule.hole !== undefined) this.#host.missing(this);
    else this.#settled = Math.max(this.#settled, this.#heldAt);
  }

  /** Events up to this position are not in the stream any more. Those that have come meanwhile are delivered. */
  lost(to: number): void {
    const rule = this.#rule;
    if (rule === undefined) return;
    for (let held = rule.release(to); held !== undefined; held = rule.release(to)) {
      this.#skip(rule, held.prev);
      if (held.event.seq <= rule.last) continue;
      rule.skip(held.event.seq);
      this.#deliver(held.event);
    }
    this.#skip(rule, to);
    this.#settle();
  }

  #skip(rule: GapRule<Arrival>, to: number): void {
    const ring = this.#ring;
    if (ring === undefined || to <= ring.last) return;
    const from = ring.last;
    rule.skip(to);
    ring.lost(to);
    this.sink?.gap(from, to, 'retention');
  }

  /** The node may have missed events: until the store says otherwise, an event without a known predecessor is doubted. */
  doubt(): void {
    this.#doubts++;
  }

  get doubts(): number {
    return this.#doubts;
  }

  get doubted(): boolean {
    return this.#settled < this.#doubts;
  }

  /** The room has no events in (last, sure] but those that this node has had, as of so many doubts. */
  assured(sure: number, doubts = 0): void {
    this.#settled = Math.max(this.#settled, doubts);
    this.sure = Math.max(this.sure, sure);
  }

  /** Runs `then` as soon as the event has been handed to the sink; false: it never will be. */
  whenSeen(seq: number, then: (seen: boolean) => void): void {
    if (this.saw(seq)) then(true);
    else this.#waiters.push({ seq, then });
  }

  /** Whether everything up to this position has been handed out, or there is nobody to hand it to. */
  saw(seq: number): boolean {
    if (this.sink === undefined) return true;
    return this.#rule !== undefined && (this.#ring?.last ?? 0) >= seq;
  }

  /** There is nobody any more to see events; whoever waits for them may go on. */
  vacated(): void {
    this.sink = undefined;
    this.#settle();
  }

  close(): void {
    this.vacated();
    this.#ring?.close();
    this.#ring = undefined;
    this.#rule = undefined;
    this.#early = [];
  }

  #deliverAll(arrivals: readonly Arrival[]): void {
    for (const arrival of arrivals) this.#deliver(arrival);
  }

  #deliver(arrival: Arrival): void {
    const ring = this.#ring;
    if (ring === undefined) return;
    const event = eventOf(this.ref, arrival, ring.last, this.#host.skipOf(arrival.meta));
    this.sure = Math.max(this.sure, arrival.seq);
    ring.push(event, this.#host.now());
    this.sink?.event(event);
    if (this.#waiters.length > 0) this.#settle();
  }

  #settle(): void {
    if (this.#waiters.length === 0) return;
    const done = this.#waiters.filter(({ seq }) => this.saw(seq));
    if (done.length === 0) return;
    this.#waiters = this.#waiters.filter(({ seq }) => !this.saw(seq));
    for (const { then } of done) then(true);
  }
}
