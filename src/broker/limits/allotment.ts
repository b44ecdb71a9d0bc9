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
  /** What cannot be given back: open connections. Absent: written by a former version. */
  readonly uses?: Amounts;
  /** `uses` with the clients that wait, or the units per second asked for. Absent: as above, then it is `wants`. */
  readonly needs?: Amounts;
  /** `needs` with room to grow, so that the others know what to leave it. */
  readonly wants: Amounts;
  /** Milliseconds since 1970, by the clock of the node that wrote it. */
  readonly until: number;
  /** Bytes of today: of a publish that did not fit, and taken but not used. Absent: none, or as above. */
  readonly dayMissing?: number;
  readonly dayUnused?: number;
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
  /** Parts of bursts that holders had not used when they gave up shares. Absent: nothing, or nobody had a share yet. */
  readonly unspent?: Amounts;
}

export const EMPTY: Allotment = { slices: {}, day: { day: 0, taken: 0 } };

export interface LeaseTimes {
  readonly leaseMs: number;
  readonly skewMs: number;
}

export function advanceOf(total: number): number {
  return Math.max(1, Math.ceil(total / 100));
}

/** What one node has to have, has use for, and could use. */
interface Claim {
  readonly holder: string;
  readonly uses: number;
  readonly needs: number;
  readonly wants: number;
}

/**
 * What `holder` may hold at most. First everybody's open connections, then what is needed now, then room to grow, then
 * what nobody wants: room to grow never keeps out a client that waits on another node.
 */
function entitled(total: number, holder: string, claims: readonly Claim[]): number {
  const sorted = [...claims].sort((a, b) => (a.holder < b.holder ? -1 : 1));
  let held = sorted.map(({ uses }) => uses);
  for (const kind of ['needs', 'wants'] as const)
    held = raised(
      total,
      held,
      sorted.map((claim, at) => Math.max(held[at] as number, claim[kind])),
    );
  const left = Math.max(0, total - sum(held));
  const mine = sorted.findIndex((claim) => claim.holder === holder);
  const equal = Math.floor(left / sorted.length) + (mine < left % sorted.length ? 1 : 0);
  return (held[mine] as number) + equal;
}

/** Raises the lowest first, none above its target, until the total is reached. */
function raised(total: number, from: readonly number[], targets: readonly number[]): number[] {
  if (sum(targets) <= total) return [...targets];
  const at = (level: number) =>
    from.map((low, index) => Math.max(low, Math.min(targets[index] as number, level)));
  let low = 0;
  let high = total;
  while (low < high) {
    const level = Math.ceil((low + high) / 2);
    if (sum(at(level)) <= total) low = level;
    else high = level - 1;
  }
  const amounts = at(low);
  let left = total - sum(amounts);
  return amounts.map((amount, index) => {
    if (left <= 0 || amount > low || amount >= (targets[index] as number)) return amount;
    left--;
    return amount + 1;
  });
}

function sum(amounts: readonly number[]): number {
  return amounts.reduce((all, amount) => all + amount, 0);
}

export interface Ask {
  readonly holder: string;
  /** By the tenant's policy. */
  readonly totals: Amounts;
  readonly wants: Amounts;
  readonly needs: Amounts;
  readonly uses: Amounts;
  /** Of the whole tenant, of the pools that are rates. */
  readonly bursts: Amounts;
  /** What this node could use of a burst now. */
  readonly free: Amounts;
  /** Bytes of today asked for, more than was taken before; below 0: given back. */
  readonly dayBytes: number;
  readonly dayMissing: number;
  readonly dayUnused: number;
  readonly dayTotal: number;
  readonly day: number;
  readonly now: number;
}

export interface Granted {
  readonly record: Allotment;
  readonly slice: Slice;
  readonly dayBytes: number;
  /** Parts of bursts that the node may use at once, beside what it earns. */
  readonly credit: Amounts;
}

/** The record with the asking node's slice as large as it may be. Others' slices are not touched, unless they are over. */
export function allot(before: Allotment, ask: Ask, times: LeaseTimes): Granted {
  const others = liveOthers(before, ask, times);
  const amounts: Partial<Record<Pool, number>> = {};
  for (const pool of POOLS) {
    const total = ask.totals[pool];
    if (total === undefined) continue;
    const held = sum(others.map(([, slice]) => slice.amounts[pool] ?? 0));
    amounts[pool] = Math.max(0, Math.min(fairOf(total, pool, ask, others), total - held));
  }
  const taken = before.day.day === ask.day ? before.day.taken : 0;
  const most = Math.max(0, ask.dayTotal - taken);
  const dayBytes = Math.max(-taken, Math.min(ask.dayBytes, most));
  const { uses, needs, wants, dayMissing } = ask;
  const dayUnused = ask.dayUnused + dayBytes;
  const slice = { amounts, uses, needs, wants, until: ask.now + times.leaseMs, dayMissing, dayUnused };
  const { unspent, credit } = bursts(before, ask, amounts);
  return {
    slice,
    dayBytes,
    credit,
    record: {
      slices: { ...Object.fromEntries(others), [ask.holder]: slice },
      day: { day: ask.day, taken: taken + dayBytes },
      unspent,
    },
  };
}

