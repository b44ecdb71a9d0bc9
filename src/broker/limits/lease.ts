/** One node's side of the record of a tenant: what it may use, and what it asks for. */
import type { Clock } from '../ports.ts';
import {
  type Amounts,
  type Ask,
  advanceOf,
  burstOf,
  type Granted,
  POOLS,
  type Pool,
  type Slice,
} from './allotment.ts';
import type { PlaceQueue } from './place-queue.ts';
import { DAY_MS, RATES, type Share, type Tenant } from './tenant.ts';

/** Demand is looked at so often, and when something was refused sooner. */
const SAMPLE_MS = 1000;
const SAMPLE_SHORT_MS = 200;
/** What was asked for in less time than this says little of a rate. */
const SAMPLE_LEAST_MS = 100;
/** Of the day's bytes that nobody has taken, each node takes one part in so many at first, and when half is used. */
const DAY_PARTS = 4;
/**
 * After a handshake has waited in vain, no other waits for so long; a place that becomes free elsewhere is wanted here
 * meanwhile, since clients come back.
 */
const FULL_MS = 2000;

/**
 * What one node may use, whatever becomes of its writes. A slice that shrinks is given up before the write,
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

/** What an ask depends on beside the tenant. */
export interface Outlook {
  readonly holder: string;
  readonly whole: Share;
  readonly nodes: number;
  /** Bytes of today that other nodes miss. */
  readonly missedElsewhere: number;
  readonly now: number;
}

/** What this node holds of one tenant, and has use for. */
export class Lease {
  readonly holding = new Holding();
  readonly queue: PlaceQueue;
  renewAt = 0;
  /** When it was looked at for the last time, and whether it is to be again, soon. */
  lookedAt = 0;
  soon = false;
  /** Another node has written while a write of this one was under way. */
  overtaken = false;
  /** Units per second asked for, refused ones included. */
  readonly demand: Record<(typeof RATES)[number], number> = { publish: 0, publishBytes: 0, deliveries: 0 };
  day = 0;
  /** Bytes of that day taken for this node. */
  dayBytes = 0;
  dayAsked = 0;
  /** Of the last piece that was taken or would have been. */
  dayPiece = 0;
  /** Of the whole tenant, by the last record seen. */
  dayTaken = 0;
  /** What other nodes have taken and not used. */
  dayUnused = 0;
  /** What the write under way gives up of bursts, and gets. */
  gives: Amounts = {};
  credit: Amounts = {};
  #sampledAt: number;
  #fullUntil = Number.NEGATIVE_INFINITY;

  constructor(now: number, queue: PlaceQueue) {
    this.#sampledAt = now;
    this.queue = queue;
  }

  /**
   * Whether it is worth to wait for a place. Where a handshake has waited in vain, the others know what is needed here,
   * and the share grows as soon as they can give up something: until then who comes need not wait.
   */
  mayWait(now: number): boolean {
    return now >= this.#fullUntil;
  }

  /** A handshake has waited in vain. */
  waitedInVain(now: number): void {
    this.#fullUntil = now + FULL_MS;
  }

  /** A write is under way. */
  asks({ slice, dayBytes, credit }: Granted, renewAt: number): void {
    this.holding.asks(slice);
    this.credit = credit;
    this.overtaken = false;
    this.renewAt = renewAt;
    this.dayAsked = dayBytes;
    // What is given back is not used from here on.
    if (dayBytes < 0) this.dayBytes += dayBytes;
  }

  /** What became of the write. Given back and nobody knows whether it was stored, the bytes are lost. */
  answered(what: 'stored' | 'refused' | 'unknown', day: number): void {
    this.holding.outcome(what);
    if (what !== 'stored') this.renewAt = 0;
    if (this.day !== day) return;
    if (what === 'stored') this.dayBytes += Math.max(0, this.dayAsked);
    if (what === 'refused') this.dayBytes -= Math.min(0, this.dayAsked);
  }

  /** The share has grown. */
  grown(): void {
    this.#fullUntil = Number.NEGATIVE_INFINITY;
  }

