/** The ledger's way out of this process: what is kept of it, how soon, and what anybody can read of it. */
import { COUNTS, type Ledger, type MinuteCounts, type UsageCount, type UsageCounts } from './ledger.ts';
import type { Clock, Log } from './ports.ts';

export interface UsageSettings {
  /** So often what the present minute has so far is stored: a crash takes no more than this with it. */
  readonly flushMs: number;
  readonly ageMs: number;
  /** Of all records, in NATS on each of the stream's servers. */
  readonly bytes: number;
  /** Records in memory: those that wait to be stored, and all of them where nothing stores them. */
  readonly records: number;
}

/**
 * What one run of one node counted for one tenant in one minute. Of several with the same node, incarnation, tenant and
 * minute the one with the most counts: they only grow.
 */
export interface UsageRecord extends MinuteCounts {
  readonly node: string;
  readonly incarnation: string;
}

export interface UsageQuery {
  readonly tenant?: string | undefined;
  /** Minutes from this one to before that one, by their beginnings in milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
}

/** Whether more are wanted. */
export type EachRecord = (record: UsageRecord) => boolean;

/** Keeps records. Whatever it is given twice counts once. test/contract/usage.ts holds every implementation to it. */
export interface UsageStore {
  /** Throws with the reason. */
  start(): Promise<void>;
  /** Of minutes that are over. false: not all are kept, the caller tries again. Never rejects. */
  keep(records: readonly UsageRecord[]): Promise<boolean>;
  /** Of the present minute, in the place of what this run of the node has said before. Never rejects. */
  journal(records: readonly UsageRecord[]): Promise<boolean>;
  /** In no order, some of them more than once, until `each` gives false. false: they cannot be read now. Never rejects. */
  read(query: UsageQuery, each: EachRecord): Promise<boolean>;
  close(): Promise<void>;
}

export const STEPS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;
export type Step = keyof typeof STEPS;

/** Of one tenant, on all nodes; `at` is the beginning. */
export interface UsageRow extends UsageCounts {
  readonly tenant: string;
  readonly at: number;
}

export type Report =
  | { readonly ok: true; readonly rows: readonly UsageRow[] }
  | { readonly ok: false; readonly why: 'unavailable' | 'too_many' };

export interface UsageFigures {
  readonly stored: number;
  readonly failures: number;
  readonly dropped: number;
  readonly waiting: number;
}

export interface UsageBookParts {
  readonly ledger: Ledger;
  readonly store: UsageStore;
  readonly node: string;
  readonly incarnation: string;
  readonly settings: UsageSettings;
  readonly clock: Clock;
  readonly log: Log;
}

/** Records stored together. */
const BATCH = 256;
/** Records that one report may be made from: about 100 MB of memory. */
const REPORT_RECORDS = 250_000;

export class UsageBook {
  readonly #parts: UsageBookParts;
  /** Minutes that are over and not stored yet. */
  #waiting: UsageRecord[] = [];
  #flushAt = 0;
  #flushing: Promise<boolean> | undefined;
  #next: Promise<boolean> | undefined;
  readonly #figures = { stored: 0, failures: 0, dropped: 0 };

