/** Things that are kept for a while after their last use. All for the same time, so they end in the order they came. */
export class Lingering<T> {
  readonly #ms: number;
  readonly #until = new Map<T, number>();

  constructor(ms: number) {
    this.#ms = ms;
  }

  get size(): number {
    return this.#until.size;
  }

  add(thing: T, now: number): void {
    this.#until.delete(thing);
    this.#until.set(thing, now + this.#ms);
  }

  /** It is used again, or gone. */
  remove(thing: T): void {
    this.#until.delete(thing);
  }

  /** Gives up the one that has been kept longest. */
  take(): T | undefined {
    const [longest] = this.#until.keys();
    if (longest !== undefined) this.#until.delete(longest);
    return longest;
  }

  expire(now: number, end: (thing: T) => void): void {
    for (const [thing, until] of this.#until) {
      if (until > now) return;
      this.#until.delete(thing);
      end(thing);
    }
  }
}
