/**
 * What each tenant has used, by the minute. Counting costs a store or two on an object that the session or room holds
 * already; no clock is read for it, so a count falls into the minute that the last tick was in.
 */

export const MINUTE_MS = 60_000;
/** The loop does not stand still for longer: then the machine slept, and its sockets were not alive. */
const ASLEEP_MS = 10 * MINUTE_MS;
/** Minutes without a trace after which a tenant is forgotten; longer than a publish may wait for its answer. */
const IDLE_MINUTES = 2;

export const COUNTS = [
  /** Publishes taken, of clients and of backends; repeated ones (`duplicate`) and ephemeral ones are not counted. */
  'messagesIn',
  /** Events handed to connections, times the connections, replays included, ephemeral ones not. */
  'deliveries',
  /** WebSocket messages received, whatever came of them, without what WebSocket and TLS add. */
  'bytesIn',
  /** WebSocket messages handed to connections, times the connections. */
  'bytesOut',
  /** Payloads of `messagesIn`: what bytesPerDay counts. */
  'payloadBytes',
  /** Payloads that a history keeps. */
  'durableBytes',
  /** Milliseconds of connections: two for a second are 2000. */
  'connectionMs',
  /** Ephemeral publishes that went to the bus, and their events handed to connections, times the connections. */
  'ephemeralIn',
  'ephemeralDeliveries',
] as const;
export type UsageCount = (typeof COUNTS)[number];
export type UsageCounts = Readonly<Record<UsageCount, number>>;

/** The counts of one tenant in the present minute. */
export class Usage {
  messagesIn = 0;
  deliveries = 0;
  bytesIn = 0;
  bytesOut = 0;
  payloadBytes = 0;
  durableBytes = 0;
  connectionMs = 0;
  ephemeralIn = 0;
  ephemeralDeliveries = 0;
  #connections = 0;
  /** Until when `connectionMs` is counted. */
  #until = 0;

  connected(now: number): void {
    this.passed(now);
    this.#connections++;
  }

  disconnected(now: number): void {
    this.passed(now);
    this.#connections--;
  }

  /** A publish was taken. */
  took(bytes: number, durable: boolean): void {
    this.messagesIn++;
    this.payloadBytes += bytes;
    if (durable) this.durableBytes += bytes;
  }

  tookEphemeral(): void {
    this.ephemeralIn++;
  }

  /** The connections that are here were here until now. */
  passed(now: number): void {
    // A clock that was set back takes nothing away, and no time is counted twice.
    if (now <= this.#until) return;
    this.connectionMs += this.#connections * (now - this.#until);
    this.#until = now;
  }

  /** The machine slept until now: nobody was here. */
  skipped(now: number): void {
    this.#until = Math.max(now, this.#until);
  }

  get connections(): number {
    return this.#connections;
  }

  get empty(): boolean {
    return COUNTS.every((count) => this[count] === 0);
  }

  counts(): UsageCounts {
    return Object.fromEntries(COUNTS.map((count) => [count, this[count]])) as Record<UsageCount, number>;
  }

  clear(): void {
    for (const count of COUNTS) this[count] = 0;
  }
}

/** Of one tenant on one node. */
export interface MinuteCounts extends UsageCounts {
  readonly tenant: string;
  /** Its beginning, in milliseconds since 1970. */
  readonly minute: number;
}

interface Kept {
  readonly usage: Usage;
  idleMinutes: number;
}

export class Ledger {
  readonly #byTenant = new Map<string, Kept>();
  /** The present one; undefined: nothing has told the time yet. */
  #minute: number | undefined;
  #closed: (counts: readonly MinuteCounts[]) => void = () => {};

  /** `closed` gets what was counted in each minute, once it is over. */
  whenClosed(closed: (counts: readonly MinuteCounts[]) => void): void {
    this.#closed = closed;
  }

  /** The same object as long as anybody may count on it. */
  usageOf(tenant: string): Usage {
    let kept = this.#byTenant.get(tenant);
    if (kept === undefined) {
      kept = { usage: new Usage(), idleMinutes: 0 };
      this.#byTenant.set(tenant, kept);
    }
    return kept.usage;
  }

  /** To be called about once a second. `known`: whether somebody may still count for the tenant. */
  tick(now: number, known: (tenant: string) => boolean): void {
    const present = minuteOf(now);
    let minute = this.#minute ?? present;
    // A clock that was set back: the minute goes on until it has caught up, since no minute may be told twice.
    while (minute < present) {
      const end = minute + MINUTE_MS;
      this.#close(minute, end);
      this.#forget(known);
      minute = now - end > ASLEEP_MS ? present : end;
      if (minute > end) for (const { usage } of this.#byTenant.values()) usage.skipped(minute);
    }
    this.#minute = minute;
  }

  /** What the present minute has so far. */
  present(now: number): MinuteCounts[] {
    const minute = this.#minute ?? minuteOf(now);
    this.#minute = minute;
    const until = Math.min(now, minute + MINUTE_MS);
    for (const { usage } of this.#byTenant.values()) usage.passed(until);
    return this.#counts(minute);
  }

  /** Ends the present minute before its time: this node stops. */
  finish(now: number): void {
    const minute = this.#minute ?? minuteOf(now);
    this.#close(minute, Math.min(now, minute + MINUTE_MS));
  }

  #close(minute: number, end: number): void {
    for (const { usage } of this.#byTenant.values()) usage.passed(end);
    const counts = this.#counts(minute);
    for (const kept of this.#byTenant.values()) {
      kept.idleMinutes = kept.usage.empty ? kept.idleMinutes + 1 : 0;
      kept.usage.clear();
    }
    if (counts.length > 0) this.#closed(counts);
  }

  #counts(minute: number): MinuteCounts[] {
    const counts: MinuteCounts[] = [];
    for (const [tenant, { usage }] of this.#byTenant)
      if (!usage.empty) counts.push({ tenant, minute, ...usage.counts() });
    return counts;
  }

  #forget(known: (tenant: string) => boolean): void {
    for (const [tenant, { usage, idleMinutes }] of this.#byTenant)
      if (idleMinutes >= IDLE_MINUTES && usage.connections === 0 && !known(tenant))
        this.#byTenant.delete(tenant);
  }
}

export function minuteOf(now: number): number {
  return Math.floor(now / MINUTE_MS) * MINUTE_MS;
}
