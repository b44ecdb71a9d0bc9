/**
 * How the nodes share out what a tenant may have in all. The record of a tenant says what each node holds of each pool
 * and until when; every change is one compare-and-set on it, so that what is held never sums to more than the total.
 *
 * A node may use what it was granted until then by its own clock, and others take it for free `skewMs` later by theirs:
 * as long as no two clocks differ by more, nothing is used twice. What a crashed node held is free after
 * `leaseMs + skewMs`. Without a grant a node uses the advance, so that the first client of a tenant does not wait for
 * the store. So the bound is, at any moment: total + nodes × advance, the advance being 1 % of the total.
 */

/** Amounts by pool: connections, or units per second. */
export type Pool = 'connections' | 'publish' | 'publishBytes' | 'deliveries';
export const POOLS: readonly Pool[] = ['connections', 'publish', 'publishBytes', 'deliveries'];
/** Pools without a limit are absent. */
export type Amounts = Readonly<Partial<Record<Pool, number>>>;

export interface Slice {
  readonly amounts: Amounts;
  /** What the node could use, so that the others know what to leave it. */
  readonly wants: Amounts;
  /** Milliseconds since 1970, by the clock of the node that wrote it. */
  readonly until: number;
}

/** The bytes of a day are used up, not given back: what nodes have taken out of the total. */
export interface DayTaken {
  /** Since 1970, UTC. */
  readonly day: number;
  readonly taken: number;
}

export interface Allotment {
  /** By node and incarnation. */
  readonly slices: Readonly<Record<string, Slice>>;
  readonly day: DayTaken;
}

export const EMPTY: Allotment = { slices: {}, day: { day: 0, taken: 0 } };

export interface LeaseTimes {
  readonly leaseMs: number;
  readonly skewMs: number;
}

export function advanceOf(total: number): number {
  return Math.max(1, Math.ceil(total / 100));
}

/** What `holder` may hold at most: what it wants where all can have that, else an equal share; and what nobody wants. */
function entitled(total: number, holder: string, wants: ReadonlyMap<string, number>): number {
  const ascending = [...wants].sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
  let left = total;
  let mine = 0;
  for (const [at, [name, want]] of ascending.entries()) {
    const share = Math.min(want, Math.floor(left / (ascending.length - at)));
    left -= share;
    if (name === holder) mine = share;
  }
  return mine + Math.floor(left / ascending.length);
}

export interface Ask {
  readonly holder: string;
  /** By the tenant's policy. */
  readonly totals: Amounts;
  readonly wants: Amounts;
  /** What cannot be given back: connections that are open. */
  readonly uses: Amounts;
  /** Bytes of today asked for, more than was taken before. */
  readonly dayBytes: number;
  readonly dayTotal: number;
  readonly day: number;
  readonly now: number;
}

export interface Granted {
  readonly record: Allotment;
  readonly slice: Slice;
  readonly dayBytes: number;
}

/** The record with the asking node's slice as large as it may be. Others' slices are not touched, unless they are over. */
export function allot(before: Allotment, ask: Ask, { leaseMs, skewMs }: LeaseTimes): Granted {
  const others = Object.entries(before.slices).filter(
    ([name, { until }]) => name !== ask.holder && until + skewMs >= ask.now,
  );
  const amounts: Partial<Record<Pool, number>> = {};
  for (const pool of POOLS) {
    const total = ask.totals[pool];
    if (total === undefined) continue;
    const held = others.reduce((sum, [, { amounts: theirs }]) => sum + (theirs[pool] ?? 0), 0);
    const wants = new Map(others.map(([name, slice]) => [name, slice.wants[pool] ?? 0]));
    wants.set(ask.holder, ask.wants[pool] ?? 0);
    const fair = Math.max(entitled(total, ask.holder, wants), ask.uses[pool] ?? 0);
    amounts[pool] = Math.max(0, Math.min(fair, total - held));
  }
  const taken = before.day.day === ask.day ? before.day.taken : 0;
  const dayBytes = Math.max(0, Math.min(ask.dayBytes, ask.dayTotal - taken));
  const slice = { amounts, wants: ask.wants, until: ask.now + leaseMs };
  return {
    slice,
    dayBytes,
    record: {
      slices: { ...Object.fromEntries(others), [ask.holder]: slice },
      day: { day: ask.day, taken: taken + dayBytes },
    },
  };
}

/** The record without the node's slice, and with the bytes of today that it has not used. */
export function giveBack(before: Allotment, holder: string, day: number, dayBytes: number): Allotment {
  const { [holder]: _mine, ...slices } = before.slices;
  const { day: recorded, taken } = before.day;
  return { slices, day: recorded === day ? { day, taken: Math.max(0, taken - dayBytes) } : before.day };
}

/** Whether the holder should write soon although its lease is good: others want what it holds beyond its share. */
export function owes(record: Allotment, ask: Ask, times: LeaseTimes): boolean {
  const mine = record.slices[ask.holder];
  if (mine === undefined) return true;
  const wants = new Map(Object.entries(record.slices).map(([name, slice]) => [name, slice] as const));
  return POOLS.some((pool) => {
    const total = ask.totals[pool];
    if (total === undefined) return false;
    const live = [...wants].filter(([, { until }]) => until + times.skewMs >= ask.now);
    const asked = new Map(live.map(([name, slice]) => [name, slice.wants[pool] ?? 0]));
    const fair = Math.max(entitled(total, ask.holder, asked), ask.uses[pool] ?? 0);
    return (mine.amounts[pool] ?? 0) > fair;
  });
}

/**
 * One node's side: what it may use, whatever becomes of its writes. A slice that shrinks is given up before the write,
 * one that grows is used after it is known to be stored; when nobody knows, both hold.
 */
export class Holding {
  #granted: Slice | undefined;
  #asked: Slice | undefined;

  /** The amount of a pool that may be used now, of `total`. */
  usable(pool: Pool, total: number, now: number): number {
    const advance = advanceOf(total);
    const granted = this.#granted;
    if (granted === undefined || now >= granted.until) return Math.min(total, advance);
    const held = granted.amounts[pool] ?? 0;
    const kept = this.#asked === undefined ? held : Math.min(held, this.#asked.amounts[pool] ?? 0);
    return Math.min(total, Math.max(advance, kept));
  }

  get writing(): boolean {
    return this.#asked !== undefined;
  }

  get until(): number {
    return this.#granted?.until ?? 0;
  }

  asks(slice: Slice): void {
    this.#asked = slice;
  }

  /** stored: it holds. refused: nothing has changed. unknown: it may have been stored, or be so yet. */
  outcome(what: 'stored' | 'refused' | 'unknown'): void {
    const asked = this.#asked;
    this.#asked = undefined;
    if (asked === undefined || what === 'refused') return;
    this.#granted = what === 'stored' ? asked : smaller(this.#granted, asked);
  }

  drop(): void {
    this.#granted = undefined;
    this.#asked = undefined;
  }
}

function smaller(granted: Slice | undefined, asked: Slice): Slice | undefined {
  if (granted === undefined) return undefined;
  const amounts = Object.fromEntries(
    POOLS.map((pool) => [pool, Math.min(granted.amounts[pool] ?? 0, asked.amounts[pool] ?? 0)]),
  );
  return { ...granted, amounts };
}
