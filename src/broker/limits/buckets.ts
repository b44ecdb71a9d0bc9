import { Bucket, type Rate } from './bucket.ts';

/** One bucket per key, such as an address. Idle ones are forgotten a few at a time; the number is bounded. */
export class Buckets {
  readonly #rate: Rate;
  readonly #max: number;
  readonly #byKey = new Map<string, Bucket>();
  #round: Iterator<[string, Bucket]>;

  constructor(rate: Rate, max: number) {
    this.#rate = rate;
    this.#max = max;
    this.#round = this.#byKey.entries();
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** Milliseconds to wait; nothing is taken. */
  wait(key: string, cost: number, now: number): number {
    return this.#byKey.get(key)?.wait(this.#rate, cost, now) ?? 0;
  }

  /** Milliseconds to wait; 0: taken. */
  take(key: string, cost: number, now: number): number {
    if (this.#rate.perSecond === 0) return 0;
    let bucket = this.#byKey.get(key);
    if (bucket === undefined) {
      // Who makes up keys faster than they expire gets the longest known forgotten, and no memory.
      if (this.#byKey.size >= this.#max) this.#forgetOldest();
      bucket = new Bucket();
      this.#byKey.set(key, bucket);
    }
    return bucket.take(this.#rate, cost, now);
  }

  /** Looks at up to `most` buckets, going round, and forgets those that are idle. */
  sweep(now: number, most: number): void {
    for (let left = Math.min(most, this.#byKey.size); left > 0; left--) {
      const next = this.#round.next();
      if (next.done === true) {
        this.#round = this.#byKey.entries();
        continue;
      }
      const [key, bucket] = next.value;
      if (bucket.idle(this.#rate, now)) this.#byKey.delete(key);
    }
  }

  #forgetOldest(): void {
    for (const oldest of this.#byKey.keys()) {
      this.#byKey.delete(oldest);
      return;
    }
  }
}
