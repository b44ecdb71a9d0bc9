import type { ClientFrame, Encoding, ServerFrame, Subprotocol } from '../protocol/frames.ts';

export type Data = string | Uint8Array<ArrayBuffer>;

export interface Codec {
  readonly subprotocol: Subprotocol;
  /** Throws for a payload that the encoding cannot express: a cycle, a BigInt, a function. */
  encode(frames: ClientFrame | readonly ClientFrame[]): Data;
  /** Throws if the server sent something else than frames. */
  decode(data: unknown): readonly ServerFrame[];
}

const utf8 = new TextEncoder();

/** Bytes on the wire; exact, but measured only where text could be near `limit`. */
export function sizeOf(data: Data, limit: number): number {
  if (typeof data !== 'string') return data.byteLength;
  // A UTF-16 unit takes at most three bytes of UTF-8.
  return data.length * 3 <= limit ? data.length : utf8.encode(data).byteLength;
}

function framesOf(value: unknown): readonly ServerFrame[] {
  const frames: readonly unknown[] = Array.isArray(value) ? value : [value];
  for (const frame of frames) {
    if (typeof (frame as { type?: unknown } | null)?.type !== 'string')
      throw new TypeError('a message of the server is no frame');
  }
  return frames as readonly ServerFrame[];
}

export const jsonCodec: Codec = {
  subprotocol: 'chat.v1',
  encode: (frames) => JSON.stringify(frames),
  decode: (data) => {
    if (typeof data !== 'string') throw new TypeError('a binary message in chat.v1');
    return framesOf(JSON.parse(data));
  },
};

async function msgpackCodec(): Promise<Codec> {
  const { Packr } = await import('msgpackr');
  // Records are an extension of msgpackr that no other server would understand.
  const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });
  return {
    subprotocol: 'chat.v1.msgpack',
    // msgpackr reuses its buffer, and the socket may send later.
    encode: (frames) => new Uint8Array(packr.pack(withoutUndefined(frames))),
    decode: (data) => {
      if (!(data instanceof ArrayBuffer)) throw new TypeError('a text message in chat.v1.msgpack');
      return framesOf(packr.unpack(new Uint8Array(data)));
    },
  };
}

/** What JSON would leave out or rewrite (undefined, Date, toJSON): both encodings carry the same payloads. */
function withoutUndefined(frames: ClientFrame | readonly ClientFrame[]): unknown {
  return JSON.parse(JSON.stringify(frames));
}

/** Rejects if the package msgpackr is not installed. */
export async function loadCodec(encoding: Encoding): Promise<Codec> {
  return encoding === 'json' ? jsonCodec : msgpackCodec();
}
