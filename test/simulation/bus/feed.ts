import { type EventFields, RoomEvent } from '../../../src/broker/event.ts';
import type { RoomRef, RoomSink, Skip } from '../../../src/broker/ports.ts';
import type { Truth } from '../truth.ts';
import type { RoomLog } from './store.ts';

interface Waiter {
  readonly seq: number;
  readonly then: (seen: boolean) => void;
}

/** A durable room that a simulated node listens to. */
export class SimFeed {
  readonly ref: RoomRef;
  sink: RoomSink | undefined;
  /** undefined: opening. */
  epoch: string | undefined;
  /** The room as it was when the feed was opened: of this epoch. */
  log: RoomLog;
  last = 0;
  /** Everything up to here is lost to this node. */
  floor = 0;
  readonly skips = new Map<number, Skip>();
  /** Events that have come as messages: kept by the store or not, they can be handed out. */
  readonly came = new Set<number>();
  readonly #truth: Truth;
  #waiters: Waiter[] = [];

  constructor(ref: RoomRef, log: RoomLog, sink: RoomSink, truth: Truth) {
    this.ref = ref;
    this.#truth = truth;
    this.log = log;
    this.sink = sink;
  }

  opened(log: RoomLog, epoch: string, last: number): void {
    this.log = log;
    this.epoch = epoch;
    this.last = last;
    this.floor = 0;
    this.came.clear();
    this.skips.clear();
    this.sink?.opened({ epoch, seq: last });
    this.settle();
  }

  reset(): void {
    this.epoch = undefined;
    for (const { then } of this.#waiters.splice(0)) then(false);
  }

  saw(seq: number): boolean {
    return this.sink === undefined || (this.epoch !== undefined && this.last >= seq);
  }

  whenSeen(seq: number, then: (seen: boolean) => void): void {
    if (this.saw(seq)) then(true);
    else this.#waiters.push({ seq, then });
  }

  settle(): void {
    const done = this.#waiters.filter(({ seq }) => this.saw(seq));
    this.#waiters = this.#waiters.filter(({ seq }) => !this.saw(seq));
    for (const { then } of done) then(true);
  }

  /** Hands out what follows, up to a place of the log; what neither came nor is kept is a gap. */
  advance(upTo: number): void {
    const { log } = this;
    const end = log.after(upTo);
    let lost = 0;
    for (let at = log.after(this.last); at < end; at++) {
      const event = log.events[at] as RoomEvent;
      if (at < log.kept && !this.came.has(event.seq)) {
        lost = event.seq;
        this.#truth.lost(this.epoch as string, lost);
        continue;
      }
      this.#gap(lost);
      lost = 0;
      this.#hand(event);
    }
    this.#gap(lost);
    this.settle();
  }

  /** Outside the order. */
  pass(fields: Omit<EventFields, 'room' | 'seq' | 'prev'>): void {
    if (this.epoch !== undefined) this.sink?.event(new RoomEvent({ ...fields, room: this.ref.name }));
    else fields.skip?.placed(undefined);
  }

  #gap(to: number): void {
    if (to === 0) return;
    const from = this.last;
    this.last = to;
    this.floor = to;
    this.sink?.gap(from, to, 'bus');
  }

  #hand(event: RoomEvent): void {
    const skip = this.skips.get(event.seq);
    this.skips.delete(event.seq);
    this.came.delete(event.seq);
    const prev = this.last;
    this.last = event.seq;
    this.sink?.event(skip === undefined && event.prev === prev ? event : copied(event, prev, skip));
  }
}

/** The same event, as seen from another position or with the publisher that is to be skipped. */
export function copied(event: RoomEvent, prev: number, skip?: Skip): RoomEvent {
  const { room, from, msgId } = JSON.parse(event.json) as { room: string; from: string; msgId?: string };
  const { payload, seq, ts, key } = event;
  return new RoomEvent({ room, payload, seq, prev, ts, from, msgId, key, skip });
}
