/** How fast a count grows: over the last one to two windows, or what there is of them. */
export class Rate {
  readonly #nowMs: () => number;
  readonly #windowMs: number;
  /** Where the last two windows began. */
  #before: { readonly at: number; readonly count: number };
  #current: { readonly at: number; readonly count: number };

  constructor(nowMs: () => number, windowMs: number) {
    this.#nowMs = nowMs;
    this.#windowMs = windowMs;
    this.#before = { at: nowMs(), count: 0 };
    this.#current = this.#before;
  }

  /** Per second, with the count as it is now. */
  of(count: number): number {
    const at = this.#nowMs();
    const rate = ((count - this.#before.count) * 1000) / Math.max(1000, at - this.#before.at);
    if (at - this.#current.at >= this.#windowMs) {
      this.#before = this.#current;
      this.#current = { at, count };
    }
    return rate;
  }
}
