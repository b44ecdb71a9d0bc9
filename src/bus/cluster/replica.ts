/** The copy of the stores that each node has, whole: what reads are answered from, whatever it is kept whole by. */
import type {
  Cancel,
  PutOptions,
  Store,
  StoreChange,
  Stored,
  StoreEntry,
  StoreFigures,
  Unstored,
} from '../../broker/cluster.ts';
import type { Clock, Log } from '../../broker/ports.ts';
import type { StateLimits } from '../../broker/settings.ts';
import { Listeners } from './listeners.ts';

/** A change that has been checked, on its way to where it is kept. */
export interface Write {
  readonly store: string;
  readonly key: string;
  /** The value as JSON; undefined: to be deleted. */
  readonly text: string | undefined;
  readonly expiresAt: number | undefined;
  /** As in PutOptions. */
  readonly over: number | undefined;
}

/** What keeps the stores. Resolves with `ok` once the replica has the change; never rejects. */
export type Writer = (write: Write) => Promise<Stored>;

interface Kept {
  readonly entry: StoreEntry;
  readonly text: string;
  /** Of key and value. */
  readonly bytes: number;
}

/** As kept anywhere else: the value is still text. */
export interface Row {
  readonly key: string;
  readonly text: string;
  readonly revision: number;
  readonly expiresAt: number | undefined;
}

const NAME = /^[a-z][a-z0-9-]{0,31}$/;
const KEY_CHARS = 256;

export interface ReplicaParts {
  readonly limits: StateLimits;
  readonly clock: Clock;
  readonly log: Log;
  readonly write: Writer;
}

/** How often whoever has a Replica has it look for what has expired. */
export const EXPIRE_EVERY_MS = 250;

/** All stores of a node. */
export class Replica {
  readonly #parts: ReplicaParts;
  readonly #stores = new Map<string, LocalStore>();
  readonly writes: Record<'stored' | Unstored, number> = {
    stored: 0,
    conflict: 0,
    unavailable: 0,
    too_large: 0,
    full: 0,
  };
  ready = false;

  constructor(parts: ReplicaParts) {
    this.#parts = parts;
  }

