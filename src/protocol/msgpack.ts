/** chat.v1.msgpack: the same frames as MessagePack maps. Browsers load this module only when they use it. */
import { Packr, RESET_BUFFER_MODE } from 'msgpackr';
import { badJson, EMPTY_BATCH, frameTooLarge } from './fault.ts';
import type { DecodeLimits, Inbound } from './inbound.ts';
import { scanMsgpack } from './scan-msgpack.ts';
import { exceedsUtf8 } from './utf8.ts';
import { payloadTooLarge, validateFrame, withPayloadText } from './validate.ts';

const NOT_MSGPACK = badJson('the frame is not well-formed MessagePack');

/**
 * Records would let a stranger's bytes define structures; `useToJSON` would call what a payload has under "toJSON".
 * `skipValues`, which the library's types do not name, leaves undefined properties out as JSON does.
 */
const OPTIONS = {
  useRecords: false,
  mapsAsObjects: true,
  int64AsType: 'number',
  skipValues: [undefined],
  encodeUndefinedAsNil: true,
  useToJSON: false,
} as const;
let packr = new Packr(OPTIONS);

/**
 * Decodes what one message of a client holds. Never throws: what cannot be handled is a fault that says why.
 * The bytes may be reused afterwards. `payloadText` is the payload as JSON.stringify writes it.
 */
export function decodeMsgpack(bytes: Uint8Array, limits: DecodeLimits): Inbound | Inbound[] {
  if (bytes.byteLength > limits.frameBytes) return frameTooLarge(bytes.byteLength, limits);
  const fault = scanMsgpack(bytes, limits);
  if (fault !== undefined) return fault;
  const unpacked = unpack(bytes);
  if (unpacked === undefined) return NOT_MSGPACK;
  const { value } = unpacked;
  if (!Array.isArray(value)) return frameOf(value, limits);
  return value.length === 0 ? EMPTY_BATCH : value.map((each) => frameOf(each, limits));
}

function unpack(bytes: Uint8Array): { readonly value: unknown } | undefined {
  try {
    return { value: readMsgpack(bytes) };
  } catch {
    return undefined;
  }
}

function frameOf(value: unknown, limits: DecodeLimits): Inbound {
  const frame = validateFrame(value);
  if (frame.type !== 'pub') return frame;
  const text = JSON.stringify(frame.payload);
  return exceedsUtf8(text, limits.payloadBytes)
    ? payloadTooLarge(frame, limits)
    : withPayloadText(frame, text);
}

/** The value in bytes from a trusted peer, the server; throws where they are not MessagePack. */
export function readMsgpack(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}

/**
 * The bytes are the caller's own. `frame` is of the JSON data model; properties that are undefined are left out,
 * and a lone surrogate in a string becomes U+FFFD.
 */
export function encodeMsgpack(frame: unknown): Uint8Array {
  try {
    return packed(frame);
  } catch (error) {
    // It stopped somewhere inside: what it has left behind is not relied on.
    packr = new Packr(OPTIONS);
    throw error;
  }
}

function packed(frame: unknown): Uint8Array {
  const packed = packr.pack(frame, RESET_BUFFER_MODE);
  // A copy: the packer's buffer is reused at once, and a view on it would keep all of it alive.
  return new Uint8Array(hasSurrogate(packed) ? packr.pack(wellFormed(frame), RESET_BUFFER_MODE) : packed);
}

/**
 * The packer writes a lone surrogate, which JSON carries as an escape, as the three bytes ED A0..BF 80..BF: not
 * UTF-8, and strict readers drop the connection over it. A chance hit in a number is harmless.
 */
function hasSurrogate(bytes: Uint8Array): boolean {
  let at = bytes.indexOf(0xed);
  while (at >= 0 && (bytes[at + 1] ?? 0) < 0xa0) at = bytes.indexOf(0xed, at + 1);
  return at >= 0;
}

/** Not by way of JSON text: a payload of 1e400 is Infinity by now, which JSON would write as null. */
function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(/\p{Surrogate}/gu, '\ufffd');
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [wellFormed(key), wellFormed(each)]));
}

/** The bytes of one message that carries these frames, at least one. */
export function joinMsgpack(frames: readonly Uint8Array[]): Uint8Array {
  const [only] = frames;
  return frames.length === 1 && only !== undefined ? only : arrayAfter(new Uint8Array(0), frames);
}

/** A map with one more property, an array of values that are encoded already. */
export function encodeMsgpackWith(map: object, name: string, values: readonly Uint8Array[]): Uint8Array {
  const head = encodeMsgpack({ ...map, [name]: [] });
  // The last byte is the empty array.
  return arrayAfter(head.subarray(0, -1), values);
}

function arrayAfter(before: Uint8Array, values: readonly Uint8Array[]): Uint8Array {
  const head = arrayHead(values.length);
  const start = before.byteLength + head.length;
  const joined = new Uint8Array(values.reduce((sum, each) => sum + each.byteLength, start));
  joined.set(before);
  joined.set(head, before.byteLength);
  let at = start;
  for (const value of values) {
    joined.set(value, at);
    at += value.byteLength;
  }
  return joined;
}

function arrayHead(count: number): readonly number[] {
  if (count < 0x10) return [0x90 | count];
  if (count < 0x1_0000) return [0xdc, count >> 8, count & 0xff];
  return [0xdd, count >>> 24, (count >> 16) & 0xff, (count >> 8) & 0xff, count & 0xff];
}
