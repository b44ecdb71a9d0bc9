import type { Cancel, Store, StoreChange, Stored } from '../cluster.ts';
import type { After, Clock, Log } from '../ports.ts';
import {
  type Allotment,
  type Amounts,
  type Ask,
  allot,
  dayOfOthers,
  EMPTY,
  type Granted,
  giveBack,
  isShort,
  type LeaseTimes,
  owes,
  POOLS,
  type Slice,
  usedElsewhere,
} from './allotment.ts';
import { dayOf, isLimited, Lease, shareOfLease } from './lease.ts';
import { PlaceQueue, type PlaceWait } from './place-queue.ts';
import { DAY_MS, RATES, type Share, type Tenant } from './tenant.ts';
import type { ShareSource, Tenants } from './tenants.ts';

export interface LeasesParts {
  /** One entry per tenant that has limits and clients. */
  readonly store: Store;
  /** This node and its incarnation. */
  readonly holder: string;
  readonly tenants: Tenants;
  readonly times: LeaseTimes;
  /** Handshakes of one tenant that may wait for places. */
  readonly waiting: number;
  /** Whether the other nodes can be reached. */
  readonly connected: () => boolean;
  /** How many nodes there are. */
  readonly nodes: () => number;
  readonly clock: Clock;
  readonly after: After;
  readonly log: Log;
}

/** What is worth a write before the lease asks for one: so much more to be had, or to be wanted. */
const WORTH = 1.05;
/** A tenant's record is looked at no more often than this, however often something of it is refused. */
const SPACING_MS = 10;

/**
 * Borrows slices of tenants' limits for this node, as much as its clients need, and gives them back. It asks for more as
 * soon as something does not fit. No message waits for that; a handshake does (PlaceQueue). allotment.ts has the rules,
 * and what they promise.
 */
export class Leases implements ShareSource {
  readonly #parts: LeasesParts;
  readonly #leases = new Map<string, Lease>();
  readonly #writes = new Set<Promise<void>>();
  readonly #watching: Cancel;

  constructor(parts: LeasesParts) {
    this.#parts = parts;
    parts.tenants.leaseFrom(this);
    this.#watching = parts.store.watch((change) => this.#changed(change));
  }

