import type { RoomSink } from '../../broker/ports.ts';
import type { Ledger, Tail } from '../tail.ts';

/**
 * What the bus knows of one room. 100,000 rooms with one member and no event are an ordinary load: the tail
 * comes with the first event, and lists are links in the room itself.
 */
export class RoomState {
  readonly key: string;
  readonly tenant: TenantRooms;
  /** The position before everything that this state has seen; what lies before it is not known. */
  readonly start: number;
  /** The position: that of the newest event, kept or not, or `start`. */
  last: number;
  sink: RoomSink | undefined = undefined;
  /** Never empty. */
  tail: Tail | undefined = undefined;
  /** When the room had neither members nor events any more. */
  idleSince = 0;
  /** The list that the room is in, and its neighbours there. */
  list: RoomList | undefined = undefined;
  older: RoomState | undefined = undefined;
  newer: RoomState | undefined = undefined;

  constructor(key: string, tenant: TenantRooms, start: number) {
    this.key = key;
    this.tenant = tenant;
    this.start = start;
    this.last = start;
  }

  /** Has members or events. */
  get held(): boolean {
    return this.sink !== undefined || this.tail !== undefined;
  }
}

/**
 * Rooms in the order they were last put in. Linked, because each publish moves a room to the newest end:
 * taking a key out of a Map and putting it in again makes V8 rehash 100,000 rooms every so often.
 */
export class RoomList {
  oldest: RoomState | undefined = undefined;
  length = 0;
  #newest: RoomState | undefined = undefined;

  /** Puts the room at the newest end, taking it from wherever it was. */
  put(room: RoomState): void {
    if (this.#newest === room) return;
    room.list?.remove(room);
    room.list = this;
    this.length++;
    room.older = this.#newest;
    if (this.#newest === undefined) this.oldest = room;
    else this.#newest.newer = room;
    this.#newest = room;
  }

  remove(room: RoomState): void {
    if (room.list !== this) throw new Error('the room is not in this list');
    if (room.older === undefined) this.oldest = room.newer;
    else room.older.newer = room.newer;
    if (room.newer === undefined) this.#newest = room.older;
    else room.newer.older = room.older;
    room.list = undefined;
    this.length--;
    room.older = undefined;
    room.newer = undefined;
  }
}

/** The rooms whose history ages alike, so that the first fresh room of a list says that the rest is fresh. */
export class AgeClass {
  readonly ageMs: number;
  /** With events, least recently published to first. */
  readonly kept = new RoomList();
  /** With neither members nor events, longest so first. */
  readonly idle = new RoomList();

  constructor(ageMs: number) {
    this.ageMs = ageMs;
  }
}

/** What one tenant's rooms keep, counted for all tenants as well. */
class Share implements Ledger {
  readonly #all: Ledger;
  #events = 0;
  #bytes = 0;

  constructor(all: Ledger) {
    this.#all = all;
  }

  get events(): number {
    return this.#events;
  }

  set events(events: number) {
    this.#all.events += events - this.#events;
    this.#events = events;
  }

  get bytes(): number {
    return this.#bytes;
  }

  set bytes(bytes: number) {
    this.#all.bytes += bytes - this.#bytes;
    this.#bytes = bytes;
  }
}

/** The rooms of one tenant. */
export class TenantRooms {
  readonly name: string;
  readonly ledger: Ledger;
  /** All of its rooms, those with neither members nor events too. */
  size = 0;
  /** No room of the tenant forgotten so far was at a later position. */
  floor: number;
  readonly #ages = new Map<number, AgeClass>();

  constructor(name: string, floor: number, all: Ledger) {
    this.name = name;
    this.floor = floor;
    this.ledger = new Share(all);
  }

  /** Rooms with members or events. */
  get held(): number {
    let held = this.size;
    for (const { idle } of this.#ages.values()) held -= idle.length;
    return held;
  }

  ages(): Iterable<AgeClass> {
    return this.#ages.values();
  }

  age(ageMs: number): AgeClass {
    let age = this.#ages.get(ageMs);
    if (age === undefined) {
      age = new AgeClass(ageMs);
      this.#ages.set(ageMs, age);
    }
    return age;
  }

  longestIdle(): RoomState | undefined {
    let longest: RoomState | undefined;
    for (const { idle } of this.#ages.values()) {
      const room = idle.oldest;
      if (room !== undefined && (longest === undefined || room.idleSince < longest.idleSince)) longest = room;
    }
    return longest;
  }

  /** The room with events that was published to the longest ago. */
  leastRecent(): { readonly age: AgeClass; readonly room: RoomState } | undefined {
    let found: { age: AgeClass; room: RoomState } | undefined;
    for (const age of this.#ages.values()) {
      const room = age.kept.oldest;
      if (room !== undefined && (found === undefined || room.last < found.room.last)) found = { age, room };
    }
    return found;
  }
}
