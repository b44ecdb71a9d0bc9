/** The keys that tickets are signed with, made and replaced by the nodes themselves. */
import { randomBytes } from 'node:crypto';
import type { Store, StoreEntry } from '../broker/cluster.ts';
import type { Clock, Log } from '../broker/ports.ts';

export interface TicketKeyOptions {
  /** Every node has the store. */
  readonly store: Store;
  readonly ttlSeconds: number;
  readonly rotateSeconds: number;
  /** Opens tickets too, and signs while the store has no key. */
  readonly fallback: Uint8Array;
  readonly clock: Clock;
  readonly log: Log;
}

/** A key signs only when every node has had the time to hear of it. */
const SETTLE_MS = 5000;

interface Key {
  readonly since: number;
  readonly secret: Uint8Array;
}

/**
 * One key per stretch of `rotateSeconds`, under its number: whichever node comes first in a stretch makes it, and the
 * store lets only one do so. A key outlives its stretch by twice the life of a ticket.
 */
export class TicketKeys {
  readonly #options: TicketKeyOptions;
  readonly #keys = new Map<string, Key>();
  #secrets: readonly Uint8Array[];
  #making = false;

  constructor(options: TicketKeyOptions) {
    this.#options = options;
    this.#secrets = [options.fallback];
    options.store.watch(({ key, entry }) => {
      if (entry === undefined) this.#keys.delete(key);
      else this.#take(entry);
      this.#arrange();
    });
  }

  /** The first signs, all of them open. */
  readonly secrets = (): readonly Uint8Array[] => this.#secrets;

  /** When the cluster has started: what was there before this node. Resolves with a key of this stretch, if one could be had. */
  async start(): Promise<void> {
    for (const entry of this.#options.store.entries()) this.#take(entry);
    await this.#make();
  }

  /** To be called about once a second. */
  tick(): void {
    this.#arrange();
    if (this.#keys.has(this.#stretch()) || this.#making) return;
    void this.#make();
  }

  async #make(): Promise<void> {
    const { store, ttlSeconds, rotateSeconds, clock, log } = this.#options;
    const name = this.#stretch();
    if (!this.#keys.has(name)) {
      this.#making = true;
      const value = { since: clock.now(), secret: randomBytes(32).toString('base64url') };
      const ttlMs = (rotateSeconds + 2 * ttlSeconds) * 1000;
      const stored = await store.put(name, value, { ttlMs, revision: 0 });
      this.#making = false;
      // conflict: another node was faster, and its key comes by the watch.
      if (!stored.ok && stored.why !== 'conflict')
        log.warn({ why: stored.why }, 'no new key for tickets could be stored: the old ones go on');
    }
    this.#arrange();
  }

  #take({ key, value }: StoreEntry): void {
    const { since, secret } = value as { readonly since?: unknown; readonly secret?: unknown };
    if (typeof since !== 'number' || typeof secret !== 'string') return;
    this.#keys.set(key, { since, secret: Buffer.from(secret, 'base64url') });
  }

  #arrange(): void {
    const now = this.#options.clock.now();
    const newestFirst = [...this.#keys.values()].sort((one, other) => other.since - one.since);
    const settled = newestFirst.findIndex(({ since }) => now - since >= SETTLE_MS);
    // The very first key of an installation signs at once: no other node can have signed with an older one.
    const signing = settled < 0 ? newestFirst.at(-1) : newestFirst[settled];
    const others = newestFirst.filter((key) => key !== signing).map(({ secret }) => secret);
    const first = signing === undefined ? [] : [signing.secret];
    this.#secrets = [...first, ...others, this.#options.fallback];
  }

  #stretch(): string {
    return `k${Math.floor(this.#options.clock.now() / (this.#options.rotateSeconds * 1000))}`;
  }
}
