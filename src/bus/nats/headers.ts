/**
 * The headers of our messages. Nodes build all of them: a client's own could act on the server (Nats-Rollup,
 * Nats-Expected-…) or pass for one of its answers (Nats-Sequence).
 */
import type { Msg, MsgHdrs } from '@nats-io/nats-core';
import { isTraceparent, TRACEPARENT_LENGTH } from '../../protocol/traceparent.ts';

/** What a message carries beside its payload. */
export interface Meta {
  /** Milliseconds since 1970, by the clock of the node that took the publish. */
  readonly ts: number;
  readonly from: string;
  readonly msgId: string | undefined;
  readonly key: string | undefined;
  /** Outside the order of its room. */
  readonly ephemeral: boolean;
  /** How long it holds, in milliseconds. */
  readonly expireMs: number | undefined;
  /** Which node published it, and the number of its `skip` there; only if it has one. */
  readonly origin: string | undefined;
  readonly skip: number;
  readonly traceparent: string | undefined;
}

const START = 'NATS/1.0';
const META = '\r\nCr: ';
/** The first header of a message that has it: whether it does costs one comparison. */
const TRACE = `${START}\r\ntraceparent: `;
/** Fits a header as it stands; everything else is quoted. The absent value is `-`, so that `-` itself is quoted. */
const PLAIN = /^[A-Za-z0-9_.:@~+/=-]+$/;
const ABSENT = '-';

function encodeField(text: string | undefined): string {
  if (text === undefined) return ABSENT;
  if (PLAIN.test(text) && text !== ABSENT) return text;
  // JSON first: it escapes lone surrogates, which encodeURIComponent refuses.
  return `"${encodeURIComponent(JSON.stringify(text))}`;
}

function decodeField(field: string): string | undefined {
  if (field === ABSENT) return undefined;
  return field.charCodeAt(0) === 0x22 ? (JSON.parse(decodeURIComponent(field.slice(1))) as string) : field;
}

/** `id` is what the server knows a repeated publish by; undefined where nothing is stored. */
export function encodeMeta(meta: Meta, id: string | undefined): Uint8Array {
  const dedupe = id === undefined ? '' : `\r\nNats-Msg-Id: ${id}`;
  const trace = meta.traceparent === undefined ? START : `${TRACE}${meta.traceparent}`;
  const kind = meta.ephemeral ? 'e' : 'd';
  const place =
    (meta.origin ?? meta.expireMs) === undefined ? '' : ` ${encodeField(meta.origin)} ${meta.skip}`;
  const expiry = meta.expireMs === undefined ? '' : ` ${meta.expireMs}`;
  const fields = `${meta.ts} ${encodeField(meta.from)} ${encodeField(meta.msgId)} ${encodeField(meta.key)}`;
  return Buffer.from(`${trace}${dedupe}${META}${kind} ${fields}${place}${expiry}\r\n\r\n`, 'latin1');
}

/** undefined: the message is not one of ours. */
export function decodeMeta(text: string): Meta | undefined {
  const line = lastValue(text, META);
  if (line === undefined) return undefined;
  const [kind, ts, from, msgId, key, origin, skip, expireMs] = line.split(' ');
  if (ts === undefined || from === undefined || msgId === undefined || key === undefined) return undefined;
  return {
    ts: Number(ts),
    from: decodeField(from) ?? '',
    msgId: decodeField(msgId),
    key: decodeField(key),
    ephemeral: kind === 'e',
    expireMs: expireMs === undefined ? undefined : Number(expireMs),
    origin: origin === undefined ? undefined : decodeField(origin),
    skip: Number(skip ?? 0),
    traceparent: traceparentIn(text),
  };
}

function traceparentIn(text: string): string | undefined {
  if (!text.startsWith(TRACE)) return undefined;
  const value = text.slice(TRACE.length, TRACE.length + TRACEPARENT_LENGTH);
  return isTraceparent(value) ? value : undefined;
}

/** When the node took it that published it: the `ts` of its `Meta`, without the rest. NaN: not one of ours. */
export function tsIn(text: string): number {
  const at = text.lastIndexOf(META);
  return at < 0 ? Number.NaN : Number.parseInt(text.slice(at + META.length + 2), 10);
}

/** Ready-made header bytes in the shape that the client's `publish` takes; it calls nothing but `encode`. */
export function madeHeaders(bytes: Uint8Array): MsgHdrs {
  return { encode: () => bytes } as unknown as MsgHdrs;
}

/**
 * The headers of a message as text, one character per byte; empty without headers. `msg.headers` decodes each of
 * them into a map, 5 us a message; here two are wanted. They stand right before the data, and the sizes say
 * where they begin; should the client ever lay them out differently, the slow way is taken.
 */
export function headerText(msg: Msg, subjectBytes: number): string {
  const { data } = msg;
  const size = (msg as Sized).size?.();
  if (size === undefined) return slowHeaderText(msg);
  const length = size - subjectBytes - data.byteLength;
  if (length === 0) return '';
  const start = data.byteOffset - length;
  if (length < 0 || start < 0) return slowHeaderText(msg);
  const text = Buffer.from(data.buffer, start, length).toString('latin1');
  return text.startsWith(START) ? text : slowHeaderText(msg);
}

/** What the client's messages can do, although its types do not say so: bytes of subject, headers and data. */
type Sized = Msg & { readonly size?: () => number };

function slowHeaderText(msg: Msg): string {
  if (msg.headers === undefined) return '';
  const { code, description } = msg.headers;
  let text = code > 0 ? `${START} ${code} ${description}` : START;
  for (const [name, values] of msg.headers) for (const value of values) text += `\r\n${name}: ${value}`;
  return `${text}\r\n\r\n`;
}

/** The payload, copied out of the receive buffer: a view would keep all 64 KiB of it in memory. */
export function payloadText(msg: Msg): string {
  const { data } = msg;
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
}

/** 200 where the server gave no status. */
export function statusOf(text: string): number {
  return text.charCodeAt(START.length) === 0x20 ? Number.parseInt(text.slice(START.length + 1), 10) : 200;
}

export const SEQUENCE = '\r\nNats-Sequence: ';
export const LAST_SEQUENCE = '\r\nNats-Last-Sequence: ';
export const UP_TO_SEQUENCE = '\r\nNats-UpTo-Sequence: ';
export const NUM_PENDING = '\r\nNats-Num-Pending: ';
export const SUBJECT = '\r\nNats-Subject: ';

/** A number that the server has written; undefined without it. */
export function numberIn(text: string, name: string): number | undefined {
  const value = lastValue(text, name);
  return value === undefined ? undefined : Number(value);
}

/** The last one: the server appends its own, so that nobody can speak for it. `name` as in `SEQUENCE`. */
export function lastValue(text: string, name: string): string | undefined {
  const at = text.lastIndexOf(name);
  return at < 0 ? undefined : text.slice(at + name.length, text.indexOf('\r\n', at + name.length));
}
