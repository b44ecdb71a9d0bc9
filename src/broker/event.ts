import { encodeMsgpack } from '../protocol/msgpack.ts';
import { parseExact } from '../protocol/numbers.ts';
import { fnv1a32 } from './hash.ts';
import type { Skip } from './socket.ts';

export interface EventFields {
  readonly room: string;
  /** JSON text, as published. */
  readonly payload: string;
  /** Both absent on an ephemeral event. */
  readonly seq?: number | undefined;
  readonly prev?: number | undefined;
  readonly ts: number;
  readonly from: string;
  readonly msgId?: string | undefined;
  readonly key?: string | undefined;
  /** Of an ephemeral event: how long it holds, in milliseconds. */
  readonly expireMs?: number | undefined;
  readonly skip?: Skip | undefined;
  readonly traceparent?: string | undefined;
}

/** Whoever keeps the event and answers for the memory that it takes. */
export interface Keeper {
  /** The event has just become so many bytes heavier. */
  grew(bytes: number): void;
}

/** What an event costs in memory beside its text: the object, its slot in a tail, string headers. Measured. */
const OBJECT_BYTES = 176;
/** What the MessagePack form costs beside its bytes: a typed array and its buffer. Measured. */
const MSGPACK_BYTES = 200;

/** In the place of an event without a position. */
const UNENCODABLE = {
  code: 'internal',
  reason: 'an ephemeral event of this room cannot be written as MessagePack',
  retry: false,
};

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * One event of a room, encoded once per encoding for all its receivers, replays and history answers included.
 * The JSON text is the only copy kept: the payload is cut out of it where somebody needs it.
 */
export class RoomEvent {
  /** 0 on an ephemeral event. */
  readonly seq: number;
  readonly prev: number;
  readonly ts: number;
  readonly key: string | undefined;
  readonly ephemeral: boolean;
  /** As in the frame. */
  readonly traceparent: string | undefined;
  /** Of the msgId, which stands in the text alone; 0 without one. A small integer, which costs no object of its own. */
  readonly idHash: number;
  /** The whole event frame as JSON text. */
  readonly json: string;
  /** Bytes of `json` on the wire. */
  readonly size: number;
  /** Set by the one that keeps the event, so that a later MessagePack form is charged to it as well. */
  keeper: Keeper | undefined;
  /** The publisher, when it asked not to see its own event; until the event has gone out. */
  skip: Skip | undefined;
  /** Its `msgpack` is a gap. */
  unencodable = false;
  readonly #payloadAt: number;
  #msgpack: Uint8Array | undefined;

  constructor(fields: EventFields) {
    this.seq = fields.seq ?? 0;
    this.prev = fields.prev ?? 0;
    this.ts = fields.ts;
    this.key = fields.key;
    this.ephemeral = fields.seq === undefined;
    this.idHash = fields.msgId === undefined ? 0 : hashOf(fields.msgId);
    this.skip = fields.skip;
    this.traceparent = fields.traceparent;
    const head = headOf(fields);
    this.#payloadAt = head.length;
    this.json = `${head}${fields.payload}}`;
    // Counting the bytes also flattens the text. Unflattened it is a tree of its parts, one of them a slice
    // that pins the whole frame it was cut from: 800 instead of 250 bytes for 100 of payload, and without
    // limit where the payload came in a batch. test/broker/event.test.ts holds this.
    this.size = Buffer.byteLength(this.json);
    this.keeper = undefined;
    this.#msgpack = undefined;
  }

  /** The event has gone out to everybody but the publisher to skip. Kept events must not keep its session alive. */
  placed(): void {
    const skip = this.skip;
    this.skip = undefined;
    skip?.placed(this.ephemeral ? undefined : this.seq);
  }

  /** The payload as JSON text. */
  get payload(): string {
    return this.json.slice(this.#payloadAt, -1);
  }

  /**
   * The whole event frame as MessagePack, made at the first call. An event that cannot be written so (another version or
   * another program has stored it) is a `gap` frame in its place: receivers are told, and nobody else is harmed.
   */
  get msgpack(): Uint8Array {
    if (this.#msgpack === undefined) {
      this.#msgpack = this.#encoded();
      this.keeper?.grew(MSGPACK_BYTES + this.#msgpack.byteLength);
    }
    return this.#msgpack;
  }

  #encoded(): Uint8Array {
    try {
      return encodeMsgpack(parseExact(this.json));
    } catch (error) {
      // Nested too deep for the stack, or no JSON.
      if (!(error instanceof RangeError || error instanceof SyntaxError)) throw error;
      this.unencodable = true;
      const { room } = JSON.parse(`${this.json.slice(0, this.#payloadAt)}null}`) as { room: string };
      if (this.ephemeral) return encodeMsgpack({ type: 'error', ...UNENCODABLE, room });
      const place = { from: this.prev, to: this.seq };
      return encodeMsgpack({ type: 'gap', room, ...place, reason: 'encoding', action: 'skip' });
    }
  }

  /**
   * Bytes that keeping this event costs now. Text with any character beyond ASCII counts two bytes per
   * character: V8 keeps it so as soon as one character is beyond Latin-1.
   */
  get bytes(): number {
    const text = this.size === this.json.length ? this.size : 2 * this.json.length;
    const msgpack = this.#msgpack === undefined ? 0 : MSGPACK_BYTES + this.#msgpack.byteLength;
    return OBJECT_BYTES + text + msgpack;
  }
}

export function hashOf(msgId: string): number {
  return fnv1a32(msgId) | 0;
}

/** `payload` stands last, so that the text up to it is all there is to build per event. */
function headOf(fields: EventFields): string {
  const place =
    fields.seq === undefined ? ephemeral(fields) : `"seq":${fields.seq},"prev":${fields.prev ?? 0}`;
  const msgId = fields.msgId === undefined ? '' : `"msgId":${quoted(fields.msgId)},`;
  const key = fields.key === undefined ? '' : `"key":${quoted(fields.key)},`;
  const trace = fields.traceparent === undefined ? '' : `"traceparent":"${fields.traceparent}",`;
  return `{"type":"event","room":"${fields.room}",${place},"ts":${fields.ts},"from":${quoted(fields.from)},${msgId}${key}${trace}"payload":`;
}

function ephemeral({ expireMs }: EventFields): string {
  return expireMs === undefined ? '"ephemeral":true' : `"ephemeral":true,"expireMs":${expireMs}`;
}

/** As JSON.stringify, which takes five times as long for the ids that nearly everybody uses. */
function quoted(text: string): string {
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code < 0x20 || code > 0x7e || code === QUOTE || code === BACKSLASH) return JSON.stringify(text);
  }
  return `"${text}"`;
}
