import type { CloseReason } from '../../protocol/codes.ts';
import type { After, Defer, Ticks } from '../ports.ts';

/** A live session, as far as it can be ended here. */
export interface Ending {
  end(why: CloseReason, detail?: string): void;
}

export interface SweepParts<T extends Ending, C> {
  readonly sessions: ReadonlyMap<string, T>;
  /** Why the session may not go on, as far as these causes go. */
  readonly excluded: (
    session: T,
    causes: ReadonlySet<C>,
  ) => { readonly close: CloseReason; readonly reason: string } | undefined;
  readonly after: After;
  readonly defer: Defer;
  readonly ticks: Ticks;
}

/** Of one turn of the loop. */
const TURN_MS = 1;
/** Sessions looked at between two looks at the time. */
const STEP = 50;
/** Between two rounds: changes that come in a burst share one. */
const PAUSE_MS = 200;

/** Ends the live sessions that a change of revocations or bans concerns: all are looked at, a few per turn. */
export class Sweep<T extends Ending, C> {
  readonly #parts: SweepParts<T, C>;
  #ended = Number.NEGATIVE_INFINITY;
  /** What the next round is for. */
  #waiting = new Set<C>();
  #running = false;

  constructor(parts: SweepParts<T, C>) {
    this.#parts = parts;
  }

  /** Something has changed. Runs in a turn of its own: sessions must not end inside what has changed it. */
  changed(cause: C): void {
    const scheduled = this.#running || this.#waiting.size > 0;
    this.#waiting.add(cause);
    if (!scheduled) this.#schedule();
  }

  #schedule(): void {
    const { after, defer, ticks } = this.#parts;
    const wait = Math.ceil(this.#ended + PAUSE_MS - ticks());
    const begin = () => this.#begin();
    if (wait > 0) after(wait, begin);
    else defer(begin);
  }

  #begin(): void {
    const causes = this.#waiting;
    this.#waiting = new Set();
    this.#running = true;
    // Who comes while it runs has been looked at on the way in.
    this.#turn([...this.#parts.sessions.values()], 0, causes);
  }

  #turn(sessions: readonly T[], from: number, causes: ReadonlySet<C>): void {
    const { ticks, defer } = this.#parts;
    const until = ticks() + TURN_MS;
    let at = from;
    do {
      for (const session of sessions.slice(at, at + STEP)) this.#look(session, causes);
      at += STEP;
    } while (at < sessions.length && ticks() < until);
    if (at < sessions.length) return defer(() => this.#turn(sessions, at, causes));
    this.#ended = ticks();
    this.#running = false;
    if (this.#waiting.size > 0) this.#schedule();
  }

  #look(session: T, causes: ReadonlySet<C>): void {
    const excluded = this.#parts.excluded(session, causes);
    if (excluded !== undefined) session.end(excluded.close, excluded.reason);
  }
}
