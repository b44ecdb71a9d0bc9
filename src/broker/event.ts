import { encodeMsgpack } from '../protocol/msgpack.ts';
import type { Connection } from './ports.ts';

export interface EventFields {
  readonly room: string;
  /** JSON text, as published. */
  readonly payload: string;
  /** Both absent on an ephemeral event. */
  readonly seq?: number;
  readonly prev?: number;
  readonly ts: number;
  readonly from: string;
  readonly msgId?: string | undefined;
  readonly key?: string | undefined;
  readonly skip?: Connection | undefined;
}

/** What an event costs in memory beside its text: the object, its slot in a tail, string headers. Measured. */
const OBJECT_BYTES = 160;

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
  /** The whole event frame as JSON text. */
  readonly json: string;
  /** The publisher's connection, when it asked not to see its own event. */
  readonly skip: Connection | undefined;
  readonly #payloadAt: number;
  #msgpack: Uint8Array | undefined;

  constructor(fields: EventFields) {
    this.seq = fields.seq ?? 0;
    this.prev = fields.prev ?? 0;
    this.ts = fields.ts;
    this.key = fields.key;
    this.ephemeral = fields.seq === undefined;
    this.skip = fields.skip;
    const head = headOf(fields);
    this.#payloadAt = head.length;
    this.json = `${head}${fields.payload}}`;
  }

  /** The payload as JSON text. */
  get payload(): string {
    return this.json.slice(this.#payloadAt, -1);
  }

  /** The whole event frame as MessagePack, made at the first call. */
  get msgpack(): Uint8Array {
    this.#msgpack ??= encodeMsgpack(JSON.parse(this.json));
    return this.#msgpack;
  }

  /** Bytes that keeping this event costs now. */
  get bytes(): number {
    return OBJECT_BYTES + this.json.length + (this.#msgpack?.byteLength ?? 0);
  }
}

/** `payload` stands last, so that the text up to it is all there is to build per event. */
function headOf(fields: EventFields): string {
  const place = fields.seq === undefined ? '"ephemeral":true' : `"seq":${fields.seq},"prev":${fields.prev ?? 0}`;
  const msgId = fields.msgId === undefined ? '' : `"msgId":${JSON.stringify(fields.msgId)},`;
  const key = fields.key === undefined ? '' : `"key":${JSON.stringify(fields.key)},`;
  return `{"type":"event","room":"${fields.room}",${place},"ts":${fields.ts},"from":${JSON.stringify(fields.from)},${msgId}${key}"payload":`;
}
