import type { RoomEvent } from '../../broker/event.ts';
import { overOpenRooms, overRoomShare } from '../../broker/limits/room-share.ts';
import type { Fault, RoomRef } from '../../broker/ports.ts';
import type { HistoryPolicy, Limits } from '../../broker/settings.ts';
import { type Ledger, Tail } from '../tail.ts';
import { type AgeClass, RoomState, TenantRooms } from './room.ts';

export type RoomLimits = Pick<Limits, 'historyTotalBytes' | 'rooms' | 'roomsPerTenant'>;

const RETRY_MS = 1000;

/**
 * All rooms of the process and the memory they take.
 *
 * A durable room is remembered while it has members or events, and for one history age longer: somebody who
 * comes back within that time can be told exactly what was missed. What is forgotten raises the tenant's `floor`: a
 * room that is new here may be one that was forgotten, so its positions start where no earlier one can be.
 *
 * A live room is remembered while it has members.
 *
 * Tenants have shares of rooms and of bytes: what one has too many of it loses itself.
 */
export class RoomTable {
  readonly #limits: RoomLimits;
  /** Rooms with members or events that a tenant may have. 0: no limit but its share. */
  readonly #openRooms: (tenant: string) => number;
  readonly #rooms = new Map<string, RoomState>();
  /** Those with rooms. */
  readonly #tenants = new Map<string, TenantRooms>();
  readonly ledger: Ledger = { events: 0, bytes: 0 };
  /** No room of a tenant that is not known any more was at a later position. */
  #floor = 0;
  /** Events that left before their room's own bounds asked for it. */
  evicted = 0;
  /** Whose history gives place to others', as long as it is larger than theirs on average. */
  #largest: TenantRooms | undefined;

  constructor(limits: RoomLimits, openRooms: (tenant: string) => number) {
    this.#limits = limits;
    this.#openRooms = openRooms;
  }

  get size(): number {
    return this.#rooms.size;
  }

  get(ref: RoomRef): RoomState | undefined {
    return this.#rooms.get(ref.key);
  }

  /** No room of the tenant forgotten so far was at a later position. */
  floorOf(tenant: string): number {
    return this.#tenants.get(tenant)?.floor ?? this.#floor;
  }

