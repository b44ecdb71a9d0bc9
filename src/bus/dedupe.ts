const SHARDS = 16;
/** 2^32 over the golden ratio: spreads its multiples evenly over the upper bits. */
const GOLDEN = 0x9e3779b1;

/**
 * Which shard each of 256 hashes falls to. The shares grow from 1 to 2, so that the shards, which double at the
 * same sizes, do not double at the same time.
 */
const SHARD_OF = Uint8Array.from({ length: 256 }, (_, hash) =>
  Math.floor(SHARDS * Math.log2(1 + hash / 256)),
);

/**
 * Many small maps instead of a large one: a Map grows by rehashing all it has at once, and that held the loop
 * for 40 to 90 ms at 260,000 and 520,000 entries.
 */
class Generation {
  readonly #shards = Array.from({ length: SHARDS }, () => new Map<string, number>());
  size = 0;

  get(identity: string): number | undefined {
    return this.#shard(identity).get(identity);
  }

  /** The identity is not in here yet. */
  add(identity: string, seq: number): void {
    this.#shard(identity).set(identity, seq);
    this.size++;
  }

  /** By the end, where ids differ: whether counted, timed or random. */
  #shard(identity: string): Map<string, number> {
    const end = identity.length;
    const last =
      identity.charCodeAt(end - 1) |
      (identity.charCodeAt(end - 2) << 7) |
      (identity.charCodeAt(end - 3) << 14);
    return this.#shards[SHARD_OF[Math.imul(last, GOLDEN) >>> 24] as number] as Map<string, number>;
  }
}

/**
 * The publishes that a retry may repeat, by an identity that the caller makes, with what the first one got.
 *
 * Two generations: entries go into the young one, and the old one is dropped whole when the young one has been
 * filling for the window. So an entry lives between one and two windows and costs no timer and no list.
 * A young generation that has half of all `entries` is the old one early; `evicted` counts what was forgotten so,
 * and the newest half is always there. 0 entries: nothing is remembered.
 */
export class DedupeWindow {
  readonly #windowMs: number;
  readonly #half: number;
  #young = new Generation();
  #old = new Generation();
  /** When the young generation began; the old one ended then. */
  #since = Number.NEGATIVE_INFINITY;
  #evicted = 0;

  constructor(windowMs: number, entries: number) {
    this.#windowMs = windowMs;
    this.#half = Math.ceil(entries / 2);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  /** Entries forgotten for want of room. */
  get evicted(): number {
    return this.#evicted;
  }

  /** The position that the first publish of this identity got. */
  get(identity: string, now: number): number | undefined {
    this.sweep(now);
    return this.#young.get(identity) ?? this.#old.get(identity);
  }

  /** Remembers an identity of which `get` has just said that it is new. */
  add(identity: string, seq: number, now: number): void {
    if (this.#half === 0) return;
    this.sweep(now);
    if (this.#young.size >= this.#half) {
      this.#evicted += this.#old.size;
      this.#turn(now);
    }
    this.#young.add(identity, seq);
  }

  /** Forgets what is over its window; calling it now and then returns memory when nothing is published. */
  sweep(now: number): void {
    const age = now - this.#since;
    if (age < this.#windowMs) return;
    const bothOver = age >= 2 * this.#windowMs;
    this.#turn(bothOver ? now : this.#since + this.#windowMs);
    if (bothOver) this.#old = new Generation();
  }

  clear(): void {
    this.#young = new Generation();
    this.#old = new Generation();
  }

  #turn(since: number): void {
    this.#old = this.#young;
    this.#young = new Generation();
    this.#since = since;
  }
}

/**
 * One publisher's message in one room. The length makes it unambiguous: a user id may hold any character, the
 * separator too, and one user's message must never pass for another's.
 */
export function publishIdentity(roomKey: string, from: string, msgId: string): string {
  const identity = `${roomKey}\0${from.length}\0${from}${msgId}`;
  // V8 keeps a concatenation as a tree of its parts until somebody reads through it: 237 instead of 114 bytes
  // per entry of the window.
  Buffer.byteLength(identity);
  return identity;
}
