import type { Msg } from '@nats-io/nats-core';
import { decodeMeta, type Meta, payloadText } from './headers.ts';

/** An event of a room as NATS gave it, live or from the store. */
export interface Arrival {
  /** The place in the stream, which is the place in the room too. */
  readonly seq: number;
  readonly meta: Meta;
  /** JSON text. */
  readonly payload: string;
}

/** undefined: not a message of ours. `text` are its headers. */
export function arrivalOf(msg: Msg, text: string, seq: number): Arrival | undefined {
  const meta = decodeMeta(text);
  return meta && { seq, meta, payload: payloadText(msg) };
}