  get bytes(): number {
    let sum = 0;
    for (const { bytes } of this.#stores.values()) sum += bytes;
    return sum;
  }

  get stores(): Iterable<LocalStore> {
    return this.#stores.values();
  }

  store(name: string): LocalStore {
    let store = this.#stores.get(name);
    if (store === undefined) {
      if (!NAME.test(name)) throw new Error(`not a name for a store: ${name}`);
      store = new LocalStore(name, this, this.#parts);
      this.#stores.set(name, store);
    }
    return store;
  }

  /** What was due is gone, and told. */
  expire(): void {
    const now = this.#parts.clock.now();
    for (const store of this.#stores.values()) store.expire(now);
  }

  figures(): StoreFigures[] {
    return [...this.#stores.values()].map(({ name, kept, bytes, revision }) => {
      return { name, entries: kept, bytes, revision };
    });
  }
}

/** One store as this node has it. */
export class LocalStore implements Store {
  readonly name: string;
  readonly #all: Replica;
  readonly #parts: ReplicaParts;
  readonly #kept = new Map<string, Kept>();
  readonly #watching: Listeners<[StoreChange]>;
  #nextExpiry = Number.POSITIVE_INFINITY;
  bytes = 0;
  revision = 0;

  constructor(name: string, all: Replica, parts: ReplicaParts) {
    this.name = name;
    this.#all = all;
    this.#parts = parts;
    this.#watching = new Listeners(`a watch of the store ${name}`, parts.log);
  }

  get ready(): boolean {
    return this.#all.ready;
  }

  /** With what is due, but not swept yet. */
  get kept(): number {
    return this.#kept.size;
  }

  get size(): number {
    this.expire(this.#parts.clock.now());
    return this.#kept.size;
  }

  get(key: string): StoreEntry | undefined {
    const entry = this.#kept.get(key)?.entry;
    if (entry?.expiresAt === undefined || entry.expiresAt > this.#parts.clock.now()) return entry;
    return undefined;
  }

  *entries(): Iterable<StoreEntry> {
    const now = this.#parts.clock.now();
    for (const { entry } of this.#kept.values())
      if (entry.expiresAt === undefined || entry.expiresAt > now) yield entry;
  }

  row(key: string): Row | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    const { revision, expiresAt } = kept.entry;
    return { key, text: kept.text, revision, expiresAt };
  }

  /** Everything as it is kept, also what is due. */
  *rows(): Iterable<Row> {
    for (const { entry, text } of this.#kept.values())
      yield { key: entry.key, text, revision: entry.revision, expiresAt: entry.expiresAt };
  }

  watch(heard: (change: StoreChange) => void): Cancel {
    return this.#watching.add(heard);
  }

  async put(key: string, value: unknown, { ttlMs, revision }: PutOptions = {}): Promise<Stored> {
    if (ttlMs !== undefined && !(ttlMs >= 1)) throw new Error(`ttlMs is ${ttlMs}: at least 1`);
    const text = JSON.stringify(value);
    if (text === undefined) throw new Error(`the value of ${key} cannot be carried by JSON`);
    const refused = this.#refused(key, text);
    if (refused !== undefined) return this.#counted({ ok: false, why: refused });
    const expiresAt = ttlMs === undefined ? undefined : Math.round(this.#parts.clock.now() + ttlMs);
    return this.#write({ store: this.name, key, text, expiresAt, over: revision });
  }

  async delete(key: string, { revision }: Pick<PutOptions, 'revision'> = {}): Promise<Stored> {
    if (!fits(key)) return this.#counted({ ok: false, why: 'too_large' });
    return this.#write({ store: this.name, key, text: undefined, expiresAt: undefined, over: revision });
  }

  /** From where it is kept; what is due already is as good as gone. */
  apply({ key, text, revision, expiresAt }: Row): void {
    this.revision = Math.max(this.revision, revision);
    if (expiresAt !== undefined && expiresAt <= this.#parts.clock.now()) return this.remove(key, revision);
    const before = this.#kept.get(key);
    const entry: StoreEntry = {
      key,
      value: JSON.parse(text) as unknown,
      revision,
      ...(expiresAt !== undefined && { expiresAt }),
    };
    const bytes = sizeOf(key, text);
    this.#kept.set(key, { entry, text, bytes });
    this.bytes += bytes - (before?.bytes ?? 0);
    this.#nextExpiry = Math.min(this.#nextExpiry, expiresAt ?? Number.POSITIVE_INFINITY);
    this.#watching.tell({ key, entry, before: before?.entry });
  }

  remove(key: string, revision = 0): void {
    this.revision = Math.max(this.revision, revision);
    const before = this.#kept.get(key);
    if (before === undefined) return;
    this.#kept.delete(key);
    this.bytes -= before.bytes;
    this.#watching.tell({ key, entry: undefined, before: before.entry });
  }

  expire(now: number): void {
    if (now < this.#nextExpiry) return;
    this.#nextExpiry = Number.POSITIVE_INFINITY;
    for (const [key, { entry }] of this.#kept) {
      if (entry.expiresAt === undefined) continue;
      if (entry.expiresAt <= now) this.remove(key);
      else this.#nextExpiry = Math.min(this.#nextExpiry, entry.expiresAt);
    }
  }

  async #write(write: Write): Promise<Stored> {
    return this.#counted(
      this.#all.ready ? await this.#parts.write(write) : { ok: false, why: 'unavailable' },
    );
  }

  #counted(stored: Stored): Stored {
    this.#all.writes[stored.ok ? 'stored' : stored.why]++;
    return stored;
  }

  #refused(key: string, text: string): Unstored | undefined {
    const { valueBytes, entries, bytes } = this.#parts.limits;
    if (!fits(key) || Buffer.byteLength(text) > valueBytes) return 'too_large';
    const before = this.#kept.get(key);
    if (before === undefined && this.size >= entries) return 'full';
    const grows = sizeOf(key, text) - (before?.bytes ?? 0);
    return grows > 0 && this.#all.bytes + grows > bytes ? 'full' : undefined;
  }
}

function sizeOf(key: string, text: string): number {
  return Buffer.byteLength(key) + Buffer.byteLength(text);
}

function fits(key: string): boolean {
  return key.length >= 1 && key.length <= KEY_CHARS;
}

/**
 * Whether a change over a revision can be made over what is there, `undefined` being nothing. Where this node may lag
 * behind, a yes is for the keeper to confirm; a no is final, since revisions only grow.
 */
export function isOver(over: number | undefined, there: StoreEntry | undefined): boolean {
  return over === undefined || over === (there?.revision ?? 0);
}
