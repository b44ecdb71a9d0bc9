import { RoundRobin, type RoundRobinItem } from '../round-robin.ts';
import { Bucket, type Rate } from './bucket.ts';

class KeyedBucket extends Bucket implements RoundRobinItem {
  readonly key: string;
  roundRobinIndex = -1;

  constructor(key: string) {
    super();
    this.key = key;
  }
}

/** One bucket per key, such as an address. Idle ones are forgotten a few at a time; the number is bounded. */
export class Buckets {
  readonly #rate: Rate;
  readonly #max: number;
  readonly #byKey = new Map<string, KeyedBucket>();
  readonly #round = new RoundRobin<KeyedBucket>();

  constructor(rate: Rate, max: number) {
    this.#rate = rate;
    this.#max = max;
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
      bucket = new KeyedBucket(key);
      this.#byKey.set(key, bucket);
      this.#round.add(bucket);
    }
    return bucket.take(this.#rate, cost, now);
  }

  /** Looks at up to `most` buckets, going round, and forgets those that are idle. */
  sweep(now: number, most: number): void {
    for (let left = Math.min(most, this.#byKey.size); left > 0; left--) {
      const bucket = this.#round.next();
      if (bucket?.idle(this.#rate, now)) this.#forget(bucket);
    }
  }

  #forgetOldest(): void {
    for (const oldest of this.#byKey.values()) return this.#forget(oldest);
  }

  #forget(bucket: KeyedBucket): void {
    this.#byKey.delete(bucket.key);
    this.#round.remove(bucket);
  }
}
