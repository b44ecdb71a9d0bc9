/**
 * Live rooms: core NATS between the nodes, at most once, nothing kept. An event reaches the members here at once and
 * never comes back (`noEcho`). Each node counts for itself, so that positions mean something under its epoch only.
 */
import type { NatsConnection, Subscription } from '@nats-io/nats-core';
import { RoomEvent } from '../../broker/event.ts';
import type {
  HistoryPage,
  HistoryQuery,
  Publication,
  ReplayPage,
  ReplaySince,
  RoomRef,
  RoomSink,
  Settle,
} from '../../broker/ports.ts';
import type { Env } from './env.ts';
import { guarded } from './guard.ts';
import { decodeMeta, encodeMeta, headerText, payloadText } from './headers.ts';
import { Lingering } from './linger.ts';
import type { NatsOptions } from './options.ts';
import type { Outlet } from './outlet.ts';
import type { Turns } from './turns.ts';

export interface LiveParts extends Env {
  readonly connection: NatsConnection;
  readonly outlet: Outlet;
  readonly options: NatsOptions;
  readonly epoch: string;
  readonly turns: Turns;
  /** Whether what is sent now has a chance to arrive. */
  readonly reachable: () => boolean;
}

class LiveRoom {
  readonly ref: RoomRef;
  readonly subject: string;
  sink: RoomSink | undefined;
  subscription: Subscription | undefined = undefined;
  last = 0;
  opened = false;

  constructor(ref: RoomRef, subject: string, sink: RoomSink) {
    this.ref = ref;
    this.subject = subject;
    this.sink = sink;
  }
}