  /** The room, new at position `start` if need be, unless there are as many as there may be. */
  claim(ref: RoomRef, start: number): RoomState | Fault {
    const known = this.#rooms.get(ref.key);
    if (known?.held === true) return known;
    const tenant = this.#tenants.get(ref.tenant);
    const refused = overOpenRooms(this.#openRooms(ref.tenant), tenant?.held ?? 0);
    if (refused !== undefined) return refused;
    if (known !== undefined) return known;
    return this.#overLimits(tenant) ?? this.#create(ref, start);
  }

  /** Stores the newest event of a room, then whatever the bounds of the room and of all rooms ask for. */
  keep(room: RoomState, event: RoomEvent, history: HistoryPolicy, now: number): void {
    room.tail ??= new Tail(history, room.tenant.ledger);
    room.tail.push(event, now);
    if (room.tail.length === 0) this.#emptied(room, history.ageMs, now);
    else room.tenant.age(history.ageMs).kept.put(room);
    this.#fit(now, room.tenant);
  }

  /** Drops what has grown too old in one room. */
  refresh(room: RoomState, history: HistoryPolicy, now: number): void {
    if (room.tail === undefined) return;
    room.tail.expire(now);
    if (room.tail.length === 0) this.#emptied(room, history.ageMs, now);
  }

  /** The room has members again. */
  occupied(room: RoomState): void {
    if (room.tail === undefined) room.list?.remove(room);
  }

  /** The room has no members any more. */
  vacated(room: RoomState, history: HistoryPolicy | undefined, now: number): void {
    if (history === undefined) this.#remove(room);
    else if (room.tail === undefined) this.#emptied(room, history.ageMs, now);
  }

  /**
   * Drops events and rooms that are over their age, looking at `budget` rooms at most. Events that are over it in
   * a room that is still published to go at its next publish or read.
   */
  sweep(now: number, budget: number): void {
    let left = budget;
    for (const tenant of this.#tenants.values()) {
      for (const age of tenant.ages()) left = this.#sweepAge(age, now, left);
      if (left <= 0) break;
    }
    this.#fit(now, undefined);
  }

  clear(): void {
    for (const room of this.#rooms.values()) room.tail?.clear();
    this.#rooms.clear();
    this.#tenants.clear();
    this.#largest = undefined;
  }

  #sweepAge(age: AgeClass, now: number, budget: number): number {
    let left = budget;
    for (let room = age.kept.oldest; room?.tail?.expired(now) && left > 0; room = age.kept.oldest, left--)
      this.#emptied(room, age.ageMs, now);
    for (let room = age.idle.oldest; room && room.idleSince < now - age.ageMs && left > 0; left--) {
      this.#forget(room);
      room = age.idle.oldest;
    }
    return left;
  }

  /** undefined: there is a place, or one was made by forgetting a room that nothing is kept of. */
  #overLimits(tenant: TenantRooms | undefined): Fault | undefined {
    const refused = overRoomShare(this.#limits, tenant?.size ?? 0, this.#rooms.size);
    const full = this.#rooms.size >= this.#limits.rooms;
    if (refused === undefined && !full) return undefined;
    // The tenant's own first: it would push out what others may come back to.
    const idle = tenant?.longestIdle() ?? (refused === undefined ? this.#longestIdle() : undefined);
    if (idle === undefined) return refused ?? overloaded(this.#limits.rooms);
    this.#forget(idle);
    return undefined;
  }

  #create(ref: RoomRef, start: number): RoomState {
    let tenant = this.#tenants.get(ref.tenant);
    if (tenant === undefined) {
      tenant = new TenantRooms(ref.tenant, this.#floor, this.ledger);
      this.#tenants.set(ref.tenant, tenant);
    }
    // Forgetting may have raised the floor that `start` was taken from.
    const from = ref.policy.history === undefined ? start : Math.max(start, tenant.floor);
    const room = new RoomState(ref.key, tenant, from);
    tenant.size++;
    this.#rooms.set(ref.key, room);
    return room;
  }

  #emptied(room: RoomState, ageMs: number, now: number): void {
    room.tail?.clear();
    room.tail = undefined;
    room.list?.remove(room);
    if (room.sink !== undefined) return;
    room.idleSince = now;
    room.tenant.age(ageMs).idle.put(room);
  }

  #forget(room: RoomState): void {
    const { tenant } = room;
    room.list?.remove(room);
    tenant.floor = Math.max(tenant.floor, room.last);
    this.#remove(room);
  }

  #remove({ key, tenant }: RoomState): void {
    this.#rooms.delete(key);
    tenant.size--;
    if (tenant.size > 0) return;
    this.#floor = Math.max(this.#floor, tenant.floor);
    this.#tenants.delete(tenant.name);
  }

  #longestIdle(): RoomState | undefined {
    let longest: RoomState | undefined;
    for (const tenant of this.#tenants.values()) {
      const room = tenant.longestIdle();
      if (room !== undefined && (longest === undefined || room.idleSince < longest.idleSince)) longest = room;
    }
    return longest;
  }

  /**
   * Evicts until all history together is within its bound: from the tenant that is published to, where it keeps more
   * than tenants do on average, otherwise from the one that keeps the most; of its rooms the one least recently
   * published to.
   */
  #fit(now: number, publisher: TenantRooms | undefined): void {
    while (this.ledger.bytes > this.#limits.historyTotalBytes) {
      const { age, room } = this.#giver(publisher).leastRecent() ?? missing();
      room.tail?.shift();
      this.evicted++;
      if (room.tail?.length === 0) this.#emptied(room, age.ageMs, now);
    }
  }

  #giver(publisher: TenantRooms | undefined): TenantRooms {
    const average = this.ledger.bytes / this.#tenants.size;
    if (publisher !== undefined && publisher.ledger.bytes >= average) return publisher;
    if (this.#largest !== undefined && this.#largest.ledger.bytes > average) return this.#largest;
    let largest: TenantRooms | undefined;
    for (const tenant of this.#tenants.values())
      if (largest === undefined || tenant.ledger.bytes > largest.ledger.bytes) largest = tenant;
    this.#largest = largest;
    return largest ?? missing();
  }
}

function overloaded(limit: number): Fault {
  const reason = 'this node holds as many rooms as it may';
  return { ok: false, code: 'overloaded', reason, retryAfterMs: RETRY_MS, limit };
}

function missing(): never {
  throw new Error('history is over its bound, but no room has any');
}
