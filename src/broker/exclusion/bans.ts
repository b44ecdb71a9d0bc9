/** Who is kept out for a time: users, networks and tenants. */
import type { Store, StoreEntry, Unstored } from '../cluster.ts';
import type { Clock, Identity, Log } from '../ports.ts';
import { codeOf, type Network, parseAddress, parseNetwork, prefixOf, showNetwork } from './network.ts';

export type BanTarget =
  /** Without a tenant: of every one. */
  | { readonly kind: 'user'; readonly user: string; readonly tenant?: string }
  /** An address, or a prefix such as 10.0.0.0/8. */
  | { readonly kind: 'network'; readonly network: string }
  | { readonly kind: 'tenant'; readonly tenant: string };

/** admin: by a person; the others by the broker itself. */
export type BannedBy = 'admin' | 'flapping' | 'abuse';

/** What is stored. */
export type Ban = BanTarget & {
  readonly reason: string;
  readonly by: BannedBy;
  /** Milliseconds since 1970. */
  readonly at: number;
};

export type ListedBan = Ban & {
  readonly id: string /** Absent: until it is lifted. */;
  readonly until?: number;
};

export type Banned =
  | { readonly ok: true; readonly id: string; readonly until?: number }
  | { readonly ok: false; readonly why: Unstored | 'bad_network' };

export interface BanParts {
  /** Of people. Apart, so that no attack on the broker leaves them without a place. */
  readonly manual: Store;
  readonly automatic: Store;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes a short key of a text; two texts never have the same. */
  readonly digest: (text: string) => string;
}

/** A slip of the pen must not shut everybody out. */
const SHORTEST_PREFIX = { 4: 8, 6: 16 } as const;

export class Bans {
  readonly #parts: BanParts;
  readonly #lists: readonly BanList[];

  constructor(parts: BanParts) {
    this.#parts = parts;
    this.#lists = [parts.manual, parts.automatic].map((store) => new BanList(store, parts.log));
  }

  get size(): number {
    return this.#parts.manual.size + this.#parts.automatic.size;
  }

  ofAddress(address: string): Ban | undefined {
    if (this.#lists.every((list) => list.networks.empty)) return undefined;
    const parsed = parseAddress(address);
    return parsed && this.#first(({ networks }) => networks.find(parsed));
  }

  of({ tenant, user }: Identity): Ban | undefined {
    return this.#first(
      ({ tenants, users }) =>
        tenants.get(tenant) ??
        (users.size > 0 ? (users.get(userKey(user, tenant)) ?? users.get(userKey(user))) : undefined),
    );
  }

  /** In the place of one of the same target. @param seconds absent: until it is lifted. */
  async ban(target: BanTarget, reason: string, by: BannedBy, seconds?: number): Promise<Banned> {
    const plain = normal(target);
    if (plain === undefined) return { ok: false, why: 'bad_network' };
    const { manual, automatic, clock, digest } = this.#parts;
    const id = digest(textOf(plain));
    const at = clock.now();
    const value: Ban = { ...plain, reason, by, at };
    const options = seconds === undefined ? {} : { ttlMs: seconds * 1000 };
    const stored = await (by === 'admin' ? manual : automatic).put(id, value, options);
    if (!stored.ok) return stored;
    return { ok: true, id, ...(seconds !== undefined && { until: at + seconds * 1000 }) };
  }