  /** To be called some times a second. */
  tick(): void {
    for (const tenant of this.#parts.tenants.all()) this.#look(tenant);
    for (const name of this.#leases.keys()) if (!this.#wanted(name)) this.#release(name);
  }

  /** Gives everything back, as far as it can be written now. */
  async close(): Promise<void> {
    this.#watching();
    for (const name of [...this.#leases.keys()]) this.#release(name);
    await Promise.all(this.#writes);
  }

  shareOf(name: string, whole: Share): Share {
    const { store, holder, times, clock } = this.#parts;
    const elsewhere =
      whole.connections === 0
        ? 0
        : usedElsewhere(readAllotment(store.get(name)?.value), holder, clock.now(), times);
    return shareOfLease(this.#leases.get(name), whole, elsewhere, clock);
  }

  /** Now, or as soon as the last look is long enough ago; while a write is under way, after it. */
  look(tenant: Tenant): void {
    const lease = this.#leases.get(tenant.name);
    if (lease === undefined) return this.#look(tenant);
    if (lease.soon || lease.holding.writing) return;
    const wait = Math.min(SPACING_MS, lease.lookedAt + SPACING_MS - this.#parts.clock.now());
    if (wait <= 0) return this.#look(tenant);
    lease.soon = true;
    this.#parts.after(wait, () => {
      lease.soon = false;
      if (this.#leases.get(tenant.name) === lease) this.#look(tenant);
    });
  }

  awaitPlace(tenant: Tenant, ms: number): PlaceWait | undefined {
    const { store, connected, clock, after } = this.#parts;
    const lease = this.#leases.get(tenant.name);
    if (lease === undefined || ms <= 0 || !store.ready || !connected()) return undefined;
    const now = clock.now();
    const whole = tenant.share.connections >= tenant.policy.connections;
    const wait = !whole && lease.mayWait(now) ? lease.queue.add(now + ms) : undefined;
    if (wait !== undefined)
      after(ms, () => {
        if (lease.queue.expire(now + ms)) lease.waitedInVain(clock.now());
      });
    tenant.ranShort();
    return wait;
  }

  #wanted(name: string): boolean {
    return this.#parts.tenants.known(name) !== undefined && isLimited(this.#parts.tenants.wholeOf(name));
  }

  /** Waits for the next tick, unless somebody has less than it needs, or is new and has next to nothing. */
  #changed({ key: name, entry, before }: StoreChange): void {
    const lease = this.#leases.get(name);
    const tenant = this.#parts.tenants.known(name);
    if (lease === undefined || tenant === undefined) return;
    if (lease.holding.writing) {
      lease.overtaken = true;
      return;
    }
    const record = readAllotment(entry?.value);
    const holders = ({ slices }: Allotment) => Object.keys(slices).length;
    const urgent =
      lease.queue.size > 0 ||
      tenant.short ||
      isShort(record, this.#parts.holder) ||
      holders(record) > holders(readAllotment(before?.value));
    if (urgent) this.look(tenant);
  }

  #look(tenant: Tenant): void {
    const { tenants, clock, waiting } = this.#parts;
    const whole = tenants.wholeOf(tenant.name);
    if (!isLimited(whole)) return;
    const now = clock.now();
    let lease = this.#leases.get(tenant.name);
    if (lease === undefined) {
      lease = new Lease(now, new PlaceQueue(waiting));
      this.#leases.set(tenant.name, lease);
    }
    lease.lookedAt = now;
    if (!lease.holding.writing) {
      lease.sample(tenant, now);
      this.#renew(tenant, lease, whole, now);
    }
    this.#adopt(tenant.name, lease);
  }

  #renew(tenant: Tenant, lease: Lease, whole: Share, now: number): void {
    const { store, times, holder, nodes } = this.#parts;
    const entry = store.get(tenant.name);
    const record = readAllotment(entry?.value);
    const today = record.day.day === dayOf(now);
    const others = (kind: 'dayMissing' | 'dayUnused') =>
      today ? dayOfOthers(record, kind, holder, now, times) : 0;
    lease.dayTaken = today ? record.day.taken : 0;
    lease.dayUnused = others('dayUnused');
    const missedElsewhere = others('dayMissing');
    const ask = lease.ask(tenant, { holder, whole, nodes: Math.max(1, nodes()), missedElsewhere, now });
    const granted = allot(record, ask, times);
    const due =
      now >= lease.renewAt ||
      granted.dayBytes !== 0 ||
      owes(record, ask, times) ||
      isWorth(granted.slice, record.slices[holder], lease.dayUnused > 0);
    tenant.served();
    if (due && store.ready) this.#write(tenant, lease, ask, granted, whole);
  }

  #write(tenant: Tenant, lease: Lease, ask: Ask, granted: Granted, whole: Share): void {
    const { store, times, tenants } = this.#parts;
    const { name } = tenant;
    lease.asks(granted, ask.now + times.leaseMs / 3);
    // What is given up is not used from here on: others may see the write before this node knows of it.
    tenants.reconsider(name);
    lease.gives = lost(ask.free, tenant.free(ask.now));
    const ttlMs = times.leaseMs + times.skewMs + (whole.bytesPerDay > 0 ? DAY_MS : earnedIn(whole));
    const put = store.put(name, granted.record, { revision: store.get(name)?.revision ?? 0, ttlMs });
    this.#track(put.then((stored) => this.#settled(name, lease, ask.day, stored)));
  }

  #settled(name: string, lease: Lease, day: number, stored: Stored): void {
    const outcome = outcomeOf(stored);
    lease.answered(outcome, day);
    this.#adopt(name, lease);
    const tenant = this.#parts.tenants.known(name);
    if (tenant === undefined || this.#leases.get(name) !== lease) return;
    if (outcome === 'stored') tenant.credit(lease.credit);
    if (outcome === 'refused') tenant.credit(lease.gives);
    if (isOld(stored) || (stored.ok && (lease.overtaken || tenant.short))) this.look(tenant);
  }

  /** The share as it is now; who waits for a place gets what is free of it. */
  #adopt(name: string, lease: Lease): void {
    const { tenants } = this.#parts;
    const tenant = tenants.known(name);
    if (tenant === undefined) return;
    const before = tenant.share.connections;
    tenants.reconsider(name);
    const { connections } = tenant.share;
    if (connections > before) lease.grown();
    lease.queue.release(connections - tenant.connections);
  }

  #release(name: string): void {
    const lease = this.#leases.get(name);
    if (lease === undefined || lease.holding.writing) return;
    this.#leases.delete(name);
    const { store, tenants, holder, clock, times } = this.#parts;
    const entry = store.get(name);
    if (entry === undefined) return;
    const tenant = tenants.known(name);
    const used = tenant?.dayBytes(clock.now()) ?? 0;
    const dayBytes = Math.max(0, lease.dayBytes - used);
    const free = tenant?.free(clock.now());
    const record = giveBack(readAllotment(entry.value), holder, lease.day, dayBytes, free);
    // Forgotten by this node, the tenant had used nothing of its bursts for as long as they take to be earned.
    const empty = tenant === undefined && Object.keys(record.slices).length === 0 && record.day.taken === 0;
    const over = { revision: entry.revision };
    const written = empty
      ? store.delete(name, over)
      : store.put(name, record, { ...over, ttlMs: DAY_MS + times.leaseMs });
    // Not written, it is free when the lease is over.
    this.#track(written.then(() => undefined));
  }

