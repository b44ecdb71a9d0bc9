import type { Store, Stored } from '../cluster.ts';
import type { Clock, Log } from '../ports.ts';
import {
  type Allotment,
  type Amounts,
  type Ask,
  advanceOf,
  allot,
  EMPTY,
  giveBack,
  Holding,
  type LeaseTimes,
  owes,
  POOLS,
  type Pool,
  type Slice,
} from './allotment.ts';
import { DAY_MS, type Share, type Tenant } from './tenant.ts';
import type { Tenants } from './tenants.ts';

export interface LeasesParts {
  /** One entry per tenant that has limits and clients. */
  readonly store: Store;
  /** This node and its incarnation. */
  readonly holder: string;
  readonly tenants: Tenants;
  readonly times: LeaseTimes;
  readonly clock: Clock;
  readonly log: Log;
}

/** Demand is looked at so often, and when something was refused sooner. */
const SAMPLE_MS = 1000;
const SAMPLE_SHORT_MS = 200;
/** What is worth a write before the lease asks for one: so much more to be had, or to be wanted. */
const WORTH = 1.05;

/** What this node holds of one tenant. */
class Lease {
  readonly holding = new Holding();
  renewAt = 0;
  sampledAt: number;
  /** Units per second asked for, refused ones included. */
  demand: Record<Exclude<Pool, 'connections'>, number> = { publish: 0, publishBytes: 0, deliveries: 0 };
  day = 0;
  /** Bytes of that day taken for this node. */
  dayBytes = 0;
  dayAsked = 0;
  /** Of the whole tenant, by the last record seen. */
  dayTaken = 0;

  constructor(now: number) {
    this.sampledAt = now;
  }
}

/**
 * Borrows slices of tenants' limits for this node, as much as its clients need, and gives them back. No message waits
 * for it: it runs beside them, some times a second. allotment.ts has the rules, and what they promise.
 */
export class Leases {
  readonly #parts: LeasesParts;
  readonly #leases = new Map<string, Lease>();
  readonly #writes = new Set<Promise<void>>();

