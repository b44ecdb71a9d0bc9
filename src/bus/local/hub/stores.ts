/** The stores: kept by the hub's own cluster of one, copied to every worker. */
import type { Cluster, Store, StoreChange, Stored, StoreEntry } from '../../../broker/cluster.ts';
import type { Clock } from '../../../broker/ports.ts';
import type { Write } from '../../cluster/replica.ts';
import type { FromHub, WireRow, WireStore } from '../wire.ts';

export interface HubStoresParts {
  readonly cluster: Pick<Cluster, 'store' | 'figures'>;
  readonly clock: Clock;
  /** To every worker that has joined. */
  readonly tell: (...change: FromHub['change']) => void;
}

export class HubStores {
  readonly #parts: HubStoresParts;
  readonly #watched = new Map<string, Store>();

  constructor(parts: HubStoresParts) {
    this.#parts = parts;
  }

  /** When the cluster has started: what was kept before. */
  start(): void {
    for (const { name } of this.#parts.cluster.figures().stores) this.#store(name);
  }

  get all(): WireStore[] {
    return [...this.#watched].map(([name, store]) => [
      name,
      [...store.entries()].map((entry) => [entry.key, ...wireRow(entry)] as const),
    ]);
  }

  /** Every worker is told of the change before the writer is of its success. */
  async write({ store: name, key, text, expiresAt, over }: Write): Promise<Stored> {
    const store = this.#store(name);
    const revision = over === undefined ? {} : { revision: over };
    if (text === undefined) return store.delete(key, revision);
    const left = expiresAt === undefined ? undefined : expiresAt - this.#parts.clock.now();
    const ttl = left === undefined ? {} : { ttlMs: Math.max(1, left) };
    return store.put(key, JSON.parse(text), { ...ttl, ...revision });
  }

  #store(name: string): Store {
    const known = this.#watched.get(name);
    if (known !== undefined) return known;
    const store = this.#parts.cluster.store(name);
    this.#watched.set(name, store);
    store.watch(({ key, entry }: StoreChange) =>
      this.#parts.tell(name, key, entry === undefined ? null : wireRow(entry)),
    );
    return store;
  }
}

function wireRow({ value, revision, expiresAt }: StoreEntry): WireRow {
  return [JSON.stringify(value), revision, expiresAt ?? null];
}