  #track(write: Promise<void>): void {
    const tracked = write
      .catch((error: unknown) => this.#parts.log.error({ err: error }, 'a lease could not be written'))
      .finally(() => this.#writes.delete(tracked));
    this.#writes.add(tracked);
  }
}

function outcomeOf(stored: Stored): 'stored' | 'refused' | 'unknown' {
  if (stored.ok) return 'stored';
  return stored.why === 'unavailable' ? 'unknown' : 'refused';
}

/** Somebody was faster. For other reasons, such as that NATS is away, the next tick is soon enough. */
function isOld(stored: Stored): boolean {
  return !stored.ok && stored.why === 'conflict';
}

/** @param dayMore other nodes could give back bytes of today */
function isWorth(next: Slice, held: Slice | undefined, dayMore: boolean): boolean {
  if (dayMore && (next.dayMissing ?? 0) > (held?.dayMissing ?? 0)) return true;
  return POOLS.some((pool) => {
    const more = (kind: 'amounts' | 'wants') => (next[kind][pool] ?? 0) > (held?.[kind][pool] ?? 0) * WORTH;
    return more('amounts') || more('wants') || isMissed(pool, next, held);
  });
}

/** Needed and not had, and to be had; or the other nodes do not know of it. */
function isMissed(pool: (typeof POOLS)[number], next: Slice, held: Slice | undefined): boolean {
  const needs = next.needs?.[pool] ?? 0;
  const before = held?.amounts[pool] ?? 0;
  const after = next.amounts[pool] ?? 0;
  if (needs > before && after > before) return true;
  if (needs <= after) return false;
  const known = held?.needs?.[pool] ?? 0;
  return known <= before || needs > known * (pool === 'connections' ? 1 : WORTH);
}

function lost(before: Amounts, after: Amounts): Amounts {
  return Object.fromEntries(RATES.map((pool) => [pool, (before[pool] ?? 0) - (after[pool] ?? 0)]));
}

/** How long the slowest burst takes to be earned: until then the record must be kept, or it would be had twice. */
function earnedIn(whole: Share): number {
  const times = RATES.map((pool) => whole[pool])
    .filter(({ perSecond }) => perSecond > 0)
    .map(({ perSecond, burst }) => (burst / perSecond) * 1000);
  return Math.min(DAY_MS, Math.ceil(Math.max(0, ...times)));
}

/** As the nodes write it; what anything else has put there counts as nothing, and is written over. */
function readAllotment(value: unknown): Allotment {
  const record = value as Partial<Allotment> | undefined;
  const sound = typeof record?.slices === 'object' && typeof record.day?.taken === 'number';
  return sound ? (record as Allotment) : EMPTY;
}
