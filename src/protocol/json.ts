/** chat.v1: frames as JSON text. */
import { badJson, EMPTY_BATCH, frameTooLarge, NOT_A_FRAME } from './fault.ts';
import type { ServerFrame } from './frames.ts';
import type { DecodeLimits, Inbound } from './inbound.ts';
import { overflowIn } from './numbers.ts';
import { type JsonScan, type PayloadSpan, scanJson } from './scan.ts';
import { faultOf, outOfRange, payloadTooLarge, validateFrame, withPayloadText } from './validate.ts';

const NOT_JSON = badJson('the frame is not well-formed JSON');
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

interface Source {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/**
 * Decodes what one message of a client holds. Never throws: what cannot be handled is a fault that says why.
 * The bytes may be reused afterwards.
 */
export function decodeJson(bytes: Uint8Array, limits: DecodeLimits): Inbound | Inbound[] {
  if (bytes.byteLength > limits.frameBytes) return frameTooLarge(bytes.byteLength, limits);
  const scan = scanJson(bytes, limits);
  if (scan.type === 'fault') return scan;
  const source = { bytes, text: utf8.decode(bytes) };
  const parsed = parse(source.text);
  if (parsed === undefined) return NOT_JSON;
  if (scan.type === 'object') return frameOf(parsed.value, scan.spans[0], source, limits);
  return scan.type === 'array' ? batchOf(parsed.value, scan, source, limits) : NOT_A_FRAME;
}

function parse(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

function batchOf(value: unknown, scan: JsonScan, source: Source, limits: DecodeLimits): Inbound | Inbound[] {
  if (scan.spans.length === 0) return EMPTY_BATCH;
  return (value as unknown[]).map((each, at) => frameOf(each, scan.spans[at], source, limits));
}

function frameOf(
  value: unknown,
  span: PayloadSpan | undefined,
  source: Source,
  limits: DecodeLimits,
): Inbound {
  if (span?.unclear !== undefined) return faultOf(value, 'bad_frame', span.unclear);
  const frame = validateFrame(value);
  if (frame.type !== 'pub') return frame;
  if (span === undefined || span.from < 0) throw new Error('a valid pub without the place of its payload');
  if (span.to - span.from > limits.payloadBytes) return payloadTooLarge(frame, limits);
  const text = cut(source, span);
  const overflow = overflowIn(text);
  return overflow === undefined ? withPayloadText(frame, text) : outOfRange(frame, overflow);
}

function cut({ bytes, text }: Source, { from, to }: PayloadSpan): string {
  const isAscii = text.length === bytes.length;
  return isAscii ? text.slice(from, to) : utf8.decode(bytes.subarray(from, to));
}

export function encodeJson(frame: ServerFrame): string {
  return JSON.stringify(frame);
}

/** The text of one message that carries these frames, at least one. */
export function joinJson(frames: readonly string[]): string {
  const [only] = frames;
  return frames.length === 1 && only !== undefined ? only : `[${frames.join(',')}]`;
}
