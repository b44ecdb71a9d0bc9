/**
 * The generic cell rate algorithm, kept as a debt that drains (ITU-T I.371 gives both forms and proves them equal):
 * a cost passes while the debt stays within the burst. In thousandths, so that `perSecond` is what drains in one
 * millisecond, and all arithmetic is on integers.
 */

/** `perSecond` 0: no limit. Units are the caller's: publishes, bytes, deliveries. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

export const NO_RATE: Rate = { perSecond: 0, burst: 0 };

const MILLI = 1000;

export class Bucket {
  /** Thousandths of a unit. */
  #debt = 0;
  #at = 0;

  /** Milliseconds until the cost fits, 0: now. Nothing is charged, so that several buckets can be asked first. */
  wait(rate: Rate, cost: number, now: number): number {
    if (rate.perSecond === 0) return 0;
    this.#drain(rate, now);
    // What is more than a whole burst waits for the empty bucket: it would never pass otherwise.
    const over = Math.min(cost, rate.burst) * MILLI + this.#debt - rate.burst * MILLI;
    return over > 0 ? Math.ceil(over / rate.perSecond) : 0;
  }

  /** In full, even what is more than the burst: the rate holds over time. */
  charge(rate: Rate, cost: number): void {
    if (rate.perSecond > 0) this.#debt += cost * MILLI;
  }

  /** `wait`, and `charge` where that is 0. */
  take(rate: Rate, cost: number, now: number): number {
    const wait = this.wait(rate, cost, now);
    if (wait === 0) this.charge(rate, cost);
    return wait;
  }

  /** Another rate: what was free stays free as far as it fits; what the burst grows by has to be earned. */
  resize(before: Rate, after: Rate, now: number): void {
    if (before.perSecond === 0 || after.perSecond === 0) {
      this.#debt = 0;
      this.#at = now;
      return;
    }
    this.#drain(before, now);
    this.#debt = Math.max(0, this.#debt + (after.burst - before.burst) * MILLI);
  }

  /** Whole units that could be taken now. */
  free(rate: Rate, now: number): number {
    if (rate.perSecond === 0) return 0;
    this.#drain(rate, now);
    return Math.max(0, Math.floor(rate.burst - this.#debt / MILLI));
  }

  /** Units that another bucket has given up. */
  credit(units: number): void {
    this.#debt = Math.max(0, this.#debt - units * MILLI);
  }

  /** Nothing would change if the bucket were forgotten. */
  idle(rate: Rate, now: number): boolean {
    this.#drain(rate, now);
    return this.#debt === 0 || rate.perSecond === 0;
  }

  #drain(rate: Rate, now: number): void {
    const elapsed = now - this.#at;
    if (elapsed === 0) return;
    this.#at = now;
    // A clock set back gives nothing and takes nothing.
    if (elapsed > 0) this.#debt = Math.max(0, this.#debt - elapsed * rate.perSecond);
  }
}
