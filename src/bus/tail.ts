import type { Keeper, RoomEvent } from '../broker/event.ts';
import type { HistoryPolicy } from '../broker/settings.ts';

/** What all tails with a common budget keep together. */
export interface Ledger {
  events: number;
  bytes: number;
}

/** The bounds of one answer; it holds at least one event where there is one, however large. */
export interface Page {
  readonly count: number;
  /** Bytes of the events as JSON on the wire. */
  readonly maxBytes: number;
}

const MIN_SLOTS = 4;

/**
 * The recent events of one room, oldest first, within the bounds of its policy. A ring: adding to a full tail
 * moves nothing. Places (`at`, `after`, `take`) count from the oldest event; they hold until the next `push`,
 * `shift` or `expire`.
 *
 * Bytes are those of `RoomEvent.bytes` at every moment: an event that gets its MessagePack form while it is kept
 * tells the tail, and the next `push` evicts for it.
 */
export class Tail implements Keeper {
  readonly #bounds: HistoryPolicy;
  readonly #ledger: Ledger;
  /** As many as a power of two, or none. */
  #slots: (RoomEvent | undefined)[] = [];
  #head = 0;
  #length = 0;
  #bytes = 0;

  constructor(bounds: HistoryPolicy, ledger: Ledger) {
    this.#bounds = bounds;
    this.#ledger = ledger;
  }

  get length(): number {
    return this.#length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get oldest(): RoomEvent | undefined {
    return this.#length === 0 ? undefined : this.#slots[this.#head];
  }

  get newest(): RoomEvent | undefined {
    return this.#length === 0 ? undefined : this.at(this.#length - 1);
  }

  at(place: number): RoomEvent {
    const event = this.#slots[(this.#head + place) & (this.#slots.length - 1)];
    if (event === undefined || place < 0 || place >= this.#length)
      throw new RangeError(`no event at place ${place} of the tail`);
    return event;
  }

  /**
   * Adds the newest event and drops what is over the bounds then: the event itself too, if it is larger than
   * the room may keep. An event is kept by one tail at most.
   */
  push(event: RoomEvent, now: number): void {
    const newest = this.newest;
    if (newest !== undefined && event.seq <= newest.seq)
      throw new Error(`event ${event.seq} does not follow event ${newest.seq}`);
    while (this.#length > 0 && this.#length >= this.#bounds.count) this.shift();
    if (this.#length === this.#slots.length) this.#resize(Math.max(MIN_SLOTS, 2 * this.#slots.length));
    this.#slots[(this.#head + this.#length) & (this.#slots.length - 1)] = event;
    this.#length++;
    this.#ledger.events++;
    event.keeper = this;
    this.grew(event.bytes);
    this.expire(now);
    while (this.#length > this.#bounds.count || this.#bytes > this.#bounds.bytes) this.shift();
  }

  /** Drops what is older than the policy allows; an event exactly that old is still there. */
  expire(now: number): void {
    const since = now - this.#bounds.ageMs;
    for (let oldest = this.oldest; oldest !== undefined && oldest.ts < since; oldest = this.oldest)
      this.shift();
  }

  /** Whether `expire` would leave nothing. */
  expired(now: number): boolean {
    const newest = this.newest;
    return newest === undefined || newest.ts < now - this.#bounds.ageMs;
  }

  /** Drops the oldest event. */
  shift(): void {
    const event = this.oldest;
    if (event === undefined) throw new Error('shift from an empty tail');
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#slots.length - 1);
    this.#length--;
    this.#ledger.events--;
    this.grew(-event.bytes);
    event.keeper = undefined;
    if (this.#slots.length > MIN_SLOTS && this.#length * 4 < this.#slots.length)
      this.#resize(this.#slots.length / 2);
  }

  clear(): void {
    while (this.#length > 0) this.shift();
    this.#slots = [];
    this.#head = 0;
  }

  grew(bytes: number): void {
    this.#bytes += bytes;
    this.#ledger.bytes += bytes;
  }

  /** The place of the first event after this position; `length` if there is none. */
  after(seq: number): number {
    let low = 0;
    let high = this.#length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle).seq > seq) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Ascending from place `from`, never up to place `end` or beyond: the oldest of them that fit the page. */
  take(from: number, end: number, page: Page): RoomEvent[] {
    const events: RoomEvent[] = [];
    let bytes = 0;
    for (let place = from; place < end && events.length < page.count; place++) {
      const event = this.at(place);
      bytes += event.size;
      if (bytes > page.maxBytes && events.length > 0) break;
      events.push(event);
    }
    return events;
  }

  /** Ascending and ending just before place `end`: the newest that fit the page. */
  takeNewest(end: number, page: Page): RoomEvent[] {
    let from = end;
    let bytes = 0;
    while (from > 0 && end - from < page.count) {
      bytes += this.at(from - 1).size;
      if (bytes > page.maxBytes && from < end) break;
      from--;
    }
    return this.take(from, end, { count: page.count, maxBytes: Number.POSITIVE_INFINITY });
  }

  #resize(slots: number): void {
    const resized = new Array<RoomEvent | undefined>(slots).fill(undefined);
    for (let place = 0; place < this.#length; place++) resized[place] = this.at(place);
    this.#slots = resized;
    this.#head = 0;
  }
}
