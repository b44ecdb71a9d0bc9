import { Ledger } from '../ledger.ts';
import type { Clock } from '../ports.ts';
import { RoundRobin } from '../round-robin.ts';
import type { PlaceWait } from './place-queue.ts';
import type { Policies } from './policy.ts';
import { DAY_MS, type Share, shareOf, Tenant } from './tenant.ts';

/** Tenants looked at per tick, to forget those that nothing is known of any more. */
const SWEEP = 1000;

/** Shares tenants' limits out among nodes. */
export interface ShareSource {
  /** What of the whole is this node's. */
  shareOf(name: string, whole: Share): Share;
  /** The tenant is new here, or something of it was refused: its share is looked at now. */
  look(tenant: Tenant): void;
  awaitPlace(tenant: Tenant, ms: number): PlaceWait | undefined;
}

/** By tenant, the payload bytes published on a day since 1970. */
export interface DayBytes {
  readonly day: number;
  readonly bytes: ReadonlyMap<string, number>;
}

const NO_DAY: DayBytes = { day: 0, bytes: new Map() };

/** The tenants that something is known of on this node. */
export class Tenants {
  readonly policies: Policies;
  readonly ledger = new Ledger();
  readonly #rates: boolean;
  readonly #clock: Clock;
  #leases: ShareSource | undefined;
  readonly #byName = new Map<string, Tenant>();
  /** By tenant, what earlier runs of this node took of a day. */
  #before = NO_DAY;
  readonly #round = new RoundRobin<Tenant>();

  /** @param rates false: rates and quotas over time are off, counts hold. */
  constructor(policies: Policies, rates: boolean, clock: Clock) {
    this.policies = policies;
    this.#rates = rates;
    this.#clock = clock;
    policies.watch((name) => this.reconsider(name));
  }

  /** Where several nodes share a tenant's limits. */
  leaseFrom(leases: ShareSource): void {
    this.#leases = leases;
  }

  /** A handshake found no place: it may wait until this node has more of the tenant's. undefined: that is no use. */
  awaitPlace(name: string, ms: number): PlaceWait | undefined {
    const tenant = this.#byName.get(name);
    return tenant && this.#leases?.awaitPlace(tenant, ms);
  }

  all(): Iterable<Tenant> {
    return this.#byName.values();
  }

  /** What the tenant may have in all. */
  wholeOf(name: string): Share {
    return shareOf(this.policies.of(name), this.#rates);
  }

  /** The policy or the share has changed. */
  reconsider(name: string): void {
    this.#byName.get(name)?.adopt(this.policies.of(name), this.#shareOf(name), this.#clock.now());
  }

  of(name: string): Tenant {
    let tenant = this.#byName.get(name);
    if (tenant === undefined) {
      tenant = this.#made(name);
      this.#byName.set(name, tenant);
      this.#round.add(tenant);
      this.#resumeDay(tenant);
      this.#leases?.look(tenant);
    }
    return tenant;
  }

  known(name: string): Tenant | undefined {
    return this.#byName.get(name);
  }

  get size(): number {
    return this.#byName.size;
  }

  /** Before the first client comes: the bytes of this day that count against bytesPerDay already. */
  resumeDay(before: DayBytes): void {
    this.#before = before;
  }

  /** To be called about once a second. */
  tick(now: number): void {
    this.ledger.tick(now, (name) => this.#byName.has(name));
    for (let left = Math.min(SWEEP, this.#byName.size); left > 0; left--) {
      const tenant = this.#round.next();
      if (!tenant?.idle(now)) continue;
      this.#byName.delete(tenant.name);
      this.#round.remove(tenant);
    }
  }

  #made(name: string): Tenant {
    const made: Tenant = new Tenant(
      name,
      this.policies.of(name),
      this.#shareOf(name),
      this.ledger.usageOf(name),
      () => this.#leases?.look(made),
    );
    return made;
  }

  #resumeDay(tenant: Tenant): void {
    const bytes = this.#before.bytes.get(tenant.name);
    if (bytes === undefined) return;
    const now = this.#clock.now();
    if (Math.floor(now / DAY_MS) === this.#before.day) tenant.resumeDay(now, bytes);
    else this.#before = NO_DAY;
  }

  #shareOf(name: string): Share {
    const whole = this.wholeOf(name);
    return this.#leases?.shareOf(name, whole) ?? whole;
  }
}
