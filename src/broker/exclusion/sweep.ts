import type { CloseReason } from '../../protocol/codes.ts';
import type { After, Defer, Ticks } from '../ports.ts';

/** A live session, as far as it can be ended here. */
export interface Ending {
  end(why: CloseReason, detail?: string): void;
}

export interface SweepParts<T extends Ending> {
  readonly sessions: ReadonlyMap<string, T>;
  /** Why the session may not go on. */
  readonly excluded: (session: T) => { readonly close: CloseReason; readonly reason: string } | undefined;
  readonly after: After;
  readonly defer: Defer;
  readonly ticks: Ticks;
}

/** Sessions looked at in one turn of the loop: well under a millisecond. */
const PER_TURN = 1000;
/** Between the beginnings of two rounds: changes that come in a burst share one. */
const EVERY_MS = 200;

/** Ends the live sessions that a change of revocations or bans concerns: all are looked at, a few per turn. */
export class Sweep<T extends Ending> {
  readonly #parts: SweepParts<T>;
  #begun = Number.NEGATIVE_INFINITY;
  #waiting = false;
  #running = false;

  constructor(parts: SweepParts<T>) {
    this.#parts = parts;
  }

  /** Something has changed. Runs in a turn of its own: sessions must not end inside what has changed it. */
  changed(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    if (!this.#running) this.#schedule();
  }

  #schedule(): void {
    const { after, defer, ticks } = this.#parts;
    const wait = Math.ceil(this.#begun + EVERY_MS - ticks());
    const begin = () => this.#begin();
    if (wait > 0) after(wait, begin);
    else defer(begin);
  }

  #begin(): void {
    this.#waiting = false;
    this.#running = true;
    this.#begun = this.#parts.ticks();
    // Who comes while it runs has been looked at on the way in.
    this.#turn([...this.#parts.sessions.values()], 0);
  }

  #turn(sessions: readonly T[], from: number): void {
    const end = Math.min(sessions.length, from + PER_TURN);
    for (let at = from; at < end; at++) {
      const session = sessions[at] as T;
      const excluded = this.#parts.excluded(session);
      if (excluded !== undefined) session.end(excluded.close, excluded.reason);
    }
    if (end < sessions.length) return this.#parts.defer(() => this.#turn(sessions, end));
    this.#running = false;
    if (this.#waiting) this.#schedule();
  }
}
