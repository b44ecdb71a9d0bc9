import type { Session } from './session.ts';

/** Which sessions end when, by the second of their token's `exp`: no timer per connection. */
export class Expiries {
  readonly #bySecond = new Map<number, Set<Session>>();
  readonly #seconds = new Map<Session, number>();
  #checked: number;

  constructor(nowMs: number) {
    this.#checked = Math.floor(nowMs / 1000);
  }

  /** Sets or moves the end of a session. */
  schedule(session: Session): void {
    this.cancel(session);
    const exp = session.identity.exp;
    if (exp === undefined) return;
    // A token that ran out during the handshake ends at the next look.
    const second = Math.max(Math.ceil(exp), this.#checked + 1);
    const due = this.#bySecond.get(second);
    if (due === undefined) this.#bySecond.set(second, new Set([session]));
    else due.add(session);
    this.#seconds.set(session, second);
  }

  cancel(session: Session): void {
    const second = this.#seconds.get(session);
    if (second === undefined) return;
    this.#seconds.delete(session);
    const due = this.#bySecond.get(second);
    due?.delete(session);
    if (due?.size === 0) this.#bySecond.delete(second);
  }

  /** Ends every session whose token has run out by now. */
  end(nowMs: number): void {
    const now = Math.floor(nowMs / 1000);
    // After a long sleep of the machine there are more seconds to look at than entries.
    const seconds =
      now - this.#checked > this.#bySecond.size ? [...this.#bySecond.keys()] : range(this.#checked, now);
    this.#checked = Math.max(this.#checked, now);
    for (const second of seconds) {
      if (second > now) continue;
      for (const session of this.#bySecond.get(second) ?? []) session.end('token_expired');
    }
  }
}

function range(after: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - after) }, (_, index) => after + 1 + index);
}
