import type { RoomEvent } from '../../broker/event.ts';
import type { ReplayPage } from '../../broker/ports.ts';
import type { HistoryPolicy } from '../../broker/settings.ts';
import { type Ledger, type Page, Tail } from '../tail.ts';
import { linkedTo } from './events.ts';

/**
 * What this node has of the recent events of one room, without a hole from `floor` to `last`. Whether there is
 * more in the store is what `complete` says.
 */
export class Ring {
  readonly policy: HistoryPolicy;
  readonly #ledger: Ledger;
  #tail: Tail | undefined;
  /** Everything after this position is here. */
  floor: number;
  /** The position of the newest event, kept or not. */
  last: number;
  /** Nothing up to `floor` is kept any more, here or in the store. */
  complete = false;
  /** What lies before this position is not known; up to `floor` it is known to be gone. */
  start: number;
  /** Grows when the ring begins anew: what was read for the one before does not fit. */
  generation = 0;

  constructor(policy: HistoryPolicy, ledger: Ledger, position: number) {
    this.policy = policy;
    this.#ledger = ledger;
    this.floor = position;
    this.last = position;
    this.start = position;
  }

  get tail(): Tail | undefined {
    return this.#tail;
  }

  get length(): number {
    return this.#tail?.length ?? 0;
  }

  push(event: RoomEvent, now: number): void {
    const tail = this.#ensured();
    const before = tail.oldest ?? event;
    tail.push(event, now);
    this.last = event.seq;
    if (tail.oldest !== before) this.#dropped();
  }

  /** Drops what is over its age. */
  expire(now: number): void {
    const before = this.#tail?.oldest;
    if (before === undefined) return;
    this.#tail?.expire(now);
    if (this.#tail?.oldest !== before) this.#dropped();
  }

  /**
   * Puts events from the store, ascending and each linked to the one before, in front of what is here; they reach
   * from `floor` up to the floor so far.
   */
  prepend(events: readonly RoomEvent[], floor: number, now: number): void {
    const tail = this.#ensured();
    const kept = tail.take(0, tail.length, { count: tail.length, maxBytes: Number.POSITIVE_INFINITY });
    tail.clear();
    const all = [...events, ...kept];
    for (const event of all) tail.push(event, now);
    this.floor = floor;
    this.start = Math.min(this.start, floor);
    if (all.length > 0 && tail.oldest !== all[0]) this.#dropped();
  }

  /** Forgets everything, to return memory. */
  evict(): void {
    this.#restart(this.last);
    this.complete = false;
    this.start = this.last;
  }

  /** Events up to this position are lost, and so is the link to those before it. */
  lost(to: number): void {
    this.last = to;
    this.#restart(to);
    this.complete = true;
  }

  close(): void {
    this.#tail?.clear();
    this.#tail = undefined;
  }

  /**
   * Whether nothing stands at a position that should be an event's: one after an event that is here. Positions that no
   * event has are given out where a room has none.
   */
  lacks(seq: number): boolean {
    const tail = this.#tail;
    if (tail === undefined || seq >= this.last) return false;
    const place = tail.after(seq);
    return place > 0 && tail.at(place - 1).seq !== seq;
  }

  /** For a position that `floor` and `last` enclose; see `Bus.replay`. */
  since(seq: number, epoch: string, page: Page): ReplayPage {
    return this.#page(this.#tail?.after(seq) ?? 0, seq, epoch, page, { recovered: 'full' });
  }

  newest(count: number, epoch: string, page: Page): ReplayPage {
    return this.#page(Math.max(0, this.length - count), undefined, epoch, page, { recovered: 'full' });
  }

  /** All that is here, for somebody who has missed the events of (from, floor], or all of them. */
  all(from: number, reason: 'retention' | 'epoch', epoch: string, page: Page): ReplayPage {
    const recovered = reason === 'epoch' ? 'none' : 'partial';
    const gap = { from, to: this.floor, reason };
    return this.#page(0, this.floor, epoch, page, { recovered, gap });
  }

  #page(
    place: number,
    position: number | undefined,
    epoch: string,
    page: Page,
    outcome: Pick<ReplayPage, 'recovered' | 'gap'>,
  ): ReplayPage {
    const events = this.#tail?.take(place, this.length, page) ?? [];
    const first = events[0];
    // The caller stands at a position that no event has: a room's position before its first event, say.
    if (first !== undefined && position !== undefined && first.prev !== position)
      events[0] = linkedTo(first, position);
    return { ok: true, epoch, ...outcome, events, remaining: this.length - place - events.length };
  }

  #ensured(): Tail {
    this.#tail ??= new Tail(this.policy, this.#ledger);
    return this.#tail;
  }

  /** By its own bounds: the store may still have it, but the room does not keep it any more. */
  #dropped(): void {
    this.floor = this.#tail?.oldest?.prev ?? this.last;
    this.complete = true;
  }

  #restart(floor: number): void {
    this.#tail?.clear();
    this.#tail = undefined;
    this.floor = floor;
    this.generation++;
  }
}
