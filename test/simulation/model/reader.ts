import assert from 'node:assert/strict';
import { roomKey } from '../../../src/broker/rooms.ts';
import type {
  AckFrame,
  ErrorFrame,
  HistoryPageFrame,
  JoinedFrame,
  Position,
  ServerFrame,
  ServerInfoFrame,
} from '../../../src/protocol/frames.ts';
import type { Truth } from '../truth.ts';
import { type Join, Place, sameEvent } from './place.ts';

export interface Message {
  readonly room: string;
  readonly msgId: string | undefined;
  readonly n: number;
  /** Epochs in which it was acknowledged, with its position. */
  readonly acked: Map<string, number>;
  attempts: number;
}

interface Publish {
  readonly type: 'pub';
  readonly room: string;
  readonly message: Message | undefined;
  readonly echo: boolean;
  /** The client was in the room when it published. */
  readonly place: Place | undefined;
}

interface HistoryRequest {
  readonly type: 'history';
  readonly room: string;
  readonly after: number | undefined;
  readonly before: number | undefined;
  readonly limit: number;
}

export type Request =
  | Publish
  | HistoryRequest
  | ({ readonly type: 'join' } & Join)
  | { readonly type: 'leave' | 'seen' | 'refresh' | 'ping'; readonly room: string };

/** Refusals that a correct client has to expect in the simulation. */
const EXPECTED = new Set(['unavailable', 'overloaded', 'not_joined', 'already_joined', 'forbidden']);

/**
 * A client that is told everything about what really happened, and explains each frame that it gets by the promises
 * of docs/protocol.md, section 5. What it cannot explain is a failure.
 */
export class ModelReader {
  readonly user: string;
  readonly #truth: Truth;
  readonly places = new Map<string, Place>();
  /** The last position in rooms that the client is not in. */
  readonly left = new Map<string, Position>();
  readonly requests = new Map<number, Request>();
  info: ServerInfoFrame | undefined;
  ticket: string | undefined;
  wasSlow = false;
  /** What came, by type and kind. */
  readonly met: Map<string, number>;

  constructor(user: string, truth: Truth, met: Map<string, number>) {
    this.user = user;
    this.#truth = truth;
    this.met = met;
  }

  disconnected(): void {
    for (const room of [...this.places.keys()]) this.#forget(room);
    this.requests.clear();
    this.info = undefined;
    this.wasSlow = false;
  }

  /** By the server: it says why only as it has promised. */
  closed(code: number): void {
    this.#count(`close ${code}`);
    assert.ok([1006, 4008, 4102, 4200, 4201].includes(code), `closed with ${code}`);
    if (code === 4102) assert.ok(this.wasSlow, 'only slow readers are closed for it');
    this.disconnected();
  }

  read(frame: ServerFrame): void {
    if (this.info === undefined) assert.equal(frame.type, 'server_info', 'the first frame');
    this.#count(frame.type);
    switch (frame.type) {
      case 'server_info':
        assert.equal(this.info, undefined, 'server_info once');
        this.info = frame;
        this.ticket = frame.ticket;
        return;
      case 'ticket':
      case 'drain':
        this.ticket = frame.ticket;
        return;
      case 'joined':
        return this.#joined(frame);
      case 'event':
        if (frame.seq !== undefined) return this.#place(frame.room).event(frame);
        this.#place(frame.room);
        return;
      case 'gap':
        this.#count(`gap ${frame.reason} ${frame.action}`);
        return this.#place(frame.room).gap(frame, this.wasSlow);
      case 'caught_up':
        return this.#place(frame.room).caughtUp(frame.seq, this.wasSlow);
      case 'left':
        return this.#left(frame.room, frame.id, frame.code !== undefined);
      case 'ack':
        return this.#ack(frame);
      case 'history':
        return this.#history(frame);
      case 'refreshed':
      case 'pong':
        this.#answered(frame.id, frame.type === 'pong' ? 'ping' : 'refresh');
        return;
      case 'error':
        return this.#error(frame);
      default:
    }
  }

