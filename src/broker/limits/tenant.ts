import type { CloseReason } from '../../protocol/codes.ts';
import type { Usage } from '../ledger.ts';
import type { Clock, Fault } from '../ports.ts';
import { Bucket, NO_RATE, type Rate } from './bucket.ts';
import type { TenantPolicy } from './policy.ts';
import type { RefusalReason } from './reasons.ts';
import { Users } from './users.ts';

export const DAY_MS = 86_400_000;
/** By then a larger share of the day's bytes has been asked for, and granted or not. */
const MORE_MS = 1000;

/** What of a tenant's rates and quotas this node may give out. On one node that is all of them. */
export interface Share {
  readonly connections: number;
  readonly publish: Rate;
  readonly publishBytes: Rate;
  readonly bytesPerDay: number;
  readonly deliveries: Rate;
  /** Not shared: each node gives out all of it. */
  readonly ephemeral: Rate;
  /** More bytes of today may be had from the other nodes. */
  readonly moreToday: boolean;
}

/** What was asked for since the last look. */
export interface Demand {
  readonly publish: number;
  readonly publishBytes: number;
  readonly deliveries: number;
}

/** A refusal for a limit, with the reason that it is counted by. */
export interface Refused extends Fault {
  readonly by: RefusalReason;
}

export function shareOf(policy: TenantPolicy, rates: boolean): Share {
  const { connections, publish, publishBytes, bytesPerDay, deliveriesPerSecond, ephemeral } = policy;
  if (!rates)
    return {
      connections,
      publish: NO_RATE,
      publishBytes: NO_RATE,
      bytesPerDay: 0,
      deliveries: NO_RATE,
      ephemeral: NO_RATE,
      moreToday: false,
    };
  const deliveries = { perSecond: deliveriesPerSecond, burst: deliveriesPerSecond };
  return { connections, publish, publishBytes, bytesPerDay, deliveries, ephemeral, moreToday: false };
}

/** A session, as far as its tenant's limits matter. */
export interface TenantMember {
  readonly id: string;
  /** The policy is another one: the session has to fit into it, or end. */
  policyChanged(): void;
  end(why: CloseReason, detail?: string): void;
}

/** What one tenant has and uses on this node. */
export class Tenant {
  readonly name: string;
  readonly usage: Usage;
  #policy: TenantPolicy;
  #share: Share;
  /** Whether a publish can be refused at all: asked for each. */
  #metered = false;
  #connections = 0;
  /** Rooms with members. */
  rooms = 0;
  readonly users = new Users<TenantMember>();
  readonly #publish = new Bucket();
  readonly #publishBytes = new Bucket();
  readonly #deliveries = new Bucket();
  readonly #ephemeral = new Bucket();
  #demand = { publish: 0, publishBytes: 0, deliveries: 0 };
  /** Something was refused that a larger share might have allowed. */
  short = false;
  /** Days since 1970, and the bytes of that one. */
  #day = 0;
  #dayBytes = 0;

  constructor(name: string, policy: TenantPolicy, share: Share, usage: Usage) {
    this.name = name;
    this.usage = usage;
    this.#policy = policy;
    this.#share = share;
    this.adopt(policy, share, 0);
  }

  get policy(): TenantPolicy {
    return this.#policy;
  }

  get share(): Share {
    return this.#share;
  }

  get connections(): number {
    return this.#connections;
  }

  arrived(user: string, member: TenantMember): void {
    this.#connections++;
    this.users.add(user, member);
  }

  departed(user: string, member: TenantMember): void {
    this.#connections--;
    this.users.delete(user, member);
  }

  adopt(policy: TenantPolicy, share: Share, now: number): void {
    const before = this.#share;
    this.#publish.resize(before.publish, share.publish, now);
    this.#publishBytes.resize(before.publishBytes, share.publishBytes, now);
    this.#deliveries.resize(before.deliveries, share.deliveries, now);
    this.#ephemeral.resize(before.ephemeral, share.ephemeral, now);
    this.#policy = policy;
    this.#share = share;
    const { publish, publishBytes, bytesPerDay, deliveries } = share;
    this.#metered = publish.perSecond + publishBytes.perSecond + bytesPerDay + deliveries.perSecond > 0;
  }