type Others = readonly (readonly [string, Slice])[];

function liveOthers({ slices }: Allotment, { holder, now }: Ask, { skewMs }: LeaseTimes): Others {
  return Object.entries(slices).filter(([name, { until }]) => name !== holder && until + skewMs >= now);
}

function fairOf(total: number, pool: Pool, ask: Ask, others: Others): number {
  const uses = ask.uses[pool] ?? 0;
  const claims = others.map(([holder, slice]) => claimOf(holder, pool, slice));
  return Math.max(uses, entitled(total, ask.holder, [...claims, claimOf(ask.holder, pool, ask)]));
}

function claimOf(
  holder: string,
  pool: Pool,
  { uses, needs, wants }: Pick<Slice, 'uses' | 'needs' | 'wants'>,
): Claim {
  const want = wants[pool] ?? 0;
  return { holder, uses: uses?.[pool] ?? 0, needs: needs?.[pool] ?? want, wants: want };
}

/**
 * A burst is earned once, whichever nodes have the shares: who gives up a share leaves what it had not used of the burst
 * to who takes the share. The burst of a tenant that nobody held anything of is whole.
 */
function bursts(before: Allotment, ask: Ask, amounts: Amounts): { unspent: Amounts; credit: Amounts } {
  const fresh = before.unspent === undefined && Object.keys(before.slices).length === 0;
  const unspent: Partial<Record<Pool, number>> = {};
  const credit: Partial<Record<Pool, number>> = {};
  for (const pool of POOLS) {
    const burst = ask.bursts[pool];
    if (burst === undefined) continue;
    const share = burstOf(burst, amounts[pool] ?? 0, ask.totals[pool] ?? 0);
    const free = ask.free[pool] ?? 0;
    const known = fresh ? burst : Math.min(burst, before.unspent?.[pool] ?? 0);
    const taken = Math.max(0, Math.min(known, share - free));
    if (taken > 0) credit[pool] = taken;
    unspent[pool] = Math.min(burst, known - taken + Math.max(0, free - share));
  }
  return { unspent, credit };
}

/** The part of a burst that goes with a part of the rate. */
export function burstOf(burst: number, amount: number, total: number): number {
  return amount === 0 ? 0 : Math.max(1, Math.floor((burst * amount) / total));
}

/** The record without the node's slice, and with what it has not used of today's bytes and of bursts. */
export function giveBack(
  before: Allotment,
  holder: string,
  day: number,
  dayBytes: number,
  free: Amounts = {},
): Allotment {
  const { [holder]: _mine, ...slices } = before.slices;
  const { day: recorded, taken } = before.day;
  const unspent = Object.fromEntries(
    POOLS.map((pool) => [pool, (before.unspent?.[pool] ?? 0) + (free[pool] ?? 0)]),
  );
  return {
    slices,
    day: recorded === day ? { day, taken: Math.max(0, taken - dayBytes) } : before.day,
    unspent,
  };
}

/** Connections of the tenant on the other nodes, as they last wrote. */
export function usedElsewhere(
  record: Allotment,
  holder: string,
  now: number,
  { skewMs }: LeaseTimes,
): number {
  let used = 0;
  for (const [name, { uses, amounts, until }] of Object.entries(record.slices))
    if (name !== holder && until + skewMs >= now) used += uses?.connections ?? amounts.connections ?? 0;
  return used;
}

/** Whether another node has less than it needs now. */
export function isShort(record: Allotment, holder: string): boolean {
  return Object.entries(record.slices).some(([name, { amounts, needs, dayMissing = 0 }]) => {
    if (name === holder) return false;
    return dayMissing > 0 || POOLS.some((pool) => (needs?.[pool] ?? 0) > (amounts[pool] ?? 0));
  });
}

/** Bytes of today that the other nodes miss, or could give back. */
export function dayOfOthers(
  record: Allotment,
  kind: 'dayMissing' | 'dayUnused',
  holder: string,
  now: number,
  { skewMs }: LeaseTimes,
): number {
  let bytes = 0;
  for (const [name, slice] of Object.entries(record.slices))
    if (name !== holder && slice.until + skewMs >= now) bytes += slice[kind] ?? 0;
  return bytes;
}

/** Whether the holder should write soon although its lease is good: others want what it holds beyond its share. */
export function owes(record: Allotment, ask: Ask, times: LeaseTimes): boolean {
  const mine = record.slices[ask.holder];
  if (mine === undefined) return true;
  const others = liveOthers(record, ask, times);
  return POOLS.some((pool) => {
    const total = ask.totals[pool];
    return total !== undefined && (mine.amounts[pool] ?? 0) > fairOf(total, pool, ask, others);
  });
}
