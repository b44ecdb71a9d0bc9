import type { Encoding, GapReason } from '../protocol/frames.ts';
import { bytesOf, type Encoded, encodeEvents, encodeFrame } from './encode.ts';
import type { RoomEvent } from './event.ts';
import type { Witness } from './fate/witness.ts';
import { Holding } from './holding.ts';
import { Meter } from './meter.ts';
import type { After, Clock, Defer, Fanout, Log } from './ports.ts';
import type { Room, RoomHost } from './room.ts';
import type { Batching } from './settings.ts';
import type { Tally } from './tally.ts';
import type { Tracing } from './tracing.ts';

/** Somebody whose answers wait until the events of this turn are out: an ack may not overtake its event. */
export interface Answerable {
  flushAnswers(): void;
}

/** Of an array in JSON; between its frames there is one byte less than there are frames. */
const BRACKETS = 2;

/** A room that gathers more than this within one turn is flushed at once, to bound what a turn holds. */
const TURN_BYTES = 512 * 1024;

export interface DeliveryParts {
  readonly fanout: Fanout;
  readonly batching: Batching;
  readonly defer: Defer;
  readonly after: After;
  readonly clock: Clock;
  readonly log: Pick<Log, 'error'>;
  readonly tally: Tally;
  readonly tracing: Tracing;
  readonly witness: Witness;
}

/**
 * Events on their way from the bus to the sockets. They are gathered per room for one turn of the loop, or where
 * the room's pattern asks for it up to its `batchMs`, and published outside every message handler: publishing inside one costs 14 times the CPU, because the
 * publisher's socket holds the only cork buffer of uWebSockets.js, and every subscriber's bytes then go out
 * in a system call per message.
 */
export class Delivery implements RoomHost {
  readonly #fanout: Fanout;
  readonly #batching: Batching;
  readonly #holding: Holding;
  readonly #defer: Defer;
  readonly #clock: Clock;
  readonly #log: Pick<Log, 'error'>;
  readonly #tally: Tally;
  readonly #tracing: Tracing;
  readonly #witness: Witness;
  #rooms: Room[] = [];
  #answers: Answerable[] = [];
  #scheduled = false;
  /** Bytes handed to topics since the last flush, however many receivers they have. */
  #published = 0;
  #onPublished: (bytes: number) => void = () => {};