  /** undefined: admitted, and charged to every limit. A refused publish is charged to none. */
  admitPublish(payload: string, clock: Clock): Refused | undefined {
    return this.#metered ? this.#admitMetered(Buffer.byteLength(payload), clock.now()) : undefined;
  }

  /** As `admitPublish`, for one that none of the other limits is about. */
  admitEphemeral(clock: Clock): Refused | undefined {
    const { ephemeral } = this.#share;
    const wait = ephemeral.perSecond === 0 ? 0 : this.#ephemeral.take(ephemeral, 1, clock.now());
    return wait > 0 ? overRate('tenant_ephemeral', 'ephemeral publishes', ephemeral, wait) : undefined;
  }

  /** Charged when handed over, since only then the receivers are known: the next publishes wait for it. */
  delivered(events: number): void {
    if (!this.#metered) return;
    this.#demand.deliveries += events;
    this.#deliveries.charge(this.#share.deliveries, events);
  }

  takeDemand(): Demand {
    const demand = this.#demand;
    this.#demand = { publish: 0, publishBytes: 0, deliveries: 0 };
    return demand;
  }

  /** Bytes published today. */
  dayBytes(now: number): number {
    return this.#bytesOf(now);
  }

  /** What earlier runs of this node took today. */
  resumeDay(now: number, bytes: number): void {
    this.#dayBytes = this.#bytesOf(now) + bytes;
  }

  /** Nothing would be lost if this object were made anew. */
  idle(now: number): boolean {
    if (this.#connections + this.rooms > 0) return false;
    const { publish, publishBytes, bytesPerDay, deliveries, ephemeral } = this.#share;
    return (
      this.#publish.idle(publish, now) &&
      this.#publishBytes.idle(publishBytes, now) &&
      this.#deliveries.idle(deliveries, now) &&
      this.#ephemeral.idle(ephemeral, now) &&
      (bytesPerDay === 0 || this.#bytesOf(now) === 0)
    );
  }

  #admitMetered(bytes: number, now: number): Refused | undefined {
    const { publish, publishBytes } = this.#share;
    this.#demand.publish++;
    this.#demand.publishBytes += bytes;
    const refused = this.#overRates(bytes, now) ?? this.#overDay(bytes, now);
    if (refused !== undefined) {
      this.short = true;
      return refused;
    }
    this.#publish.charge(publish, 1);
    this.#publishBytes.charge(publishBytes, bytes);
    this.#dayBytes += bytes;
    return undefined;
  }

  #overRates(bytes: number, now: number): Refused | undefined {
    const { publish, publishBytes, deliveries } = this.#share;
    let wait = this.#publish.wait(publish, 1, now);
    if (wait > 0) return overRate('tenant_publish', 'publishes', publish, wait);
    wait = this.#publishBytes.wait(publishBytes, bytes, now);
    if (wait > 0) return overRate('tenant_publish_bytes', 'published bytes', publishBytes, wait);
    wait = this.#deliveries.wait(deliveries, 1, now);
    if (wait > 0) return overRate('tenant_deliveries', 'deliveries', deliveries, wait);
    return undefined;
  }

  #overDay(bytes: number, now: number): Refused | undefined {
    const limit = this.#share.bytesPerDay;
    if (limit === 0) return undefined;
    const used = this.#bytesOf(now);
    if (used + bytes <= limit) return undefined;
    const retryAfterMs = this.#share.moreToday ? MORE_MS : DAY_MS - (now % DAY_MS);
    const reason = `the tenant may publish ${this.#policy.bytesPerDay} bytes a day`;
    return { ok: false, by: 'tenant_day_bytes', code: 'quota_exceeded', reason, limit, used, retryAfterMs };
  }

  #bytesOf(now: number): number {
    const day = Math.floor(now / DAY_MS);
    if (day !== this.#day) {
      this.#day = day;
      this.#dayBytes = 0;
    }
    return this.#dayBytes;
  }
}

function overRate(by: RefusalReason, what: string, { perSecond, burst }: Rate, wait: number): Refused {
  const reason = `the tenant may have ${perSecond} ${what} a second`;
  return {
    ok: false,
    by,
    code: 'rate_limited',
    reason,
    limit: perSecond,
    // Refused is only who has used up the burst.
    used: burst,
    retryAfterMs: wait,
  };
}
