/**
 * One room's events into their one order, each once, from a feed that may lose, repeat and reorder them. Every
 * event names its predecessor (`prev`), as the stream saw it; so a hole shows, and what stands behind it is held
 * until somebody has filled it from the store. Pure: test/bus/nats/gaprule.test.ts tries it with random feeds.
 */

export interface Linked {
  readonly seq: number;
  /** The room's newest event that the stream still held when it took this one; 0 if none. */
  readonly prev: number;
}

export interface Hole {
  /** Exclusive. */
  readonly from: number;
  /** Inclusive. */
  readonly to: number;
  /** The room is known to have had an event at `to`. */
  readonly event: boolean;
}

interface Held<E> {
  readonly prev: number;
  readonly event: E;
  /** `prev` is no event: there may be some that nobody can name. */
  readonly doubted: boolean;
}

export type Verdict = 'deliver' | 'duplicate' | 'hold';

export class GapRule<E extends { readonly seq: number }> {
  #last: number;
  /** The room is known to have had an event here, or at a later place. */
  #known: number;
  /** Ascending. */
  #held: Held<E>[] = [];

  /** The last position that an event is known to have had; 0: none is known. */
  anchor: number;

  constructor(last: number, anchor = 0) {
    this.#last = last;
    this.anchor = anchor;
    this.#known = last;
  }

  /** The place of the last event delivered, or the last place of a hole that is given up. */
  get last(): number {
    return this.#last;
  }

  get held(): number {
    return this.#held.length;
  }

  /** What is missing now; undefined: nothing. */
  get hole(): Hole | undefined {
    const held = this.#held[0];
    const to = Math.max(this.#known, held?.prev ?? 0);
    if (to <= this.#last) return undefined;
    return { from: this.#last, to, event: to === this.#known || held?.doubted !== true };
  }

  /**
   * An event of the live feed. 'hold' asks for `hold`. 'deliver' has happened to the rule when it is returned; if
   * something is held, `filled([], last)` may then set some of it free: the event was late, not lost.
   */
  arrived({ seq, prev }: Linked): Verdict {
    if (seq <= this.#last) return 'duplicate';
    // prev < last: the stream has dropped the predecessor meanwhile. There is nothing between.
    if (prev > this.#last) return 'hold';
    this.#last = seq;
    this.anchor = seq;
    return 'deliver';
  }

  /** Keeps an event until the hole before it is filled. `doubted`: whatever there may have been before it. */
  hold(prev: number, event: E, doubted = false): void {
    let at = this.#held.length;
    while (at > 0 && (this.#held[at - 1] as { event: E }).event.seq > event.seq) at--;
    if (this.#held[at - 1]?.event.seq === event.seq) return;
    this.#held.splice(at, 0, { prev, event, doubted });
  }

  /** Too much is held: it is forgotten here and has to come from the store as well. */
  forget(): void {
    const newest = this.#held[this.#held.length - 1];
    if (newest !== undefined) this.#known = Math.max(this.#known, newest.event.seq);
    this.#held = [];
  }

  /** The room has an event at this place. true: and it is missing here. */
  exists(seq: number): boolean {
    this.#known = Math.max(this.#known, seq);
    return this.hole !== undefined;
  }

  /**
   * The store has been read: `events` are all that it has of the room in (last, upTo], ascending. Returns what can
   * be delivered now, in order.
   */
  filled(events: readonly E[], upTo: number): E[] {
    const ready: E[] = [];
    const deliver = (event: E) => {
      if (event.seq <= this.#last) return;
      ready.push(event);
      this.#last = event.seq;
      this.anchor = event.seq;
    };
    for (const event of events) {
      // Held ones that the store has dropped by now have their place between those it still has.
      while (this.#held[0] !== undefined && this.#held[0].event.seq < event.seq) deliver(this.#shift());
      deliver(event);
    }
    while (this.#held[0] !== undefined && this.#held[0].event.seq <= upTo) deliver(this.#shift());
    while (this.#held[0] !== undefined && this.#held[0].prev <= Math.max(this.#last, upTo))
      deliver(this.#shift());
    if (upTo >= this.#known) this.#known = this.#last;
    return ready;
  }

  /** Whatever is missing up to this place will not come any more. Call `filled` with what there is afterwards. */
  skip(to: number): void {
    if (to <= this.#last) return;
    this.#last = to;
    this.anchor = 0;
  }

  /** The first one held, if it stands up to here; it is held no longer, and the caller delivers it. */
  release(to: number): { readonly prev: number; readonly event: E } | undefined {
    const first = this.#held[0];
    return first !== undefined && first.event.seq <= to ? this.#held.shift() : undefined;
  }

  #shift(): E {
    return (this.#held.shift() as Held<E>).event;
  }
}
