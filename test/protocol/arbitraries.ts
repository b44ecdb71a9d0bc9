/** Generators for the tests of the codecs. */
import fc from 'fast-check';
import type { ClientFrame } from '../../src/protocol/frames.ts';
import { OVERFLOWS } from '../../src/protocol/frames.ts';
import type { DecodeLimits } from '../../src/protocol/inbound.ts';

/** So wide that only the test's own narrowing is felt. */
export const LIMITS: DecodeLimits = {
  frameBytes: 1 << 20,
  payloadBytes: 1 << 20,
  depth: 64,
  keys: 10_000,
  batch: 100,
};

const ROOM_CHARACTERS = [...'ABYZabyz0189_.:@-'];
export const roomName = fc.string({
  unit: fc.constantFrom(...ROOM_CHARACTERS),
  minLength: 1,
  maxLength: 128,
});

const seq = fc.maxSafeNat();
const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 16 }).filter((text) => text.length <= 64);
const requestId = fc.oneof(fc.string({ maxLength: 64 }), fc.nat(0xffff_ffff));
const since = fc.oneof(
  fc.record({ epoch: fc.string({ maxLength: 64 }), seq }),
  fc.record({ last: fc.nat(10_000) }),
);
const flag = fc.boolean();
const hex = (digits: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: digits, maxLength: digits });
const traceparent = fc
  .tuple(hex(32), hex(16), hex(2))
  .filter(([trace, span]) => !/^0+$/.test(trace) && !/^0+$/.test(span))
  .map(([trace, span, flags]) => `00-${trace}-${span}-${flags}`);

/** A value of the JSON data model, "__proto__" among its keys and characters of every plane in its strings. */
export const jsonValue = fc.jsonValue({ maxDepth: 4, stringUnit: 'binary' }).map(plain);

/** Without what JSON does not hold: undefined, -0, infinities, prototypes. */
export function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function frame(type: ClientFrame['type'], required: object, optional: object): fc.Arbitrary<ClientFrame> {
  const model = { type: fc.constant(type), ...required, ...optional } as Record<
    string,
    fc.Arbitrary<unknown>
  >;
  return fc
    .record(model, { requiredKeys: ['type', ...Object.keys(required)] })
    .map(plain) as unknown as fc.Arbitrary<ClientFrame>;
}

/** Every kind of valid frame, with and without each of its optional fields. */
export const clientFrame: fc.Arbitrary<ClientFrame> = fc.oneof(
  frame(
    'pub',
    { room: roomName, payload: jsonValue },
    { id: requestId, msgId: name, key: name, ephemeral: flag, echo: flag, traceparent },
  ),
  frame(
    'join',
    { room: roomName },
    { id: requestId, since, overflow: fc.constantFrom(...OVERFLOWS), presence: flag },
  ),
  frame('leave', { room: roomName }, { id: requestId }),
  frame('history', { room: roomName }, { id: requestId, before: seq, limit: fc.integer({ min: 1 }) }),
  frame('history', { room: roomName }, { id: requestId, after: seq, limit: fc.integer({ min: 1 }) }),
  frame('presence', { room: roomName }, { id: requestId }),
  frame('refresh', { token: fc.string({ minLength: 1 }) }, { id: requestId }),
  frame(
    'ping',
    {},
    {
      ts: fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string({ maxLength: 64 })),
      id: requestId,
    },
  ),
);

/** JSON text in an unusual hand, with what a reference says of it. */
export interface OddText {
  readonly text: string;
  readonly depth: number;
  readonly keys: number;
}

const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 3 });
const numberText = fc.constantFrom('0', '-0', '1.0', '-1E-400', '12345678901234567890', '0.10', '1e+2');
/** Brackets, colons, quotes and escapes within strings are what a scan could be taken in by. */
const stringText = fc
  .array(
    fc.constantFrom(
      'a',
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      ' ',
      '\\"',
      '\\\\',
      '\\n',
      '\\u0041',
      '€',
      '😀',
      'x'.repeat(40),
    ),
    {
      maxLength: 8,
    },
  )
  .map((parts) => `"${parts.join('')}"`);

function scalar(text: string): OddText {
  return { text, depth: 0, keys: 0 };
}

function joined(parts: readonly OddText[], open: string, close: string, keys: number): OddText {
  return {
    text: `${open}${parts.map((part) => part.text).join(',')}${close}`,
    depth: 1 + Math.max(0, ...parts.map((part) => part.depth)),
    keys: keys + parts.reduce((sum, part) => sum + part.keys, 0),
  };
}

const odd = fc.letrec<{ value: OddText; padded: OddText; member: OddText }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    numberText.map(scalar),
    stringText.map(scalar),
    fc.constantFrom('true', 'false', 'null').map(scalar),
    fc.array(tie('padded'), { maxLength: 4 }).map((parts) => joined(parts, '[', ']', 0)),
    fc.array(tie('member'), { maxLength: 4 }).map((parts) => joined(parts, '{', '}', parts.length)),
  ),
  padded: fc
    .tuple(space, tie('value'), space)
    .map(([before, value, after]) => ({ ...value, text: `${before}${value.text}${after}` })),
  member: fc
    .tuple(space, stringText, space, tie('padded'))
    .map(([before, key, after, value]) => ({ ...value, text: `${before}${key}${after}:${value.text}` })),
}));

export const oddText = odd.value;
export { space };