  constructor({ fanout, batching, defer, after, clock, log, tally, tracing, witness }: DeliveryParts) {
    this.#fanout = fanout;
    this.#batching = batching;
    this.#holding = new Holding(after, (rooms) => {
      this.#rooms = this.#rooms.concat(rooms);
      this.flush();
    });
    this.#defer = defer;
    this.#clock = clock;
    this.#log = log;
    this.#tally = tally;
    this.#tracing = tracing;
    this.#witness = witness;
  }

  gathered(room: Room, event: RoomEvent): void {
    if (room.pending === undefined) {
      room.pending = [event];
      if (room.batchMs > 0) this.#holding.hold(room);
      else this.#flushLater(room);
    } else {
      room.pending.push(event);
    }
    room.pendingBytes += event.size;
    if (event.traceparent !== undefined) this.#tracing.arrived(room.ref, event);
    if (event.ephemeral) room.passing++;
    if (room.pendingBytes > TURN_BYTES) this.flushRoom(room);
    else if (room.held && this.#fills(room, event)) this.#flushLater(room);
  }

  passed(room: Room, event: RoomEvent): void {
    this.#witness.passed(room, event);
    event.placed();
  }

  lost(room: Room, from: number, to: number, reason: GapReason): void {
    this.flushRoom(room);
    this.#tally.gap(reason);
    this.#witness.lost(room, from, to, reason);
    const frame = { type: 'gap', room: room.ref.name, from, to, reason, action: 'skip' } as const;
    for (const encoding of ['json', 'msgpack'] as const) {
      if (room[encoding] === 0) continue;
      const data = encodeFrame(frame, encoding);
      this.#fanout.publish(room.topic(encoding), data, encoding);
      this.sent(room, room[encoding], data);
    }
  }

  /** Counts a frame that went to a topic of the room; gives its bytes. */
  sent(room: Pick<Room, 'tenant'>, receivers: number, data: Encoded): number {
    const bytes = bytesOf(data);
    this.#tally.framesOut += receivers;
    this.#tally.bytesOut += receivers * bytes;
    room.tenant.usage.bytesOut += receivers * bytes;
    return bytes;
  }

  /** `then` runs after each flush, outside every handler, with the bytes that went to topics. */
  whenPublished(then: (bytes: number) => void): void {
    this.#onPublished = then;
  }

  /** `flushAnswers` runs once, after the events gathered so far. */
  answerLater(answerable: Answerable): void {
    this.#answers.push(answerable);
    this.#schedule();
  }

  flush(): void {
    this.#scheduled = false;
    const rooms = this.#rooms;
    this.#rooms = [];
    for (const room of rooms) this.flushRoom(room);
    const answers = this.#answers;
    this.#answers = [];
    for (const answerable of answers) answerable.flushAnswers();
    const bytes = this.#published;
    this.#published = 0;
    this.#onPublished(bytes);
  }

  /** Publishes what the room has gathered. A join or leave calls this first: its boundary must be exact. */
  flushRoom(room: Room): void {
    const events = room.pending;
    if (events === undefined) return;
    room.pending = undefined;
    try {
      this.#flushEvents(room, events);
    } catch (error) {
      this.#failed(room, events, error);
    }
    room.pendingBytes = 0;
    room.passing = 0;
    room.flushed();
  }

  /** The fault of one room is that room's: its members are told what they miss, and the others get theirs. */
  #failed(room: Room, events: readonly RoomEvent[], error: unknown): void {
    const { tenant, name } = room.ref;
    this.#log.error({ err: error, tenant, room: name }, 'the events of a room could not be sent');
    for (const event of events) event.placed();
    const stored = events.filter(({ ephemeral }) => !ephemeral);
    const [first, last] = [stored[0], stored.at(-1)];
    if (first !== undefined && last !== undefined) this.lost(room, first.prev, last.seq, 'encoding');
  }

  #flushEvents(room: Room, events: readonly RoomEvent[]): void {
    const now = this.#clock.now();
    this.#observe(room, events, now);
    this.#witness.handed(room, events, now);
    let start = 0;
    for (let at = 0; at < events.length; at++) {
      const event = events[at] as RoomEvent;
      if (event.skip === undefined) continue;
      this.#publishRun(room, events, start, at);
      this.#publishSkipping(room, event);
      start = at + 1;
    }
    this.#publishRun(room, events, start, events.length);
    if (this.#tracing.arriving > 0) this.#traced(room, events);
  }

  #traced({ json, msgpack }: Room, events: readonly RoomEvent[]): void {
    for (const event of events)
      if (event.traceparent !== undefined) this.#tracing.delivered(event, json + msgpack);
  }

  /** Whether the frame of a room that waits has become full with this event: then there is nothing to wait for. */
  #fills(room: Room, event: RoomEvent): boolean {
    const { batchEvents, batchBytes } = this.#batching;
    const before = room.pendingBytes - event.size;
    return room.pending?.length === batchEvents || (before < batchBytes && room.pendingBytes >= batchBytes);
  }

  #flushLater(room: Room): void {
    this.#rooms.push(room);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#defer(() => this.flush());
  }

  /** Publish-to-deliver, seen at the oldest event of the batch. */
  #observe(room: Room, events: readonly RoomEvent[], now: number): void {
    const oldest = events[0] as RoomEvent;
    this.#tally.delivery.observe(Math.max(0, now - oldest.ts));
    room.meter ??= new Meter();
    room.meter.add(events.length, room.pendingBytes, now);
  }

  /** events[start, end) as as few frames as the frame bounds allow. */
  #publishRun(room: Room, events: readonly RoomEvent[], start: number, end: number): void {
    const { batchEvents, batchBytes } = this.#batching;
    let from = start;
    while (from < end) {
      let to = from;
      let bytes = BRACKETS - 1;
      while (to < end && to - from < batchEvents) {
        bytes += (events[to] as RoomEvent).size + 1;
        if (bytes > batchBytes && to > from) break;
        to++;
      }
      const frame = from === 0 && to === events.length ? events : events.slice(from, to);
      if (room.json > 0) this.#publishFrame(room, frame, 'json');
      if (room.msgpack > 0) this.#publishFrame(room, frame, 'msgpack');
      from = to;
    }
  }

  #publishFrame(room: Room, events: readonly RoomEvent[], encoding: Encoding): void {
    const data = encodeEvents(events, encoding);
    const receivers = room[encoding];
    this.#fanout.publish(room.topic(encoding), data, encoding);
    this.#published += this.sent(room, receivers, data);
    const passing = room.passing === 0 ? 0 : events.filter(({ ephemeral }) => ephemeral).length;
    this.#delivered(room, receivers * (events.length - passing), receivers * passing);
  }

  /** Ephemeral events are on no account that a quota is about. */
  #delivered(room: Room, deliveries: number, ephemeral: number): void {
    this.#tally.deliveries += deliveries + ephemeral;
    room.tenant.usage.deliveries += deliveries;
    room.tenant.usage.ephemeralDeliveries += ephemeral;
    room.tenant.delivered(deliveries);
  }

  /** `echo: false`: everybody but the publisher gets the event, and the ack takes its place there. */
  #publishSkipping(room: Room, event: RoomEvent): void {
    const skip = event.skip;
    if (skip === undefined) return;
    for (const encoding of ['json', 'msgpack'] as const) {
      if (room[encoding] === 0) continue;
      const data = encodeEvents([event], encoding);
      const receivers = room[encoding] - (skip.connection.encoding === encoding ? 1 : 0);
      this.#fanout.publishExcept(skip.connection, room.topic(encoding), data, encoding);
      this.#published += this.sent(room, receivers, data);
      this.#delivered(room, event.ephemeral ? 0 : receivers, event.ephemeral ? receivers : 0);
    }
    event.placed();
  }
}
