const SHARDS = 16;
/** Below this one map grows by less than 3 ms. */
const FEW = 20_000;
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
  readonly #shards: readonly Map<string, number>[];
  size = 0;

  /** @param expected entries; a few are one map, since a tenant with a few has no use for sixteen */
  constructor(expected: number) {
    const length = expected < FEW ? 1 : SHARDS;
    this.#shards = Array.from({ length }, () => new Map<string, number>());
  }

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
    if (this.#shards.length === 1) return this.#shards[0] as Map<string, number>;
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
  #young = new Generation(0);
  #old = new Generation(0);
  /** When the young generation began; the old one ended then. */
  #since = Number.NEGATIVE_INFINITY;
  #evicted = 0;
  /** Entries of before this were forgotten within their window. */
  #partialUntil = Number.NEGATIVE_INFINITY;

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
    if (this.#young.size >= this.#half) this.forgetEarly(now);
    this.#young.add(identity, seq);
  }

  /** Makes place before the window is over: the older half goes. */
  forgetEarly(now: number): void {
    if (this.#old.size > 0) this.#partialUntil = now + this.#windowMs;
    this.#evicted += this.#old.size;
    this.#turn(now);
  }

  /** Whether an identity that is not found may have been added within the window. */
  partial(now: number): boolean {
    return now < this.#partialUntil;
  }

  /** Forgets what is over its window; calling it now and then returns memory when nothing is published. */
  sweep(now: number): void {
    const age = now - this.#since;
    if (age < this.#windowMs) return;
    const bothOver = age >= 2 * this.#windowMs;
    this.#turn(bothOver ? now : this.#since + this.#windowMs);
    if (bothOver) this.#old = new Generation(0);
  }

  clear(): void {
    this.#young = new Generation(0);
    this.#old = new Generation(0);
  }

  #turn(since: number): void {
    this.#old = this.#young;
    this.#young = new Generation(this.#old.size);
    this.#since = since;
  }
}

export interface DedupeLimits {
  readonly dedupeWindowMs: number;
  /** Of all tenants together. */
  readonly dedupeEntries: number;
  readonly dedupeEntriesPerTenant: number;
}

/**
 * A window for each tenant: a flood of msgIds pushes out the tenant's own, never another's. Where all together are too
 * many, the tenant with the most gives up the older half of its own.
 */
export class TenantDedupe {
  readonly #limits: DedupeLimits;
  readonly #byTenant = new Map<string, DedupeWindow>();
  /** Of windows that are gone. */
  #evicted = 0;

  constructor(limits: DedupeLimits) {
    this.#limits = limits;
  }

  get size(): number {
    let size = 0;
    for (const window of this.#byTenant.values()) size += window.size;
    return size;
  }

  get evicted(): number {
    let evicted = this.#evicted;
    for (const window of this.#byTenant.values()) evicted += window.evicted;
    return evicted;
  }

  get(tenant: string, identity: string, now: number): number | undefined {
    return this.#byTenant.get(tenant)?.get(identity, now);
  }

  /** As `DedupeWindow.partial`. */
  partial(tenant: string, now: number): boolean {
    return this.#byTenant.get(tenant)?.partial(now) ?? false;
  }

  add(tenant: string, identity: string, seq: number, now: number): void {
    let window = this.#byTenant.get(tenant);
    if (window === undefined) {
      const { dedupeWindowMs, dedupeEntries, dedupeEntriesPerTenant } = this.#limits;
      window = new DedupeWindow(dedupeWindowMs, Math.min(dedupeEntries, dedupeEntriesPerTenant));
      this.#byTenant.set(tenant, window);
    }
    this.#added++;
    window.add(identity, seq, now);
    // Counting all of them each time would cost more than the publish.
    if (this.#added < COUNT_EVERY) return;
    this.#added = 0;
    while (this.size > this.#limits.dedupeEntries) this.#largest()?.forgetEarly(now);
  }

  sweep(now: number): void {
    for (const [tenant, window] of this.#byTenant) {
      window.sweep(now);
      if (window.size > 0 || window.partial(now)) continue;
      this.#evicted += window.evicted;
      this.#byTenant.delete(tenant);
    }
  }

  clear(): void {
    this.#byTenant.clear();
  }

  #added = 0;

  #largest(): DedupeWindow | undefined {
    let largest: DedupeWindow | undefined;
    for (const window of this.#byTenant.values()) if (window.size > (largest?.size ?? -1)) largest = window;
    return largest;
  }
}

/** So many more than `dedupeEntries` there may be for a moment. */
const COUNT_EVERY = 1000;

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