  #count(what: string): void {
    this.met.set(what, (this.met.get(what) ?? 0) + 1);
  }

  #place(room: string): Place {
    const place = this.places.get(room);
    assert.ok(place, `something of ${room}, which is not joined`);
    return place;
  }

  #answered<T extends Request['type']>(id: unknown, type: T): Request & { type: T } {
    const request = this.requests.get(id as number);
    assert.equal(request?.type, type, `an answer to request ${id}`);
    this.requests.delete(id as number);
    return request as Request & { type: T };
  }

  #joined(frame: JoinedFrame): void {
    const request = this.#answered(frame.id, 'join');
    assert.ok(!this.places.has(frame.room), `joined ${frame.room} twice`);
    this.#count(`joined ${frame.recovered}`);
    const key = roomKey('default', frame.room);
    this.places.set(frame.room, new Place(key, frame, request, this.#truth));
  }

  #left(room: string, id: unknown, byServer: boolean): void {
    if (byServer) {
      this.#count('left by the server');
      assert.ok(this.places.has(room) || this.#joining(room), `left ${room}, which was not joined`);
    } else this.#answered(id, 'leave');
    this.#forget(room);
    // Who leaves before the answer to the join has come gets none.
    for (const [key, request] of this.requests)
      if (request.type === 'join' && request.room === room && !byServer && key < (id as number))
        this.requests.delete(key);
  }

  #joining(room: string): boolean {
    return [...this.requests.values()].some((request) => request.type === 'join' && request.room === room);
  }

  #forget(room: string): void {
    const place = this.places.get(room);
    if (place?.seq !== undefined) this.left.set(room, { epoch: place.epoch, seq: place.seq });
    this.places.delete(room);
  }

  #ack(frame: AckFrame): void {
    const { message, echo, room, place: at } = this.#answered(frame.id, 'pub');
    assert.equal(frame.room, room);
    assert.equal(frame.msgId, message?.msgId);
    const { seq, epoch, duplicate } = frame;
    if (message === undefined || seq === undefined || epoch === undefined) {
      assert.equal(seq, undefined, 'an ephemeral event has no position');
      return;
    }
    this.#stored(message, epoch, seq, duplicate === true);
    const place = this.places.get(room);
    if (place?.epoch !== epoch) return;
    const silent = !echo && duplicate !== true;
    if (place !== at || place.catchingUp || place.seq === undefined) {
      if (silent) place.perhapsSilent(seq);
      return;
    }
    if (silent) place.silent(seq);
    else place.goneTo(seq);
    assert.ok(place.seq >= seq, `the ack of ${seq} came before its event, at ${place.seq}`);
  }

  #stored(message: Message, epoch: string, seq: number, duplicate: boolean): void {
    const order = this.#truth.order(epoch, roomKey('default', message.room));
    const before = message.acked.get(epoch);
    const kept = order.at(seq);
    // Nobody hears an event of a live room where it has no members.
    if (kept === undefined && message.room.startsWith('live:')) return;
    assert.ok(kept, `the ack names ${seq}, which was never stored`);
    assert.equal(
      (JSON.parse(kept.payload) as { n: number }).n,
      message.n,
      `the ack of another event: ${seq}`,
    );
    if (message.msgId === undefined || message.room.startsWith('live:')) return;
    if (duplicate) {
      this.#count('duplicates');
      assert.ok(message.attempts > 1, 'a duplicate was published before');
    }
    assert.equal(before ?? seq, seq, 'a duplicate has the first position');
    message.acked.set(epoch, seq);
  }

  #history(frame: HistoryPageFrame): void {
    const { room, after, before, limit } = this.#answered(frame.id, 'history');
    const order = this.#truth.order(frame.epoch, roomKey('default', room));
    assert.ok(frame.events.length <= limit);
    let last: number | undefined;
    for (const event of frame.events) {
      const seq = event.seq as number;
      const fact = last === undefined ? order.at(seq) : order.next(last);
      assert.equal(fact?.seq, seq, 'history leaves nothing out');
      sameEvent(event, fact);
      assert.ok(seq > (after ?? -1) && seq < (before ?? Number.POSITIVE_INFINITY), 'within the asked range');
      last = seq;
    }
    const first = frame.events[0]?.seq;
    if (after !== undefined && first !== undefined && frame.truncated !== true)
      assert.equal(
        order.next(after)?.seq,
        first,
        'history begins after the position, or says that it does not',
      );
  }

  #error(frame: ErrorFrame): void {
    assert.ok(EXPECTED.has(frame.code), `${frame.code}: ${frame.reason}`);
    this.#count(`error ${frame.code}`);
    const request = this.requests.get(frame.id as number);
    assert.ok(request, `an error that answers nothing: ${frame.code}`);
    if (request.type !== 'seen') this.requests.delete(frame.id as number);
  }
}
