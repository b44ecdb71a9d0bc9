/**
 * One pass over JSON text before JSON.parse sees it: refuses what is nested too deep or has too many keys or
 * frames, and notes where each frame's payload stands, so that it can be passed on as its publisher wrote it.
 * What the scan lets through need not be well-formed (JSON.parse decides that), but on well-formed text
 * everything it says is exact.
 */
import { badJson, batchTooLong, tooDeep, tooManyKeys } from './fault.ts';
import type { DecodeLimits, FrameFault } from './inbound.ts';

/** Where the value of `payload` stands in the text; `from` is -1 where there is none. */
export interface PayloadSpan {
  from: number;
  to: number;
  /** Why a reader could not be sure which value is the payload. */
  unclear: string | undefined;
}

export interface JsonScan {
  readonly type: 'object' | 'array' | 'scalar';
  /** One per frame: elements of an array that are not objects have an empty one. */
  readonly spans: readonly PayloadSpan[];
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** ORed with this, `[` is `{` and `]` is `}`; no other character becomes either. */
const BRACKET_TO_BRACE = 0x20;

const MALFORMED: FrameFault = badJson('the frame is not well-formed JSON');

export function scanJson(text: string, limits: DecodeLimits): JsonScan | FrameFault {
  return new Scanner(text, limits).scan();
}

/** The place of the quote that ends the string opened at `open`, or the end. Linear: runs of backslashes are disjoint. */
function closingQuote(text: string, open: number): number {
  let at = text.indexOf('"', open + 1);
  while (at > 0 && text.charCodeAt(at - 1) === BACKSLASH) {
    let run = at - 1;
    while (text.charCodeAt(run - 1) === BACKSLASH) run--;
    if ((at - run) % 2 === 0) break;
    at = text.indexOf('"', at + 1);
  }
  return at < 0 ? text.length : at;
}

function isOpening(code: number): boolean {
  return (code | BRACKET_TO_BRACE) === OPEN_BRACE;
}

function isClosing(code: number): boolean {
  return (code | BRACKET_TO_BRACE) === CLOSE_BRACE;
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

class Scanner {
  readonly #text: string;
  readonly #limits: DecodeLimits;
  readonly #spans: PayloadSpan[] = [];
  #fault: FrameFault = MALFORMED;
  #at = 0;
  #keys = 0;

  constructor(text: string, limits: DecodeLimits) {
    this.#text = text;
    this.#limits = limits;
  }

  scan(): JsonScan | FrameFault {
    const first = this.#next();
    const type = first === OPEN_BRACE ? 'object' : first === OPEN_BRACKET ? 'array' : 'scalar';
    if (type === 'scalar') return { type, spans: this.#spans };
    if (this.#limits.depth < 1) return tooDeep(this.#limits);
    const whole = type === 'object' ? this.#frame(1) : this.#batch();
    if (!whole) return this.#fault;
    this.#next();
    return this.#at < this.#text.length ? MALFORMED : { type, spans: this.#spans };
  }

  /** Skips white space; the character that follows it, NaN at the end. */
  #next(): number {
    let code = this.#text.charCodeAt(this.#at);
    while (isSpace(code)) code = this.#text.charCodeAt(++this.#at);
    return code;
  }

  #batch(): boolean {
    this.#at++;
    if (this.#next() === CLOSE_BRACKET) {
      this.#at++;
      return true;
    }
    for (;;) {
      if (this.#spans.length >= this.#limits.batch) return this.#refuse(batchTooLong(this.#limits));
      if (!this.#element()) return false;
      const code = this.#next();
      this.#at++;
      if (code === CLOSE_BRACKET) return true;
      if (code !== COMMA) return false;
    }
  }

  #element(): boolean {
    if (this.#next() !== OPEN_BRACE) {
      this.#spans.push({ from: -1, to: -1, unclear: undefined });
      return this.#value(1);
    }
    return this.#limits.depth < 2 ? this.#refuse(tooDeep(this.#limits)) : this.#frame(2);
  }

  /** From `{` to behind its `}`; `depth` is the nesting inside it. */
  #frame(depth: number): boolean {
    const span: PayloadSpan = { from: -1, to: -1, unclear: undefined };
    this.#spans.push(span);
    this.#at++;
    if (this.#next() === CLOSE_BRACE) {
      this.#at++;
      return true;
    }
    for (;;) {
      if (!this.#member(depth, span)) return false;
      const code = this.#text.charCodeAt(this.#at++);
      if (code === CLOSE_BRACE) return true;
      if (code !== COMMA) return false;
    }
  }

  #member(depth: number, span: PayloadSpan): boolean {
    if (this.#next() !== QUOTE) return false;
    const open = this.#at;
    const close = closingQuote(this.#text, open);
    this.#at = close + 1;
    if (this.#next() !== COLON) return false;
    if (!this.#countKey()) return false;
    this.#at++;
    this.#next();
    const from = this.#at;
    if (!this.#value(depth)) return false;
    this.#note(open, close, from, span);
    return true;
  }

  /** Two readers may take two values for "the" payload when it stands there twice or a key is disguised by escapes. */
  #note(open: number, close: number, from: number, span: PayloadSpan): void {
    const text = this.#text;
    for (let at = open + 1; at < close; at++) {
      if (text.charCodeAt(at) === BACKSLASH)
        span.unclear = 'the names of the fields of a frame may not contain escapes';
    }
    if (close - open !== 8 || !text.startsWith('payload', open + 1)) return;
    if (span.from >= 0) span.unclear = '"payload" is given twice';
    span.from = from;
    span.to = this.#at;
    while (span.to > from && isSpace(text.charCodeAt(span.to - 1))) span.to--;
  }

  /** From a value to the `,`, `]` or `}` behind it; `depth` is the nesting around it. */
  #value(depth: number): boolean {
    const text = this.#text;
    let level = depth;
    for (let at = this.#at; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === QUOTE) at = closingQuote(text, at);
      else if (code === COLON && !this.#countKey()) return false;
      else if (isOpening(code) && ++level > this.#limits.depth) return this.#refuse(tooDeep(this.#limits));
      else if (level === depth && (code === COMMA || isClosing(code))) {
        this.#at = at;
        return true;
      } else if (isClosing(code)) level--;
    }
    return false;
  }

  /** Outside strings there is one colon for every key. */
  #countKey(): boolean {
    return ++this.#keys <= this.#limits.keys || this.#refuse(tooManyKeys(this.#limits));
  }

  #refuse(fault: FrameFault): boolean {
    this.#fault = fault;
    return false;
  }
}