  /** `found`: there was one, and it `counts`. */
  async unban(
    id: string,
    counts: (ban: Ban) => boolean = () => true,
  ): Promise<
    { readonly ok: true; readonly found: boolean } | { readonly ok: false; readonly why: Unstored }
  > {
    const stores = [this.#parts.manual, this.#parts.automatic].filter((store) => {
      const entry = store.get(id);
      return entry !== undefined && counts(entry.value as Ban);
    });
    for (const store of stores) {
      const stored = await store.delete(id);
      if (!stored.ok) return stored;
    }
    return { ok: true, found: stores.length > 0 };
  }

  /** By id, after that one. */
  list(limit: number, after = '', counts: (ban: Ban) => boolean = () => true): ListedBan[] {
    const found: ListedBan[] = [];
    for (const list of this.#lists)
      for (const { key, value, expiresAt } of list.entries())
        if (key > after && counts(value))
          found.push({ id: key, ...value, ...(expiresAt !== undefined && { until: expiresAt }) });
    return found.sort((one, other) => (one.id < other.id ? -1 : 1)).slice(0, limit);
  }

  #first(find: (list: BanList) => Ban | undefined): Ban | undefined {
    for (const list of this.#lists) {
      const found = find(list);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** The bans of one store, kept in step with it. */
class BanList {
  readonly users = new Map<string, Ban>();
  readonly tenants = new Map<string, Ban>();
  readonly networks = new Networks<Ban>();
  readonly #store: Store;
  readonly #log: Log;

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
    for (const entry of store.entries()) this.#change(entry, true);
    store.watch(({ entry, before }) => {
      if (before !== undefined) this.#change(before, false);
      if (entry !== undefined) this.#change(entry, true);
    });
  }

  *entries(): Iterable<StoreEntry & { readonly value: Ban }> {
    for (const entry of this.#store.entries()) {
      const ban = this.#read(entry);
      if (ban !== undefined) yield { ...entry, value: ban };
    }
  }

  #change(entry: StoreEntry, there: boolean): void {
    const ban = this.#read(entry);
    if (ban === undefined) return;
    if (ban.kind === 'network') {
      const network = parseNetwork(ban.network);
      if (network !== undefined) this.networks.change(network, there ? ban : undefined);
      return;
    }
    const [map, key] =
      ban.kind === 'user'
        ? ([this.users, userKey(ban.user, ban.tenant)] as const)
        : ([this.tenants, ban.tenant] as const);
    if (there) map.set(key, ban);
    else map.delete(key);
  }

  #read(entry: StoreEntry): Ban | undefined {
    const value = entry.value as Partial<Ban> | null;
    if (value?.kind === 'user' || value?.kind === 'network' || value?.kind === 'tenant') return value as Ban;
    this.#log.error({ key: entry.key }, 'a ban of a kind that this version does not know');
    return undefined;
  }
}

/** Values by network: one map per length of prefix in use, of which there are 33 and 129 at most. */
export class Networks<T> {
  readonly #byBits = { 4: new Map<number, Map<string, T>>(), 6: new Map<number, Map<string, T>>() };

  get empty(): boolean {
    return this.#byBits[4].size + this.#byBits[6].size === 0;
  }

  /** undefined takes it out. */
  change(network: Network, value: T | undefined): void {
    const { family, bits } = network;
    const prefix = prefixOf(codeOf(network), bits);
    let values = this.#byBits[family].get(bits);
    if (value === undefined) {
      values?.delete(prefix);
      if (values?.size === 0) this.#byBits[family].delete(bits);
      return;
    }
    if (values === undefined) {
      values = new Map();
      this.#byBits[family].set(bits, values);
    }
    values.set(prefix, value);
  }

  /** Of a network that the address is in. */
  find(address: Network): T | undefined {
    const code = codeOf(address);
    for (const [bits, values] of this.#byBits[address.family]) {
      const found = values.get(prefixOf(code, bits));
      if (found !== undefined) return found;
    }
    return undefined;
  }
}

/** undefined: the network is none, or is far too large. */
function normal(target: BanTarget): BanTarget | undefined {
  if (target.kind !== 'network') return target;
  const network = parseNetwork(target.network);
  if (network === undefined || network.bits < SHORTEST_PREFIX[network.family]) return undefined;
  return { kind: 'network', network: showNetwork(network) };
}

/** No tenant has a space in its name, nor is one empty. */
function userKey(user: string, tenant = ''): string {
  return `${tenant} ${user}`;
}

function textOf(target: BanTarget): string {
  if (target.kind === 'network') return `network ${target.network}`;
  return target.kind === 'tenant' ? `tenant ${target.tenant}` : `user ${userKey(target.user, target.tenant)}`;
}