  constructor(parts: UsageBookParts) {
    this.#parts = parts;
    parts.ledger.whenClosed((counts) => this.#closed(counts));
  }

  /** Gives the payload bytes published today, by tenant. Throws when the store cannot be had. */
  async start(): Promise<{ readonly day: number; readonly bytes: ReadonlyMap<string, number> }> {
    const { store, clock } = this.#parts;
    await store.start();
    const day = Math.floor(clock.now() / STEPS.day);
    const today = await this.#read({ from: day * STEPS.day, to: (day + 1) * STEPS.day }, 'day');
    const rows = today.ok ? today.rows : [];
    return { day, bytes: new Map(rows.map(({ tenant, payloadBytes }) => [tenant, payloadBytes])) };
  }

  /** To be called about once a second, after the ledger's own tick. */
  tick(): void {
    if (this.#parts.clock.now() >= this.#flushAt) void this.flush();
  }

  /** Stores what has been counted until now. Calls during one flush share the next. Never rejects. */
  flush(): Promise<boolean> {
    if (this.#next !== undefined) return this.#next;
    const before = this.#flushing ?? Promise.resolve(true);
    const next = before.then(() => {
      this.#next = undefined;
      this.#flushing = this.#flush();
      return this.#flushing;
    });
    this.#next = next;
    return next;
  }

  /** What this and all other nodes have stored. */
  report(query: UsageQuery, step: Step): Promise<Report> {
    return this.#read(query, step);
  }

  figures(): UsageFigures {
    return { ...this.#figures, waiting: this.#waiting.length };
  }

  /** Stores everything, if it can be. */
  async close(): Promise<void> {
    this.#parts.ledger.finish(this.#parts.clock.now());
    await this.flush();
    await this.#parts.store.close();
  }

  #closed(counts: readonly MinuteCounts[]): void {
    const { settings, log } = this.#parts;
    this.#waiting.push(...this.#records(counts));
    this.#flushAt = 0;
    const over = this.#waiting.length - settings.records;
    if (over <= 0) return;
    this.#waiting.splice(0, over);
    this.#figures.dropped += over;
    log.error({ dropped: over }, 'usage cannot be stored: the oldest records are lost (usage.records)');
  }

  #records(counts: readonly MinuteCounts[]): UsageRecord[] {
    const { node, incarnation } = this.#parts;
    return counts.map((count) => ({ ...count, node, incarnation }));
  }

  async #flush(): Promise<boolean> {
    const { settings, clock, ledger, store } = this.#parts;
    this.#flushAt = clock.now() + settings.flushMs;
    // First: what is journaled next takes the place of the minute before.
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, BATCH);
      if (!(await store.keep(batch))) return this.#failed();
      this.#figures.stored += batch.length;
      const kept = new Set(batch);
      this.#waiting = this.#waiting.filter((record) => !kept.has(record));
    }
    return (await store.journal(this.#records(ledger.present(clock.now())))) || this.#failed();
  }

  #failed(): false {
    this.#figures.failures++;
    return false;
  }

  async #read(query: UsageQuery, step: Step): Promise<Report> {
    const records = new Map<string, UsageRecord>();
    let tooMany = false;
    const read = await this.#parts.store.read(query, (record) => {
      const id = idOf(record);
      const known = records.get(id);
      if (known === undefined && records.size >= REPORT_RECORDS) tooMany = true;
      else records.set(id, known === undefined ? record : fuller(known, record));
      return !tooMany;
    });
    if (tooMany) return { ok: false, why: 'too_many' };
    return read
      ? { ok: true, rows: rowsOf(records.values(), STEPS[step]) }
      : { ok: false, why: 'unavailable' };
  }
}

/** The same for every copy of a record. Neither name has a colon in it. */
export function idOf({ node, minute, tenant, incarnation }: Omit<UsageRecord, UsageCount>): string {
  return `${node}:${minute / STEPS.minute}:${tenant}:${incarnation}`;
}

/** Every count only grows, so that no copy is fuller in one and emptier in another. */
function fuller(one: UsageRecord, other: UsageRecord): UsageRecord {
  return COUNTS.some((count) => other[count] > one[count]) ? other : one;
}

function rowsOf(records: Iterable<UsageRecord>, step: number): UsageRow[] {
  const rows = new Map<string, Record<UsageCount, number> & { tenant: string; at: number }>();
  for (const record of records) {
    const at = Math.floor(record.minute / step) * step;
    const key = `${at} ${record.tenant}`;
    const row = rows.get(key) ?? { tenant: record.tenant, at, ...ZERO };
    for (const count of COUNTS) row[count] += record[count];
    rows.set(key, row);
  }
  return [...rows.values()].sort((a, b) => a.at - b.at || (a.tenant < b.tenant ? -1 : 1));
}

const ZERO = Object.fromEntries(COUNTS.map((count) => [count, 0])) as Record<UsageCount, number>;

export function isWanted({ tenant, from, to }: UsageQuery, record: UsageRecord): boolean {
  return record.minute >= from && record.minute < to && (tenant === undefined || record.tenant === tenant);
}

/** undefined: not a record of ours, or a damaged one. */
export function readRecord(value: unknown): UsageRecord | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  // One of an earlier version lacks the counts that came later.
  const record = { ...ZERO, ...value } as UsageRecord;
  const named = [record.node, record.incarnation, record.tenant].every((name) => typeof name === 'string');
  const counted = [record.minute, ...COUNTS.map((count) => record[count])].every(Number.isFinite);
  return named && counted ? record : undefined;
}
