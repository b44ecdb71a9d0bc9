const WINDOW_MS = 5000;

/** How fast a count grows: over the last 5 to 10 s, or what there is of them. */
export class Rate {
  readonly #nowMs: () => number;
  /** Where the last two windows began. */
  #before: { readonly at: number; readonly count: number };
  #current: { readonly at: number; readonly count: number };

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#before = { at: nowMs(), count: 0 };
    this.#current = this.#before;
  }

  /** Per second, with the count as it is now. */
  of(count: number): number {
    const at = this.#nowMs();
    const rate = ((count - this.#before.count) * 1000) / Math.max(1000, at - this.#before.at);
    if (at - this.#current.at >= WINDOW_MS) {
      this.#before = this.#current;
      this.#current = { at, count };
    }
    return rate;
  }
}