export class LiveRooms {
  readonly #parts: LiveParts;
  readonly #rooms = new Map<string, LiveRoom>();
  readonly #lingering: Lingering<LiveRoom>;
  readonly #refused = (error: unknown) => {
    this.unsent++;
    this.#parts.log.debug({ err: error }, 'NATS does not take a live event');
  };
  #seq = 0;
  /** One round trip for all rooms that are opened within a turn. */
  #barrier: Promise<void> | undefined;
  /** Sent while NATS was away or did not keep up: the members here have them, the other nodes do not. */
  unsent = 0;

  constructor(parts: LiveParts) {
    this.#parts = parts;
    this.#lingering = new Lingering(parts.options.lingerMs);
  }

  get size(): number {
    return this.#rooms.size;
  }

  open(ref: RoomRef, subject: string, sink: RoomSink): void {
    const known = this.#rooms.get(ref.key);
    if (known !== undefined) {
      if (known.sink !== undefined) throw new Error(`the room ${ref.name} is open here already`);
      this.#lingering.remove(known);
      known.sink = sink;
      if (known.opened) sink.opened({ epoch: this.#parts.epoch, seq: known.last });
      return;
    }
    const room = new LiveRoom(ref, subject, sink);
    this.#rooms.set(ref.key, room);
    room.subscription = this.#listen(room);
    if (this.#parts.reachable()) this.#flushed().then(() => this.#opened(room));
    else this.#opened(room);
  }

  shut(ref: RoomRef): void {
    const room = this.#rooms.get(ref.key);
    if (room?.sink === undefined) return;
    room.sink = undefined;
    this.#lingering.add(room, this.#parts.ticks());
  }

  publish(publication: Publication, subject: string, settle: Settle): void {
    const { room: ref, from, payload, msgId, key, ephemeral, expireMs, skip, traceparent } = publication;
    const ts = this.#parts.now();
    const meta = { ts, from, msgId, key, ephemeral, expireMs, origin: undefined, skip: 0, traceparent };
    this.send(subject, payload, encodeMeta(meta, undefined));
    this.#parts.turns.run(() => {
      const seq = ephemeral ? undefined : ++this.#seq;
      const room = this.#rooms.get(ref.key);
      if (room?.opened)
        this.#hand(room, { room: ref.name, payload, seq, ts, from, msgId, key, expireMs, skip, traceparent });
      settle({ ok: true, epoch: this.#parts.epoch, duplicate: false, ...(seq !== undefined && { seq }) });
    });
  }

  /** To the other nodes, if they can be reached. */
  send(subject: string, payload: string, headers: Uint8Array): void {
    if (this.#parts.reachable())
      this.#parts.outlet.publish(subject, payload, headers, undefined, this.#refused);
    else this.unsent++;
  }

  replay(ref: RoomRef, since: ReplaySince): ReplayPage {
    const { epoch } = this.#parts;
    const page = { ok: true, epoch, recovered: 'full', events: [], remaining: 0 } as const;
    const to = this.#rooms.get(ref.key)?.last ?? this.#seq;
    if ('last' in since || (since.epoch === epoch && since.seq === to)) return page;
    const from = since.seq;
    if (since.epoch !== epoch || from > to)
      return { ...page, recovered: 'none', gap: { from, to, reason: 'epoch' } };
    return { ...page, recovered: 'partial', gap: { from, to, reason: 'retention' } };
  }

  history(ref: RoomRef, query: HistoryQuery): HistoryPage {
    const last = this.#rooms.get(ref.key)?.last ?? this.#seq;
    const truncated =
      query.after !== undefined && query.after < last && query.after + 1 < (query.before ?? Infinity);
    return { ok: true, epoch: this.#parts.epoch, events: [], more: false, truncated };
  }

  /** The connection was away: what other nodes published meanwhile has passed by. */
  missed(): void {
    for (const room of this.#rooms.values()) {
      if (!room.opened) continue;
      const from = room.last;
      room.last = ++this.#seq;
      room.sink?.gap(from, room.last, 'bus');
    }
  }

  has(ref: RoomRef): boolean {
    return this.#rooms.has(ref.key);
  }

  /** Closes a room without members to make place for another; false: there is none. */
  release(): boolean {
    const room = this.#lingering.take();
    if (room !== undefined) this.#close(room);
    return room !== undefined;
  }

  /** Closes what nobody has come back to. */
  expire(): void {
    this.#lingering.expire(this.#parts.ticks(), (room) => this.#close(room));
  }

  close(): void {
    for (const room of [...this.#rooms.values()]) this.#close(room);
  }

  #opened(room: LiveRoom): void {
    if (this.#rooms.get(room.ref.key) !== room) return;
    room.opened = true;
    // A position of its own: somebody who was here before the room was closed may have missed something.
    room.last = ++this.#seq;
    room.sink?.opened({ epoch: this.#parts.epoch, seq: room.last });
  }

  #listen(room: LiveRoom): Subscription {
    return this.#parts.connection.subscribe(room.subject, {
      callback: guarded(this.#parts.log, 'a message from NATS', (error, msg) => {
        if (error !== null) {
          this.#parts.log.error(
            { err: error, subject: room.subject },
            'a live room is not heard from other nodes',
          );
          this.#fail(room);
          return;
        }
        const meta = decodeMeta(headerText(msg, room.subject.length));
        if (meta === undefined || !room.opened) return;
        const { ts, from, msgId, key, expireMs, traceparent } = meta;
        const payload = payloadText(msg);
        const seq = meta.ephemeral ? undefined : ++this.#seq;
        this.#hand(room, { room: room.ref.name, payload, seq, ts, from, msgId, key, expireMs, traceparent });
      }),
    });
  }

  #hand(room: LiveRoom, fields: ConstructorParameters<typeof RoomEvent>[0]): void {
    const prev = room.last;
    room.last = fields.seq ?? room.last;
    room.sink?.event(new RoomEvent(fields.seq === undefined ? fields : { ...fields, prev }));
  }

  #flushed(): Promise<void> {
    this.#barrier ??= Promise.resolve()
      .then(() => {
        this.#barrier = undefined;
        return this.#parts.connection.flush();
      })
      // Disconnected meanwhile: a live room goes on with who is here.
      .catch(() => undefined);
    return this.#barrier;
  }

  /** Members would be told that they are in, and never hear the other nodes. */
  #fail(room: LiveRoom): void {
    const { sink } = room;
    room.sink = undefined;
    this.#close(room);
    sink?.failed({ ok: false, code: 'internal', reason: 'NATS refuses the subscription of the room' });
  }

  #close(room: LiveRoom): void {
    this.#lingering.remove(room);
    this.#rooms.delete(room.ref.key);
    room.subscription?.unsubscribe();
  }
}