  sample(tenant: Tenant, now: number): void {
    const elapsed = Math.max(0, now - this.#sampledAt);
    const whole = elapsed >= (tenant.short ? SAMPLE_SHORT_MS : SAMPLE_MS);
    if (!whole && !tenant.short) return;
    if (whole) this.#sampledAt = now;
    const asked = whole ? tenant.takeDemand() : tenant.demand;
    // Falls slowly, rises at once: what is given back too soon has to be borrowed again.
    for (const pool of RATES) {
      const rate = (asked[pool] * 1000) / Math.max(elapsed, SAMPLE_LEAST_MS);
      this.demand[pool] = Math.max(rate, whole ? this.demand[pool] / 2 : this.demand[pool]);
    }
  }

  ask(tenant: Tenant, { holder, whole, nodes, missedElsewhere, now }: Outlook): Ask {
    const day = dayOf(now);
    if (this.day !== day) {
      this.day = day;
      this.dayBytes = 0;
    }
    const totals = totalsOf(whole);
    const needs = this.#needs(totals, tenant, now);
    const unused = Math.max(0, this.dayBytes - tenant.dayBytes(now));
    return {
      holder,
      totals,
      needs,
      wants: wantsOf(totals, needs, tenant.short),
      uses: totals.connections === undefined ? {} : { connections: tenant.connections },
      bursts: burstsOf(whole),
      free: tenant.free(now),
      dayBytes:
        this.#dayWanted(tenant, whole.bytesPerDay, nodes, unused) || -this.#daySpare(unused, missedElsewhere),
      dayMissing: tenant.dayMissing,
      dayUnused: unused,
      dayTotal: whole.bytesPerDay,
      day,
      now,
    };
  }

  #needs(totals: Amounts, tenant: Tenant, now: number): Amounts {
    const waiting = Math.max(this.queue.size, now < this.#fullUntil ? 1 : 0);
    const needs: Partial<Record<Pool, number>> = {};
    for (const pool of POOLS) {
      const total = totals[pool];
      if (total === undefined) continue;
      const asked = pool === 'connections' ? tenant.connections + waiting : Math.ceil(this.demand[pool]);
      needs[pool] = Math.min(asked, total);
    }
    return needs;
  }

  /** The next piece of the day's bytes, when half of the last is used, or something did not fit. */
  #dayWanted(tenant: Tenant, total: number, nodes: number, unused: number): number {
    if (total === 0 || this.dayTaken >= total) return 0;
    const equal = Math.ceil((total - this.dayTaken) / nodes);
    const part = Math.ceil(equal / DAY_PARTS);
    this.dayPiece = Math.max(advanceOf(total), part, Math.min(equal, this.#daySoon()));
    if (tenant.dayMissing > 0) return Math.max(this.dayPiece, 2 * tenant.dayMissing);
    return unused < this.dayPiece / 2 ? this.dayPiece : 0;
  }

  /** Where another node misses some of the day's bytes: what is not needed here within some seconds, or else half. */
  #daySpare(unused: number, missedElsewhere: number): number {
    return missedElsewhere === 0 ? 0 : Math.max(0, Math.floor(unused / 2), unused - this.#daySoon());
  }

  #daySoon(): number {
    return Math.ceil(this.demand.publishBytes * 5);
  }
}

export function dayOf(now: number): number {
  return Math.floor(now / DAY_MS);
}

export function isLimited(whole: Share): boolean {
  const { connections, publish, publishBytes, deliveries, bytesPerDay } = whole;
  return connections + publish.perSecond + publishBytes.perSecond + deliveries.perSecond + bytesPerDay > 0;
}

/** What of the whole a node may give out with this lease; without one, the advance. */
export function shareOfLease(lease: Lease | undefined, whole: Share, elsewhere: number, clock: Clock): Share {
  const now = clock.now();
  const part = (pool: Pool, total: number) =>
    total === 0 ? 0 : (lease?.holding.usable(pool, total, now) ?? advanceOf(total));
  const rate = (pool: Pool, { perSecond, burst }: Share['publish']) => {
    const mine = part(pool, perSecond);
    return { perSecond: mine, burst: burstOf(burst, mine, perSecond) };
  };
  const { bytesPerDay } = whole;
  const today = lease !== undefined && lease.day === dayOf(now) ? lease.dayBytes : 0;
  return {
    connections: part('connections', whole.connections),
    elsewhere,
    publish: rate('publish', whole.publish),
    publishBytes: rate('publishBytes', whole.publishBytes),
    deliveries: rate('deliveries', whole.deliveries),
    ephemeral: whole.ephemeral,
    bytesPerDay: bytesPerDay === 0 ? 0 : Math.max(advanceOf(bytesPerDay), today),
    moreToday: bytesPerDay > 0 && (lease === undefined || lease.dayTaken - lease.dayUnused < bytesPerDay),
    dayElsewhere: Math.max(0, (lease?.dayTaken ?? 0) - today),
    dayAskAt: dayAskAt(lease, bytesPerDay, today),
  };
}

function dayAskAt(lease: Lease | undefined, total: number, today: number): number {
  if (lease === undefined || lease.dayTaken >= total) return Number.POSITIVE_INFINITY;
  return today - lease.dayPiece / 2;
}

function totalsOf({ connections, publish, publishBytes, deliveries }: Share): Amounts {
  const all = {
    connections,
    publish: publish.perSecond,
    publishBytes: publishBytes.perSecond,
    deliveries: deliveries.perSecond,
  };
  return Object.fromEntries(Object.entries(all).filter(([, total]) => total > 0));
}

function burstsOf(whole: Share): Amounts {
  const limited = RATES.filter((pool) => whole[pool].perSecond > 0);
  return Object.fromEntries(limited.map((pool) => [pool, whole[pool].burst]));
}

/** A quarter more than is needed, twice as much where that was not enough. */
function wantsOf(totals: Amounts, needs: Amounts, short: boolean): Amounts {
  const wants: Partial<Record<Pool, number>> = {};
  for (const pool of POOLS) {
    const total = totals[pool];
    if (total === undefined) continue;
    wants[pool] = Math.max(advanceOf(total), Math.ceil((needs[pool] ?? 0) * (short ? 2 : 1.25)));
  }
  return wants;
}
