import type { CloseReason } from '../../protocol/codes.ts';
import type { Usage } from '../ledger.ts';
import type { Clock, Fault } from '../ports.ts';
import type { RoundRobinItem } from '../round-robin.ts';
import { Bucket, NO_RATE, type Rate } from './bucket.ts';
import type { TenantPolicy } from './policy.ts';
import type { RefusalReason } from './reasons.ts';
import { Users } from './users.ts';

export const DAY_MS = 86_400_000;
/** By then a larger share has been asked for, and granted or not. */
const MORE_MS = 250;

export const RATES = ['publish', 'publishBytes', 'deliveries'] as const;

/** What of a tenant's rates and quotas this node may give out. On one node that is all of them. */
export interface Share {
  readonly connections: number;
  /** Connections that the other nodes have, as they last said. */
  readonly elsewhere: number;
  readonly publish: Rate;
  readonly publishBytes: Rate;
  readonly bytesPerDay: number;
  readonly deliveries: Rate;
  /** Not shared: each node gives out all of it. */
  readonly ephemeral: Rate;
  /** More bytes of today may be had from the other nodes. */
  readonly moreToday: boolean;
  /** Bytes of today that the other nodes have taken, used or not. */
  readonly dayElsewhere: number;
  /** Bytes used of today from which on more is asked for. */
  readonly dayAskAt: number;
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
      elsewhere: 0,
      publish: NO_RATE,
      publishBytes: NO_RATE,
      bytesPerDay: 0,
      deliveries: NO_RATE,
      ephemeral: NO_RATE,
      moreToday: false,
      dayElsewhere: 0,
      dayAskAt: Number.POSITIVE_INFINITY,
    };
  const deliveries = { perSecond: deliveriesPerSecond, burst: deliveriesPerSecond };
  return {
    connections,
    elsewhere: 0,
    publish,
    publishBytes,
    bytesPerDay,
    deliveries,
    ephemeral,
    moreToday: false,
    dayElsewhere: 0,
    dayAskAt: Number.POSITIVE_INFINITY,
  };
}

/** A session, as far as its tenant's limits matter. */
export interface TenantMember {
  readonly id: string;
  /** The policy is another one: the session has to fit into it, or end. */
  policyChanged(): void;
  end(why: CloseReason, detail?: string): void;
}

/** What one tenant has and uses on this node. */
export class Tenant implements RoundRobinItem {
  readonly name: string;
  roundRobinIndex = -1;
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
  #short = false;
  /** A publish that did not fit into the day's bytes that this node has. */
  dayMissing = 0;
  readonly #shortOf: () => void;
  /** Days since 1970, and the bytes of that one. */
  #day = 0;
  #dayBytes = 0;

  /** @param shortOf called when something is refused that a larger share might have allowed */
  constructor(
    name: string,
    policy: TenantPolicy,
    share: Share,
    usage: Usage,
    shortOf: () => void = () => {},
  ) {
    this.name = name;
    this.#shortOf = shortOf;
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

  /** Something was refused, since the last look, that a larger share might have allowed. */
  get short(): boolean {
    return this.#short;
  }

  ranShort(): void {
    this.#short = true;
    this.#shortOf();
  }

  /** The share has been looked at. */
  served(): void {
    this.#short = false;
    this.dayMissing = 0;
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

  /** What could be published and delivered at once, of each burst. */
  free(now: number): Demand {
    const { publish, publishBytes, deliveries } = this.#share;
    return {
      publish: this.#publish.free(publish, now),
      publishBytes: this.#publishBytes.free(publishBytes, now),
      deliveries: this.#deliveries.free(deliveries, now),
    };
  }

  /** Parts of bursts that other nodes have not used. */
  credit({ publish = 0, publishBytes = 0, deliveries = 0 }: Partial<Demand>): void {
    this.#publish.credit(publish);
    this.#publishBytes.credit(publishBytes);
    this.#deliveries.credit(deliveries);
  }

  get demand(): Demand {
    return this.#demand;
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
      if (refused.by === 'tenant_day_bytes') this.dayMissing = Math.max(this.dayMissing, bytes);
      this.ranShort();
      return refused;
    }
    this.#publish.charge(publish, 1);
    this.#publishBytes.charge(publishBytes, bytes);
    this.#dayBytes += bytes;
    if (this.#dayBytes > this.#share.dayAskAt) this.#shortOf();
    return undefined;
  }

  #overRates(bytes: number, now: number): Refused | undefined {
    const { publish, publishBytes, deliveries } = this.#share;
    let wait = this.#publish.wait(publish, 1, now);
    if (wait > 0) return overShare('tenant_publish', 'publishes', publish, this.#policy.publish, wait);
    wait = this.#publishBytes.wait(publishBytes, bytes, now);
    if (wait > 0)
      return overShare(
        'tenant_publish_bytes',
        'published bytes',
        publishBytes,
        this.#policy.publishBytes,
        wait,
      );
    wait = this.#deliveries.wait(deliveries, 1, now);
    if (wait === 0) return undefined;
    const perSecond = this.#policy.deliveriesPerSecond;
    const whole = { perSecond, burst: perSecond };
    return overShare('tenant_deliveries', 'deliveries', deliveries, whole, wait);
  }

  #overDay(bytes: number, now: number): Refused | undefined {
    const limit = this.#share.bytesPerDay;
    if (limit === 0) return undefined;
    const used = this.#bytesOf(now);
    if (used + bytes <= limit) return undefined;
    const { moreToday, dayElsewhere } = this.#share;
    const retryAfterMs = moreToday ? MORE_MS : DAY_MS - (now % DAY_MS);
    const whole = this.#policy.bytesPerDay;
    const reason = `the tenant may publish ${whole} bytes a day`;
    return {
      ok: false,
      by: 'tenant_day_bytes',
      code: 'quota_exceeded',
      reason,
      limit: whole,
      used: used + dayElsewhere,
      retryAfterMs,
    };
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

/** Names the tenant's limit, of which this node has a part; more of it is asked for at once. */
function overShare(by: RefusalReason, what: string, share: Rate, whole: Rate, wait: number): Refused {
  const part = share.perSecond / whole.perSecond;
  return overRate(
    by,
    what,
    whole,
    part < 1 ? Math.min(wait, Math.max(MORE_MS, Math.ceil(wait * part))) : wait,
  );
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
