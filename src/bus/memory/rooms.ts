import type { RoomEvent } from '../../broker/event.ts';
import type { RoomRef } from '../../broker/ports.ts';
import type { HistoryPolicy, Limits } from '../../broker/settings.ts';
import { type Ledger, Tail } from '../tail.ts';
import { RoomList, RoomState } from './room.ts';

/** The rooms whose history ages alike, so that the first fresh room of a list says that the rest is fresh. */
class AgeClass {
  readonly ageMs: number;
  /** With events, least recently published to first. */
  readonly kept = new RoomList();
  /** With neither members nor events, longest so first. */
  readonly idle = new RoomList();

  constructor(ageMs: number) {
    this.ageMs = ageMs;
  }
}

/**
 * All rooms of the process and the memory they take.
 *
 * A durable room is remembered while it has members or events, and for one history age longer: somebody who
 * comes back within that time can be told exactly what was missed. What is forgotten raises `floor`: a room that
 * is new here may be one that was forgotten, so its positions start where no earlier one can be.
 *
 * A live room is remembered while it has members.
 */
export class RoomTable {
  readonly #limits: Pick<Limits, 'historyTotalBytes' | 'rooms'>;
  readonly #rooms = new Map<string, RoomState>();
  readonly #ages = new Map<number, AgeClass>();
  readonly ledger: Ledger = { events: 0, bytes: 0 };
  /** No room forgotten so far was at a later position. */
  floor = 0;
  /** Events that left before their room's own bounds asked for it. */
  evicted = 0;

  constructor(limits: Pick<Limits, 'historyTotalBytes' | 'rooms'>) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#rooms.size;
  }

  get(ref: RoomRef): RoomState | undefined {
    return this.#rooms.get(ref.key);
  }

  /** The room, new at position `start` if need be; undefined when there are as many as there may be. */
  claim(ref: RoomRef, start: number): RoomState | undefined {
    const known = this.#rooms.get(ref.key);
    if (known !== undefined) return known;
    if (this.#rooms.size >= this.#limits.rooms && !this.#forgetLongestIdle()) return undefined;
    // Forgetting may have raised the floor that `start` was taken from.
    const room = new RoomState(
      ref.key,
      ref.policy.history === undefined ? start : Math.max(start, this.floor),
    );
    this.#rooms.set(ref.key, room);
    return room;
  }

  /** Stores the newest event of a room, then whatever the bounds of the room and of all rooms ask for. */
  keep(room: RoomState, event: RoomEvent, history: HistoryPolicy, now: number): void {
    room.tail ??= new Tail(history, this.ledger);
    room.tail.push(event, now);
    if (room.tail.length === 0) this.#emptied(room, history.ageMs, now);
    else this.#age(history.ageMs).kept.put(room);
    this.fit(now);
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
    if (history === undefined) this.#rooms.delete(room.key);
    else if (room.tail === undefined) this.#emptied(room, history.ageMs, now);
  }

  /** Evicts from the rooms least recently published to, until all history together is within its bound. */
  fit(now: number): void {
    while (this.ledger.bytes > this.#limits.historyTotalBytes) {
      const [age, room] = this.#leastRecent();
      room.tail.shift();
      this.evicted++;
      if (room.tail.length === 0) this.#emptied(room, age.ageMs, now);
    }
  }

  /**
   * Drops events and rooms that are over their age, looking at `budget` rooms at most. Events that are over it in
   * a room that is still published to go at its next publish or read.
   */
  sweep(now: number, budget: number): void {
    let left = budget;
    for (const age of this.#ages.values()) {
      for (let room = age.kept.oldest; room?.tail?.expired(now) && left > 0; room = age.kept.oldest, left--)
        this.#emptied(room, age.ageMs, now);
      for (let room = age.idle.oldest; room && room.idleSince < now - age.ageMs && left > 0; left--) {
        this.#forget(room);
        room = age.idle.oldest;
      }
    }
    this.fit(now);
  }

  clear(): void {
    for (const room of this.#rooms.values()) room.tail?.clear();
    this.#rooms.clear();
    this.#ages.clear();
  }

  #age(ageMs: number): AgeClass {
    let age = this.#ages.get(ageMs);
    if (age === undefined) {
      age = new AgeClass(ageMs);
      this.#ages.set(ageMs, age);
    }
    return age;
  }

  #emptied(room: RoomState, ageMs: number, now: number): void {
    room.tail?.clear();
    room.tail = undefined;
    room.list?.remove(room);
    if (room.sink !== undefined) return;
    room.idleSince = now;
    this.#age(ageMs).idle.put(room);
  }

  #forget(room: RoomState): void {
    room.list?.remove(room);
    this.#rooms.delete(room.key);
    this.floor = Math.max(this.floor, room.last);
  }

  #forgetLongestIdle(): boolean {
    let longest: RoomState | undefined;
    for (const { idle } of this.#ages.values()) {
      const room = idle.oldest;
      if (room !== undefined && (longest === undefined || room.idleSince < longest.idleSince)) longest = room;
    }
    if (longest === undefined) return false;
    this.#forget(longest);
    return true;
  }

  #leastRecent(): [AgeClass, RoomState & { tail: Tail }] {
    let found: [AgeClass, RoomState & { tail: Tail }] | undefined;
    let seq = Number.POSITIVE_INFINITY;
    for (const age of this.#ages.values()) {
      const room = age.kept.oldest;
      if (room === undefined || room.last >= seq) continue;
      if (!hasTail(room)) throw new Error('a room without events is listed as having some');
      seq = room.last;
      found = [age, room];
    }
    if (found === undefined) throw new Error('history is over its bound, but no room has any');
    return found;
  }
}

function hasTail(room: RoomState): room is RoomState & { tail: Tail } {
  return room.tail !== undefined;
}
