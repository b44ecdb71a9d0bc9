import { RoomEvent } from '../../../src/broker/event.ts';
import type { Clock, Publication, RoomRef } from '../../../src/broker/ports.ts';
import { publishIdentity } from '../../../src/bus/dedupe.ts';
import type { Truth } from '../truth.ts';

/** All that a room ever had in this epoch; what is kept begins at `kept`. */
export class RoomLog {
  readonly ref: RoomRef;
  readonly events: RoomEvent[] = [];
  kept = 0;
  bytes = 0;

  constructor(ref: RoomRef) {
    this.ref = ref;
  }

  get last(): number {
    return this.events.at(-1)?.seq ?? 0;
  }

  /** The newest position up to this one of which nothing is kept. */
  goneBy(seq: number): number {
    const last = Math.min(this.kept, this.after(seq));
    return this.events[last - 1]?.seq ?? 0;
  }

  /** Whether there is an event in (from, to]. */
  next(from: number, to: number): boolean {
    return this.after(to) > this.after(from);
  }

  shift(): void {
    this.bytes -= (this.events[this.kept] as RoomEvent).bytes;
    this.kept++;
  }

  /** Index of the first event after a position. */
  after(seq: number): number {
    let index = this.events.length;
    while (index > 0 && (this.events[index - 1] as RoomEvent).seq > seq) index--;
    return index;
  }
}

/** The stream behind the simulated buses: one counter for all rooms, an epoch, bounds per room. */
export class SimStore {
  readonly #clock: Clock;
  readonly #truth: Truth;
  readonly #logs = new Map<string, RoomLog>();
  readonly #messages = new Map<string, number>();
  epoch = 'd1';
  seq = 0;
  /** No event before this place is kept. */
  dropped = 0;
  #epochs = 1;

  constructor(clock: Clock, truth: Truth) {
    this.#clock = clock;
    this.#truth = truth;
    truth.oldestKept = (epoch, room) => this.#oldestKept(epoch, room);
    truth.over = (epoch) => epoch.startsWith('d') && epoch !== this.epoch;
  }

  log(ref: RoomRef): RoomLog {
    let log = this.#logs.get(ref.key);
    if (log === undefined) {
      log = new RoomLog(ref);
      this.#logs.set(ref.key, log);
    }
    return log;
  }

  /** Stores a publication, or finds it stored already. */
  accept({ room, payload, from, msgId, key }: Publication): { seq: number; duplicate: boolean } {
    const identity = msgId === undefined ? undefined : publishIdentity(room.key, from, msgId);
    const first = identity === undefined ? undefined : this.#messages.get(identity);
    if (first !== undefined) return { seq: first, duplicate: true };
    const log = this.log(room);
    const seq = ++this.seq;
    const ts = this.#clock.now();
    const event = new RoomEvent({ room: room.name, payload, seq, prev: log.last, ts, from, msgId, key });
    log.events.push(event);
    log.bytes += event.bytes;
    if (identity !== undefined) this.#messages.set(identity, seq);
    this.#truth.order(this.epoch, room.key).add({ seq, payload, from, msgId, key });
    this.#bound(log);
    return { seq, duplicate: false };
  }

  /** Applies the bounds of every room. */
  expire(): void {
    for (const log of this.#logs.values()) this.#bound(log);
  }

  /** The stream is full: its oldest events go, whatever their rooms may keep. */
  drop(events: number): void {
    this.dropped = Math.min(this.seq, this.dropped + events);
    for (const log of this.#logs.values()) {
      while (log.kept < log.events.length && (log.events[log.kept] as RoomEvent).seq <= this.dropped)
        log.shift();
    }
  }

  /** Somebody has deleted the stream, and it is made anew. */
  recreate(): void {
    this.epoch = `d${++this.#epochs}`;
    this.seq = 0;
    this.dropped = 0;
    this.#logs.clear();
    this.#messages.clear();
  }

  #bound(log: RoomLog): void {
    const { history } = log.ref.policy;
    if (history === undefined) return;
    const since = this.#clock.now() - history.ageMs;
    const over = () => {
      const oldest = log.events[log.kept];
      if (oldest === undefined) return false;
      const count = log.events.length - log.kept;
      return count > history.count || log.bytes > history.bytes || oldest.ts < since;
    };
    while (over()) log.shift();
  }

  #oldestKept(epoch: string, room: string): number | undefined {
    if (epoch !== this.epoch) return undefined;
    const log = this.#logs.get(room);
    return log?.events[log.kept]?.seq;
  }
}