  constructor(parts: LeasesParts) {
    this.#parts = parts;
    parts.tenants.leaseFrom((name, whole) => this.#shareOf(name, whole));
  }

  /** To be called some times a second. */
  tick(): void {
    const now = this.#parts.clock.now();
    for (const tenant of this.#parts.tenants.all()) {
      const whole = this.#parts.tenants.wholeOf(tenant.name);
      if (isLimited(whole)) this.#look(tenant, whole, now);
    }
    for (const name of this.#leases.keys()) if (!this.#wanted(name)) this.#release(name);
  }

  /** Gives everything back, as far as it can be written now. */
  async close(): Promise<void> {
    for (const name of [...this.#leases.keys()]) this.#release(name);
    await Promise.all(this.#writes);
  }

  #wanted(name: string): boolean {
    return this.#parts.tenants.known(name) !== undefined && isLimited(this.#parts.tenants.wholeOf(name));
  }

  #look(tenant: Tenant, whole: Share, now: number): void {
    let lease = this.#leases.get(tenant.name);
    if (lease === undefined) {
      lease = new Lease(now);
      this.#leases.set(tenant.name, lease);
    }
    sample(lease, tenant, now);
    if (!lease.holding.writing) this.#renew(tenant, lease, whole, now);
    this.#parts.tenants.reconsider(tenant.name);
  }

  #renew(tenant: Tenant, lease: Lease, whole: Share, now: number): void {
    const { store, times, holder } = this.#parts;
    const entry = store.get(tenant.name);
    const record = readAllotment(entry?.value);
    const ask = askOf(holder, tenant, lease, whole, now);
    lease.dayTaken = record.day.day === ask.day ? record.day.taken : 0;
    const granted = allot(record, ask, times);
    const due =
      now >= lease.renewAt ||
      granted.dayBytes > 0 ||
      owes(record, ask, times) ||
      isWorth(granted.slice, record.slices[holder]);
    tenant.short = false;
    if (!due || !store.ready) return;
    lease.dayAsked = granted.dayBytes;
    lease.holding.asks(granted.slice);
    lease.renewAt = now + times.leaseMs / 3;
    const ttlMs = times.leaseMs + times.skewMs + (whole.bytesPerDay > 0 ? DAY_MS : 0);
    const put = store.put(tenant.name, granted.record, { revision: entry?.revision ?? 0, ttlMs });
    this.#track(put.then((stored) => this.#settled(tenant.name, lease, ask.day, stored)));
  }

  #settled(name: string, lease: Lease, day: number, stored: Stored): void {
    const unknown = !stored.ok && stored.why === 'unavailable';
    lease.holding.outcome(stored.ok ? 'stored' : unknown ? 'unknown' : 'refused');
    if (stored.ok && lease.day === day) lease.dayBytes += lease.dayAsked;
    // Somebody was faster: their change is on its way here.
    else if (!stored.ok) lease.renewAt = 0;
    this.#parts.tenants.reconsider(name);
  }

  #release(name: string): void {
    const lease = this.#leases.get(name);
    if (lease === undefined || lease.holding.writing) return;
    this.#leases.delete(name);
    const { store, tenants, holder, clock } = this.#parts;
    const entry = store.get(name);
    if (entry === undefined) return;
    const used = tenants.known(name)?.dayBytes(clock.now()) ?? 0;
    const record = giveBack(
      readAllotment(entry.value),
      holder,
      lease.day,
      Math.max(0, lease.dayBytes - used),
    );
    const empty = Object.keys(record.slices).length === 0 && record.day.taken === 0;
    const over = { revision: entry.revision };
    const written = empty
      ? store.delete(name, over)
      : store.put(name, record, { ...over, ttlMs: DAY_MS + this.#parts.times.leaseMs });
    // Not written, it is free when the lease is over.
    this.#track(written.then(() => undefined));
  }

  #track(write: Promise<void>): void {
    const tracked = write
      .catch((error: unknown) => this.#parts.log.error({ err: error }, 'a lease could not be written'))
      .finally(() => this.#writes.delete(tracked));
    this.#writes.add(tracked);
  }

  #shareOf(name: string, whole: Share): Share {
    const lease = this.#leases.get(name);
    const now = this.#parts.clock.now();
    const part = (pool: Pool, total: number) =>
      total === 0 ? 0 : (lease?.holding.usable(pool, total, now) ?? advanceOf(total));
    const rate = (pool: Pool, { perSecond, burst }: Share['publish']) => {
      const mine = part(pool, perSecond);
      return { perSecond: mine, burst: mine === 0 ? 0 : Math.max(1, Math.floor((burst * mine) / perSecond)) };
    };
    const { bytesPerDay } = whole;
    const today = lease !== undefined && lease.day === dayOf(now) ? lease.dayBytes : 0;
    return {
      connections: part('connections', whole.connections),
      publish: rate('publish', whole.publish),
      publishBytes: rate('publishBytes', whole.publishBytes),
      deliveries: rate('deliveries', whole.deliveries),
      ephemeral: whole.ephemeral,
      bytesPerDay: bytesPerDay === 0 ? 0 : Math.max(advanceOf(bytesPerDay), today),
      moreToday: bytesPerDay > 0 && (lease?.dayTaken ?? 0) < bytesPerDay,
    };
  }
}

function dayOf(now: number): number {
  return Math.floor(now / DAY_MS);
}

function isLimited(whole: Share): boolean {
  const { connections, publish, publishBytes, deliveries, bytesPerDay } = whole;
  return connections + publish.perSecond + publishBytes.perSecond + deliveries.perSecond + bytesPerDay > 0;
}

function sample(lease: Lease, tenant: Tenant, now: number): void {
  const elapsed = now - lease.sampledAt;
  if (elapsed < (tenant.short ? SAMPLE_SHORT_MS : SAMPLE_MS)) return;
  lease.sampledAt = now;
  const asked = tenant.takeDemand();
  // Falls slowly, rises at once: what is given back too soon has to be borrowed again.
  for (const pool of ['publish', 'publishBytes', 'deliveries'] as const)
    lease.demand[pool] = Math.max((asked[pool] * 1000) / elapsed, lease.demand[pool] / 2);
}

function askOf(holder: string, tenant: Tenant, lease: Lease, whole: Share, now: number): Ask {
  const totals = totalsOf(whole);
  const day = dayOf(now);
  if (lease.day !== day) {
    lease.day = day;
    lease.dayBytes = 0;
  }
  return {
    holder,
    totals,
    wants: wantsOf(totals, tenant, lease),
    uses: { connections: tenant.connections },
    dayBytes: dayWanted(tenant, lease, whole.bytesPerDay, now),
    dayTotal: whole.bytesPerDay,
    day,
    now,
  };
}

function isWorth(next: Slice, held: Slice | undefined): boolean {
  return POOLS.some((pool) => {
    const more = (kind: 'amounts' | 'wants') => (next[kind][pool] ?? 0) > (held?.[kind][pool] ?? 0) * WORTH;
    return more('amounts') || more('wants');
  });
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

/** A quarter more than was asked for, twice as much where that was not enough. */
function wantsOf(totals: Amounts, tenant: Tenant, lease: Lease): Amounts {
  const grows = tenant.short ? 2 : 1.25;
  const wants: Partial<Record<Pool, number>> = {};
  for (const pool of POOLS) {
    const total = totals[pool];
    if (total === undefined) continue;
    const asked = pool === 'connections' ? tenant.connections : lease.demand[pool];
    wants[pool] = Math.max(advanceOf(total), Math.ceil(asked * grows));
  }
  return wants;
}

/** The next piece of the day's bytes, when half of the last is used: what a lease's time needs, 1 % at least. */
function dayWanted(tenant: Tenant, lease: Lease, total: number, now: number): number {
  if (total === 0 || lease.dayTaken >= total) return 0;
  const piece = Math.max(advanceOf(total), Math.ceil(lease.demand.publishBytes * 5));
  return lease.dayBytes - tenant.dayBytes(now) < piece / 2 ? piece : 0;
}

/** As the nodes write it; what anything else has put there counts as nothing, and is written over. */
function readAllotment(value: unknown): Allotment {
  const record = value as Partial<Allotment> | undefined;
  const sound = typeof record?.slices === 'object' && typeof record.day?.taken === 'number';
  return sound ? (record as Allotment) : EMPTY;
}
