/** What a tenant may have and do (docs/protocol.md, section 7). Counts and rates of 0 mean no limit. */
import type { Action } from '../ports.ts';
import type { SchemaRule } from '../schema/schema.ts';
import type { Rate } from './bucket.ts';

export const ON_DUPLICATE = ['keep-all', 'replace', 'reject'] as const;
export type OnDuplicate = (typeof ON_DUPLICATE)[number];

export const PRESENCE_MODES = ['full', 'count', 'off'] as const;
export type PresenceMode = (typeof PRESENCE_MODES)[number];

/** Access of all users of the tenant: `allow` adds to their claims, `deny` takes away whatever anything allows. */
export interface RoomRule {
  readonly match: string;
  readonly allow: readonly Action[];
  readonly deny: readonly Action[];
}

export interface TenantPolicy {
  readonly enabled: boolean;
  readonly connections: number;
  readonly connectionsPerUser: number;
  /** What a user's second connection does. */
  readonly onDuplicate: OnDuplicate;
  readonly roomsPerConnection: number;
  /** Rooms with members. */
  readonly openRooms: number;
  readonly membersPerRoom: number;
  readonly publish: Rate;
  readonly publishBytes: Rate;
  /** Payload bytes published, by the day of UTC. */
  readonly bytesPerDay: number;
  /** Of each durable room, at most; rooms that are open already keep what they have. */
  readonly historyBytes: number;
  /** Events times receivers; as much may come in one burst. */
  readonly deliveriesPerSecond: number;
  /** Ephemeral publishes, which count against nothing else of the tenant; on each node. */
  readonly ephemeral: Rate;
  readonly presence: PresenceMode;
  readonly rooms: readonly RoomRule[];
  /** Of payloads, in the place of what the config says of the room; the first match holds. */
  readonly schemas: readonly SchemaRule[];
  /** The share under overload, beside other tenants' weights. */
  readonly weight: number;
}

/** What is set for one tenant; the rest is the default. */
export type PolicyOverride = Partial<TenantPolicy>;

export const UNLIMITED: TenantPolicy = Object.freeze({
  enabled: true,
  connections: 0,
  connectionsPerUser: 0,
  onDuplicate: 'keep-all',
  roomsPerConnection: 0,
  openRooms: 0,
  membersPerRoom: 0,
  publish: { perSecond: 0, burst: 0 },
  publishBytes: { perSecond: 0, burst: 0 },
  bytesPerDay: 0,
  historyBytes: 0,
  deliveriesPerSecond: 0,
  ephemeral: { perSecond: 0, burst: 0 },
  presence: 'full',
  rooms: [],
  schemas: [],
  weight: 1,
});

export type PolicyListener = (tenant: string, policy: TenantPolicy) => void;

/** Every tenant's policy: the default with what is set for the tenant, made once and changed at run time. */
export class Policies {
  readonly #default: TenantPolicy;
  /** Of the config file: what a removed run-time policy falls back to. */
  readonly #configured: ReadonlyMap<string, PolicyOverride>;
  readonly #overrides: Map<string, PolicyOverride>;
  readonly #made = new Map<string, TenantPolicy>();
  readonly #listeners = new Set<PolicyListener>();

  constructor(byDefault: TenantPolicy, configured: ReadonlyMap<string, PolicyOverride> = new Map()) {
    this.#default = byDefault;
    this.#configured = configured;
    this.#overrides = new Map(configured);
  }

  of(tenant: string): TenantPolicy {
    const override = this.#overrides.get(tenant);
    // Tenants come with tokens: only those that were named may take memory here.
    if (override === undefined) return this.#default;
    const known = this.#made.get(tenant);
    if (known !== undefined) return known;
    const made = Object.freeze({ ...this.#default, ...override });
    this.#made.set(tenant, made);
    return made;
  }

  override(tenant: string): PolicyOverride | undefined {
    return this.#overrides.get(tenant);
  }

  /** In the place of what was set before; undefined: back to the config's. Whoever watches is told at once. */
  set(tenant: string, override: PolicyOverride | undefined): void {
    const next = override ?? this.#configured.get(tenant);
    if (next === undefined) this.#overrides.delete(tenant);
    else this.#overrides.set(tenant, next);
    this.#made.delete(tenant);
    const policy = this.of(tenant);
    for (const listener of this.#listeners) listener(tenant, policy);
  }

  watch(listener: PolicyListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
