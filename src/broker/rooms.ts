import type { Policies, TenantPolicy } from './limits/policy.ts';
import type { Tenant } from './limits/tenant.ts';
import type { Bus, RoomRef } from './ports.ts';
import { Room, type RoomHost } from './room.ts';
import type { RoomPolicy } from './settings.ts';
import type { Tally } from './tally.ts';

export function roomKey(tenant: string, name: string): string {
  return `${tenant}\0${name}`;
}

/** The rooms that have members on this node; the bus feeds exactly these. */
export class Rooms {
  readonly #byKey = new Map<string, Room>();
  readonly #policies: readonly RoomPolicy[];
  readonly #tenants: Policies;
  /** By the bytes that a tenant is held to: tenants with the same limit share them. */
  readonly #cut = new Map<RoomPolicy, Map<number, RoomPolicy>>();
  readonly #bus: Bus;
  readonly #host: RoomHost;
  readonly #tally: Tally;
  #numbers = 0;

  constructor(policies: readonly RoomPolicy[], tenants: Policies, bus: Bus, host: RoomHost, tally: Tally) {
    this.#policies = policies;
    this.#tenants = tenants;
    this.#bus = bus;
    this.#host = host;
    this.#tally = tally;
  }

  get(key: string): Room | undefined {
    return this.#byKey.get(key);
  }

  get size(): number {
    return this.#byKey.size;
  }

  all(): Iterable<Room> {
    return this.#byKey.values();
  }

  /** A name that no pattern of the config matches has no policy: such rooms do not exist. */
  ref(tenant: string, name: string): RoomRef | undefined {
    const key = roomKey(tenant, name);
    const known = this.#byKey.get(key);
    if (known !== undefined) return known.ref;
    const policy = this.#policies.find((candidate) => candidate.matches(name));
    return policy && { key, tenant, name, policy: this.#within(policy, this.#tenants.of(tenant)) };
  }

  /** The pattern's policy with no more history than the tenant may have of a room. */
  #within(policy: RoomPolicy, { historyBytes }: TenantPolicy): RoomPolicy {
    const { history } = policy;
    if (history === undefined || historyBytes === 0 || historyBytes >= history.bytes) return policy;
    const known = this.#cut.get(policy) ?? new Map<number, RoomPolicy>();
    this.#cut.set(policy, known);
    const cut = known.get(historyBytes) ?? { ...policy, history: { ...history, bytes: historyBytes } };
    known.set(historyBytes, cut);
    return cut;
  }

  /** The room with its feed opened or opening. */
  enter(ref: RoomRef, tenant: Tenant): Room {
    const known = this.#byKey.get(ref.key);
    if (known !== undefined) return known;
    const room = new Room(ref, ++this.#numbers, this.#host, tenant);
    this.#byKey.set(ref.key, room);
    tenant.rooms++;
    this.#tally.rooms = this.#byKey.size;
    this.#bus.open(ref, room);
    return room;
  }

  /** Ends the feed of a room that nobody is in any more. */
  release(room: Room): void {
    if (room.members.length > 0 || this.#byKey.get(room.ref.key) !== room) return;
    this.#byKey.delete(room.ref.key);
    room.tenant.rooms--;
    this.#tally.rooms = this.#byKey.size;
    this.#bus.shut(room.ref);
  }
}
