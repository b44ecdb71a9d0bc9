import assert from 'node:assert/strict';
import type { EventFrame, GapFrame, JoinedFrame, ServerFrame } from '../../src/protocol/frames.ts';

interface Place {
  epoch: string;
  seq: number;
  /** Positions of events received, in order. */
  readonly seen: number[];
  catchingUp: boolean;
}

/**
 * A client that knows nothing but the specification, and checks the server's promises on every frame that it
 * receives: order, the chain of `prev`, holes named by gaps, acks after their events.
 */
export class StrictReader {
  readonly rooms = new Map<string, Place>();
  /** The last place in rooms that were left, to come back from. */
  readonly left = new Map<string, { epoch: string; seq: number }>();
  readonly payloads = new Map<number, unknown>();
  readonly acked = new Map<string, number>();
  gaps = 0;
  readonly #silent = new Set<string>();

  /** A publish with `echo: false` is on its way: its ack stands for the event. */
  expectSilent(msgId: string): void {
    this.#silent.add(msgId);
  }

  read(frames: readonly ServerFrame[]): void {
    for (const frame of frames) this.#frame(frame);
  }

  disconnect(): void {
    for (const [room, { epoch, seq }] of this.rooms) this.left.set(room, { epoch, seq });
    this.rooms.clear();
    this.#silent.clear();
  }

  #frame(frame: ServerFrame): void {
    switch (frame.type) {
      case 'joined':
        return this.#joined(frame);
      case 'event':
        return this.#event(frame);
      case 'gap':
        return this.#gap(frame);
      case 'caught_up':
        return this.#caughtUp(frame.room, frame.seq);
      case 'left':
        return this.#leave(frame.room);
      case 'ack':
        return this.#ack(frame.room, frame.msgId, frame.seq);
      default:
    }
  }

  #joined(frame: JoinedFrame): void {
    assert.ok(!this.rooms.has(frame.room), `joined ${frame.room} twice`);
    const before = this.left.get(frame.room);
    const resumed = frame.recovered === 'full' || frame.recovered === 'partial';
    const seq = resumed && before !== undefined ? before.seq : frame.seq;
    if (frame.recovered === 'full') assert.equal(frame.epoch, before?.epoch);
    this.rooms.set(frame.room, {
      epoch: frame.epoch,
      seq,
      seen: [],
      catchingUp: frame.recovered !== 'fresh',
    });
  }

  #event(frame: EventFrame): void {
    if (frame.seq === undefined) return;
    const place = this.rooms.get(frame.room);
    assert.ok(place, `an event of ${frame.room}, which is not joined`);
    assert.equal(frame.prev, place.seq, `room ${frame.room}: prev of ${frame.seq}`);
    assert.ok(frame.seq > place.seq, `room ${frame.room}: ${frame.seq} after ${place.seq}`);
    place.seq = frame.seq;
    place.seen.push(frame.seq);
    this.payloads.set(frame.seq, frame.payload);
  }

  #gap(frame: GapFrame): void {
    const place = this.rooms.get(frame.room);
    assert.ok(place, `a gap in ${frame.room}, which is not joined`);
    if (frame.reason !== 'epoch') assert.equal(frame.from, place.seq, `room ${frame.room}: gap.from`);
    assert.ok(frame.to >= frame.from);
    place.seq = frame.to;
    this.gaps++;
  }

  #caughtUp(room: string, seq: number): void {
    const place = this.rooms.get(room);
    assert.ok(place, `caught up in ${room}, which is not joined`);
    assert.equal(place.seq, seq, `room ${room}: caught_up`);
    place.catchingUp = false;
  }

  #leave(room: string): void {
    const place = this.rooms.get(room);
    if (place !== undefined) this.left.set(room, { epoch: place.epoch, seq: place.seq });
    this.rooms.delete(room);
  }

  #ack(room: string, msgId: string | undefined, seq: number | undefined): void {
    if (msgId === undefined || seq === undefined) return;
    this.acked.set(msgId, seq);
    const place = this.rooms.get(room);
    if (place === undefined || place.catchingUp) return;
    if (this.#silent.delete(msgId)) {
      // A duplicate's ack names an event long past.
      if (seq > place.seq) place.seq = seq;
      return;
    }
    assert.ok(place.seq >= seq, `room ${room}: the ack of ${seq} came before its event`);
  }
}
