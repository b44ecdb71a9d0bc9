/**
 * One pass over MessagePack before it is unpacked: nothing is allocated for what a length merely claims, and only
 * the JSON data model is let through. What passes is well-formed to the last byte.
 */
import { badFrame, badJson, batchTooLong, tooDeep, tooManyKeys } from './fault.ts';
import type { DecodeLimits, FrameFault } from './inbound.ts';
import { isUtf8 } from './utf8.ts';

const TRUNCATED = badJson('the MessagePack data ends in the middle of a value');
const TRAILING = badJson('there are bytes behind the MessagePack value');
const UNASSIGNED = badJson('0xc1 is not a MessagePack type');
const NOT_UTF8 = badJson('a MessagePack string is not UTF-8');
const OVERLONG = badJson('a MessagePack array or map claims more elements than there are bytes');
const BINARY = badFrame(
  'MessagePack "bin" values cannot be passed on as JSON; send a string, for example base64',
);
const EXTENSION = badFrame('MessagePack extension types cannot be passed on as JSON');
const KEY = badFrame('the keys of a MessagePack map must be strings');
const NOT_FINITE = badFrame('NaN and Infinity cannot be passed on as JSON');
const BIG_INTEGER = badFrame('integers beyond 2^53 - 1 cannot be passed on exactly; send a string');
/** The unpacker would rename such a key, and a payload may not be changed in silence. */
const PROTO = badFrame('a MessagePack map may not have the key "__proto__"');
const PROTO_BYTES = [...'__proto__'].map((each) => each.charCodeAt(0));

/** The fault in these bytes, or undefined. */
export function scanMsgpack(bytes: Uint8Array, limits: DecodeLimits): FrameFault | undefined {
  return new Scanner(bytes, limits).scan();
}

class Scanner {
  readonly #bytes: Uint8Array;
  readonly #limits: DecodeLimits;
  #fault: FrameFault | undefined;
  #at = 0;
  #keys = 0;

  constructor(bytes: Uint8Array, limits: DecodeLimits) {
    this.#bytes = bytes;
    this.#limits = limits;
  }

  scan(): FrameFault | undefined {
    if (this.#value(0) && this.#at < this.#bytes.length) this.#refuse(TRAILING);
    return this.#fault;
  }

  #refuse(fault: FrameFault): boolean {
    this.#fault = fault;
    return false;
  }

  /** Recursion is as deep as limits.depth and no deeper. */
  #value(depth: number): boolean {
    const head = this.#bytes[this.#at++];
    if (head === undefined) return this.#refuse(TRUNCATED);
    if (head < 0x80 || head >= 0xe0) return true;
    if (head < 0x90) return this.#map(head & 0x0f, depth);
    if (head < 0xa0) return this.#array(head & 0x0f, depth);
    if (head < 0xc0) return this.#string(head & 0x1f);
    return head < 0xca ? this.#odd(head) : this.#sized(head, depth);
  }

  /** 0xc0 to 0xc9: nil, booleans and what JSON has no place for. */
  #odd(head: number): boolean {
    if (head === 0xc1) return this.#refuse(UNASSIGNED);
    if (head < 0xc4) return true;
    return this.#refuse(head < 0xc7 ? BINARY : EXTENSION);
  }

  /** 0xca to 0xdf: numbers, extensions, and strings, arrays and maps with a length of their own. */
  #sized(head: number, depth: number): boolean {
    if (head < 0xd4) return this.#number(head);
    if (head < 0xd9) return this.#refuse(EXTENSION);
    const width = head < 0xdc ? 1 << (head - 0xd9) : head & 1 ? 4 : 2;
    const length = this.#uint(width);
    if (length < 0) return false;
    if (head < 0xdc) return this.#string(length);
    return head < 0xde ? this.#array(length, depth) : this.#map(length, depth);
  }

  #number(head: number): boolean {
    const start = this.#at;
    if (head === 0xca) return this.#uint(4) >= 0 && this.#finite(start, 0x80);
    const width = head === 0xcb ? 8 : 1 << (head & 3);
    this.#at += width;
    if (this.#at > this.#bytes.length) return this.#refuse(TRUNCATED);
    if (width < 8) return true;
    return head === 0xcb ? this.#finite(start, 0xf0) : this.#safe(start, head === 0xd3);
  }

  /** A float whose exponent bits are all set is NaN or an infinity; `low` has those of its second byte. */
  #finite(start: number, low: number): boolean {
    const first = this.#bytes[start] as number;
    const second = this.#bytes[start + 1] as number;
    return (first & 0x7f) !== 0x7f || (second & low) !== low || this.#refuse(NOT_FINITE);
  }

  #safe(start: number, signed: boolean): boolean {
    const view = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + start, 8);
    const high = signed ? view.getInt32(0) : view.getUint32(0);
    return Number.isSafeInteger(high * 0x1_0000_0000 + view.getUint32(4)) || this.#refuse(BIG_INTEGER);
  }

  /** A big-endian length, or -1 after a refusal. */
  #uint(width: number): number {
    if (this.#at + width > this.#bytes.length) {
      this.#refuse(TRUNCATED);
      return -1;
    }
    let value = 0;
    for (let left = width; left > 0; left--) value = value * 256 + (this.#bytes[this.#at++] as number);
    return value;
  }

  #string(length: number): boolean {
    const end = this.#at + length;
    if (end > this.#bytes.length) return this.#refuse(TRUNCATED);
    if (!isUtf8(this.#bytes, this.#at, end)) return this.#refuse(NOT_UTF8);
    this.#at = end;
    return true;
  }

  #array(count: number, depth: number): boolean {
    if (depth >= this.#limits.depth) return this.#refuse(tooDeep(this.#limits));
    if (depth === 0 && count > this.#limits.batch) return this.#refuse(batchTooLong(this.#limits));
    if (count > this.#bytes.length - this.#at) return this.#refuse(OVERLONG);
    for (let left = count; left > 0; left--) {
      if (!this.#value(depth + 1)) return false;
    }
    return true;
  }

  #map(count: number, depth: number): boolean {
    if (depth >= this.#limits.depth) return this.#refuse(tooDeep(this.#limits));
    this.#keys += count;
    if (this.#keys > this.#limits.keys) return this.#refuse(tooManyKeys(this.#limits));
    if (count * 2 > this.#bytes.length - this.#at) return this.#refuse(OVERLONG);
    for (let left = count; left > 0; left--) {
      if (!this.#key() || !this.#value(depth + 1)) return false;
    }
    return true;
  }

  #key(): boolean {
    const start = this.#at;
    const head = this.#bytes[start];
    if (head !== undefined && (head & 0xe0) !== 0xa0 && (head < 0xd9 || head > 0xdb))
      return this.#refuse(KEY);
    if (!this.#value(0)) return false;
    const width = head === undefined || head < 0xd9 ? 0 : 1 << (head - 0xd9);
    return !this.#isProto(start + 1 + width) || this.#refuse(PROTO);
  }

  /** Whether the key that has just been read, from `start` on, is "__proto__". */
  #isProto(start: number): boolean {
    if (this.#at - start !== PROTO_BYTES.length) return false;
    return PROTO_BYTES.every((byte, at) => this.#bytes[start + at] === byte);
  }
}
