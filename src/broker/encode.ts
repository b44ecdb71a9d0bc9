/** Frames to bytes, in the encoding of a connection. One place, so that no other file asks which it is. */
import type { Encoding, ServerFrame } from '../protocol/frames.ts';
import { encodeJson, joinJson } from '../protocol/json.ts';
import { encodeMsgpack, joinMsgpack } from '../protocol/msgpack.ts';
import type { RoomEvent } from './event.ts';

export type Encoded = string | Uint8Array;

/** On the wire, without what WebSocket adds. */
export function bytesOf(data: Encoded): number {
  return typeof data === 'string' ? Buffer.byteLength(data) : data.byteLength;
}

export function encodeFrame(frame: ServerFrame, encoding: Encoding): Encoded {
  return encoding === 'json' ? encodeJson(frame) : encodeMsgpack(frame);
}

/** Frames that are encoded already, as one message: one frame as itself, several as an array. */
export function joinEncoded(frames: readonly Encoded[], encoding: Encoding): Encoded {
  return encoding === 'json'
    ? joinJson(frames as readonly string[])
    : joinMsgpack(frames as readonly Uint8Array[]);
}

export function encodeEvent(event: RoomEvent, encoding: Encoding): Encoded {
  return encoding === 'json' ? event.json : event.msgpack;
}

export function encodeEvents(events: readonly RoomEvent[], encoding: Encoding): Encoded {
  const first = events[0];
  if (events.length === 1 && first !== undefined) return encodeEvent(first, encoding);
  return encoding === 'json'
    ? joinJson(events.map((event) => event.json))
    : joinMsgpack(events.map((event) => event.msgpack));
}
