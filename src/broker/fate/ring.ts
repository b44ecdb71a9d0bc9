import type { GapReason } from '../../protocol/frames.ts';

/** A time, and among all that went out within a millisecond: how often anything had gone out to topics by then. */
export interface Moment {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly nth: number;
}

/** An event, as a room's ring remembers it. */
export interface Remembered {
  /** Below 0: ephemeral; then it is the `nth` of its moment. */
  readonly seq: number;
  /** When it was accepted, by the accepting node's clock; milliseconds since 1970. */
  readonly ts: number;
  /** When it was handed to the room's topics here. NaN: nobody here was served by a topic. */
  readonly at: number;
  /** `stamp` of the session that did not want its own event; 0: none. */
  readonly skipped: number;
}

/** Events that are lost to this node for good, as its members on the topics were told. */
export interface RoomGap extends Moment {
  readonly from: number;
  readonly to: number;
  readonly reason: GapReason;
}

/** Numbers per event. */
const COLUMNS = 5;
/** Events that a ring has room for at first: most rooms are quiet. */
const FIRST = 8;
const GAPS = 16;

/** Bytes of one event in a ring. */
export const EVENT_BYTES = COLUMNS * Float64Array.BYTES_PER_ELEMENT;

/**
 * The newest events of a room that passed this node: numbers only, so that nothing is kept alive and nothing is left to
 * the garbage collector on the path of every message.
 */
export class EventRing {
  readonly #max: number;
  #numbers: Float64Array;
  /** Events ever added since the ring was last cleared. */
  #added = 0;
  #epoch = '';
  readonly gaps: RoomGap[] = [];
  /** Its place has gone to another room. */
  dropped = false;

  constructor(max: number) {
    this.#max = max;
    this.#numbers = new Float64Array(COLUMNS * Math.min(FIRST, max));
  }

  get bytes(): number {
    return this.#numbers.byteLength;
  }

  get epoch(): string {
    return this.#epoch;
  }

  /** Positions of another epoch mean nothing beside those of this one. */
  enter(epoch: string): void {
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#added = 0;
    this.gaps.length = 0;
  }

  /** @param id hash of the msgId, 0 without one */
  add(seq: number, ts: number, at: number, id: number, skipped: number): void {
    let numbers = this.#numbers;
    if (this.#added * COLUMNS === numbers.length && numbers.length < this.#max * COLUMNS) {
      numbers = new Float64Array(Math.min(2 * numbers.length, this.#max * COLUMNS));
      numbers.set(this.#numbers);
      this.#numbers = numbers;
    }
    const place = (this.#added++ * COLUMNS) % numbers.length;
    numbers[place] = seq;
    numbers[place + 1] = ts;
    numbers[place + 2] = at;
    numbers[place + 3] = id;
    numbers[place + 4] = skipped;
  }

  lost(gap: RoomGap): void {
    this.gaps.push(gap);
    if (this.gaps.length > GAPS) this.gaps.shift();
  }

  bySeq(seq: number): Remembered | undefined {
    return this.#newest(0, seq);
  }

  /** The newest with a msgId of this hash. */
  byId(id: number): Remembered | undefined {
    return this.#newest(3, id);
  }

  #newest(column: number, value: number): Remembered | undefined {
    const numbers = this.#numbers;
    const oldest = Math.max(0, this.#added - numbers.length / COLUMNS);
    for (let nth = this.#added - 1; nth >= oldest; nth--) {
      const place = (nth * COLUMNS) % numbers.length;
      if (numbers[place + column] !== value) continue;
      const [seq, ts, at, , skipped] = numbers.subarray(place, place + COLUMNS) as unknown as number[];
      return { seq, ts, at, skipped } as Remembered;
    }
    return undefined;
  }
}

/** The rings of the rooms that had events last. */
export class EventRings {
  readonly #rooms: number;
  readonly #events: number;
  readonly #byRoom = new Map<string, EventRing>();

  /** @param rooms most of them @param events most of one room; 0: none is kept */
  constructor(rooms: number, events: number) {
    this.#rooms = rooms;
    this.#events = events;
  }

  get on(): boolean {
    return this.#events > 0;
  }

  get bytes(): number {
    let bytes = 0;
    for (const ring of this.#byRoom.values()) bytes += ring.bytes;
    return bytes;
  }

  get(key: string): EventRing | undefined {
    return this.#byRoom.get(key);
  }

  /** The room's ring, which takes the place of the room's whose events are the longest ago, more or less. */
  of(key: string): EventRing {
    const known = this.#byRoom.get(key);
    if (known !== undefined) return this.#touched(key, known);
    const ring = this.#touched(key, new EventRing(this.#events));
    if (this.#byRoom.size > this.#rooms) this.#dropOldest();
    return ring;
  }

  /** Last in the map. */
  #touched(key: string, ring: EventRing): EventRing {
    this.#byRoom.delete(key);
    this.#byRoom.set(key, ring);
    return ring;
  }

  #dropOldest(): void {
    for (const [key, ring] of this.#byRoom) {
      ring.dropped = true;
      this.#byRoom.delete(key);
      return;
    }
  }
}
