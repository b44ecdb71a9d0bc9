import type { RoomSink } from '../../broker/ports.ts';
import type { Tail } from '../tail.ts';

/**
 * What the bus knows of one room. 100,000 rooms with one member and no event are an ordinary load: the tail
 * comes with the first event, and lists are links in the room itself.
 */
export class RoomState {
  readonly key: string;
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

  constructor(key: string, start: number) {
    this.key = key;
    this.start = start;
    this.last = start;
  }
}

/**
 * Rooms in the order they were last put in. Linked, because each publish moves a room to the newest end:
 * taking a key out of a Map and putting it in again makes V8 rehash 100,000 rooms every so often.
 */
export class RoomList {
  oldest: RoomState | undefined = undefined;
  #newest: RoomState | undefined = undefined;

  /** Puts the room at the newest end, taking it from wherever it was. */
  put(room: RoomState): void {
    if (this.#newest === room) return;
    room.list?.remove(room);
    room.list = this;
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
    room.older = undefined;
    room.newer = undefined;
  }
}
