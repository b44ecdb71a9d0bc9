import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DecodeLimits, FrameFault, Inbound, InboundPub } from '../../src/protocol/inbound.ts';
import { decodeMsgpack, encodeMsgpack, joinMsgpack, readMsgpack } from '../../src/protocol/msgpack.ts';
import { clientFrame, jsonValue, LIMITS, oddText, plain } from './arbitraries.ts';

/** Values are written by hand here, so that the codec is not its own judge. */
const NIL = [0xc0];
const TRUE = [0xc3];

function str(text: string): number[] {
  const bytes = [...new TextEncoder().encode(text)];
  return [0xd9, bytes.length, ...bytes];
}

function map(...members: [string, number[]][]): number[] {
  return [0x80 | members.length, ...members.flatMap(([key, value]) => [...str(key), ...value])];
}

function array(...values: number[][]): number[] {
  return [0x90 | values.length, ...values.flat()];
}

function pub(payload: number[]): number[] {
  return map(['type', str('pub')], ['room', str('r')], ['payload', payload]);
}

function decode(bytes: ArrayLike<number>, limits: Partial<DecodeLimits> = {}): Inbound | Inbound[] {
  return decodeMsgpack(Uint8Array.from(bytes), { ...LIMITS, ...limits });
}

function one(bytes: ArrayLike<number>, limits: Partial<DecodeLimits> = {}): Inbound {
  const decoded = decode(bytes, limits);
  assert.ok(!Array.isArray(decoded));
  return decoded;
}

function fault(bytes: ArrayLike<number>, limits: Partial<DecodeLimits> = {}): FrameFault {
  const decoded = one(bytes, limits);
  assert.equal(decoded.type, 'fault', JSON.stringify(decoded));
  return decoded as FrameFault;
}

function payloadText(payload: number[]): string {
  const decoded = one(pub(payload));
  assert.equal(decoded.type, 'pub', JSON.stringify(decoded));
  return (decoded as InboundPub).payloadText;
}

function hasProto(value: unknown): boolean {
  return JSON.stringify(value).includes('"__proto__":');
}

const portable = jsonValue.filter((value) => !hasProto(value));
const portableFrame = clientFrame.filter((frame) => !hasProto(frame));

test('every valid frame comes out as it went in', () => {
  fc.assert(
    fc.property(portableFrame, (frame) => {
      const expected =
        frame.type === 'pub' ? { ...frame, payloadText: JSON.stringify(frame.payload) } : frame;
      assert.deepEqual(decode(encodeMsgpack(frame)), expected);
    }),
  );
});

test('joined frames decode as their array, a single one as itself', () => {
  fc.assert(
    fc.property(fc.array(portableFrame, { minLength: 1, maxLength: 40 }), (frames) => {
      const joined = joinMsgpack(frames.map(encodeMsgpack));
      const singles = frames.map((frame) => one(encodeMsgpack(frame)));
      assert.deepEqual(decode(joined), frames.length === 1 ? singles[0] : singles);
    }),
  );
});

test('joining writes each of the array heads', () => {
  for (const count of [2, 15, 16, 0xffff, 0x1_0000]) {
    const joined = joinMsgpack(Array(count).fill(Uint8Array.of(0xc0)));
    assert.deepEqual(readMsgpack(joined), Array(count).fill(null));
  }
});

test('encoded bytes stay as they are when more is encoded, and keep no larger buffer alive', () => {
  fc.assert(
    fc.property(fc.array(jsonValue, { minLength: 2, maxLength: 5 }), (values) => {
      const encoded = values.map(encodeMsgpack);
      encodeMsgpack('x'.repeat(20_000));
      assert.deepEqual(
        encoded.map((bytes) => bytes.buffer.byteLength),
        encoded.map((bytes) => bytes.byteLength),
      );
      const plain = values.map((value) =>
        JSON.parse(JSON.stringify(value).replaceAll('"__proto__":', '"__proto_":')),
      );
      assert.deepEqual(encoded.map(readMsgpack), plain);
    }),
  );
});

test('undefined is left out as JSON leaves it out', () => {
  assert.deepEqual([...encodeMsgpack({ a: undefined, b: [undefined] })], [0x81, 0xa1, 0x62, 0x91, 0xc0]);
});

test('fields that have a meaning for the library are data', () => {
  const value = JSON.parse(
    '{"toJSON":1,"constructor":{"toJSON":null},"hasOwnProperty":2,"length":-1,"size":{}}',
  );
  assert.deepEqual(readMsgpack(encodeMsgpack(value)), value);
  assert.deepEqual(
    (one(encodeMsgpack({ type: 'pub', room: 'r', payload: value })) as InboundPub).payload,
    value,
  );
});

test('a lone surrogate is sent as U+FFFD, so that strict readers can read it', () => {
  assert.deepEqual([...encodeMsgpack('\ud800')], [0xa3, 0xef, 0xbf, 0xbd]);
  const value = {
    'k\udfff': ['\ud83d\ude00\ud83d', '\\ud800', '\ud7ff', `${'x'.repeat(80)}\ud800`],
    n: 0xeda0,
  };
  const expected = { 'k\ufffd': ['😀\ufffd', '\\ud800', '\ud7ff', `${'x'.repeat(80)}\ufffd`], n: 0xeda0 };
  assert.deepEqual(readMsgpack(encodeMsgpack(value)), expected);
});

test('the payload text is the JSON of the payload', () => {
  fc.assert(
    fc.property(portable, (payload) => {
      const decoded = one(encodeMsgpack({ type: 'pub', room: 'r', payload })) as InboundPub;
      assert.equal(decoded.payloadText, JSON.stringify(payload));
    }),
  );
});

test('every form of number, string, array and map that MessagePack has is read', () => {
  const forms: [number[], string][] = [
    [[0x7f], '127'],
    [[0xe0], '-32'],
    [[0xcc, 0xff], '255'],
    [[0xcd, 1, 0], '256'],
    [[0xce, 1, 0, 0, 0], '16777216'],
    [[0xcf, 0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], '9007199254740991'],
    [[0xd0, 0x80], '-128'],
    [[0xd1, 0x80, 0], '-32768'],
    [[0xd2, 0x80, 0, 0, 0], '-2147483648'],
    [[0xd3, 0xff, 0xe0, 0, 0, 0, 0, 0, 1], '-9007199254740991'],
    [[0xca, 0x3f, 0xc0, 0, 0], '1.5'],
    [[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], '1.5'],
    [[0xa1, 0x61], '"a"'],
    [[0xda, 0, 1, 0x61], '"a"'],
    [[0xdb, 0, 0, 0, 1, 0x61], '"a"'],
    [[0xdc, 0, 1, ...NIL], '[null]'],
    [[0xdd, 0, 0, 0, 1, ...TRUE], '[true]'],
    [[0xde, 0, 1, 0xa1, 0x61, 0xc2], '{"a":false}'],
    [[0xdf, 0, 0, 0, 1, 0xda, 0, 1, 0x61, 0xc2], '{"a":false}'],
  ];
  for (const [bytes, text] of forms) assert.equal(payloadText(bytes), text);
});

test('what JSON cannot carry is bad_frame', () => {
  const refused: Record<string, number[]> = {
    bin8: [0xc4, 1, 0],
    bin16: [0xc5, 0, 1, 0],
    bin32: [0xc6, 0, 0, 0, 1, 0],
    ext8: [0xc7, 1, 1, 0],
    ext32: [0xc9, 0, 0, 0, 1, 1, 0],
    fixext1: [0xd4, 0, 0],
    record: [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x01],
    timestamp: [0xd6, 0xff, 0, 0, 0, 0],
    fixext16: [0xd8, ...Array(17).fill(0)],
    nan32: [0xca, 0x7f, 0xc0, 0, 0],
    nan: [0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
    infinity: [0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0],
    minusInfinity: [0xcb, 0xff, 0xf0, 0, 0, 0, 0, 0, 0],
    uint64: [0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0],
    uint64Max: [0xcf, ...Array(8).fill(0xff)],
    int64: [0xd3, 0xff, 0xe0, 0, 0, 0, 0, 0, 0],
    int64Positive: [0xd3, 0, 0x20, 0, 0, 0, 0, 0, 0],
    integerKey: [0x81, 0x01, 0x01],
    nilKey: [0x81, 0xc0, 0x01],
    mapKey: [0x81, 0x80, 0x01],
    proto: [0x81, ...str('__proto__'), 0x01],
    shortProto: [0x81, 0xa9, ...str('__proto__').slice(2), 0x01],
    nestedProto: [0x91, 0x81, 0xda, 0, 9, ...str('__proto__').slice(2), 0x01],
  };
  for (const [name, payload] of Object.entries(refused))
    assert.equal(fault(pub(payload)).code, 'bad_frame', name);
});

test('keys that only look like "__proto__" are data', () => {
  for (const key of ['x__proto__', '__proto_', '__proto___', 'constructor', 'prototype']) {
    assert.equal(payloadText([0x81, ...str(key), 0x01]), `{"${key}":1}`);
  }
  assert.equal(payloadText(str('__proto__')), '"__proto__"');
});

test('a length that claims more than there is costs nothing and is refused', () => {
  for (const head of [
    [0xdd, 0xff, 0xff, 0xff, 0xff],
    [0xdc, 0xff, 0xff],
    [0xdf, 0, 0, 0x20, 0],
    [0x9f],
    [0x8f],
  ]) {
    assert.equal(fault(pub(head)).code, 'bad_json');
  }
  assert.equal(fault([0x82, 0xa1, 0x61, 0x01]).code, 'bad_json');
  assert.equal(fault(pub([0xdb, 0xff, 0xff, 0xff, 0xff])).code, 'bad_json');
});

test('bytes that are cut short, left over, unassigned or not UTF-8 are bad_json', () => {
  const whole = pub([0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0]);
  assert.equal(one(whole).type, 'pub');
  for (let length = whole.length - 8; length < whole.length; length++) {
    assert.equal(fault(whole.slice(0, length)).code, 'bad_json', `${length}`);
  }
  for (const bytes of [
    [...whole, 0],
    [...whole, ...whole],
    [],
    pub([0xc1]),
    pub([0xd9]),
    pub([0xca, 0]),
    pub([0xa2, 0x61]),
  ]) {
    assert.equal(fault(bytes).code, 'bad_json');
  }
  for (const text of [
    [0x80],
    [0xc0, 0xaf],
    [0xed, 0xa0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xe2, 0x82],
    [0xf5, 0x80, 0x80, 0x80],
  ]) {
    assert.equal(fault(pub([0xa0 | text.length, ...text])).code, 'bad_json');
  }
});

test('no beginning of a frame is taken for a frame', () => {
  fc.assert(
    fc.property(portableFrame, fc.nat(), (frame, place) => {
      const bytes = encodeMsgpack(frame);
      fault(bytes.subarray(0, place % bytes.length));
    }),
  );
});

test('strings are checked as UTF-8 exactly as a strict decoder does', () => {
  const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const near = fc.array(
    fc.constantFrom(
      0x41,
      0x7f,
      0x80,
      0x8f,
      0x90,
      0x9f,
      0xa0,
      0xbf,
      0xc1,
      0xc2,
      0xdf,
      0xe0,
      0xed,
      0xef,
      0xf0,
      0xf4,
      0xf5,
    ),
    {
      maxLength: 6,
    },
  );
  fc.assert(
    fc.property(
      fc.oneof(
        near,
        fc.string({ unit: 'binary', maxLength: 5 }).map((text) => [...new TextEncoder().encode(text)]),
      ),
      (bytes) => {
        let expected: string | undefined;
        try {
          expected = strict.decode(Uint8Array.from(bytes));
        } catch {
          expected = undefined;
        }
        const decoded = one(pub([0xd9, bytes.length, ...bytes]));
        if (expected === undefined) assert.equal((decoded as FrameFault).code, 'bad_json');
        else assert.equal((decoded as InboundPub).payload, expected);
      },
    ),
    { numRuns: 1000 },
  );
});

test('nesting and keys are counted exactly and refused with the limit', () => {
  const counted = oddText.map(({ text }) => plain(JSON.parse(text))).filter((value) => !hasProto(value));
  fc.assert(
    fc.property(counted, (payload) => {
      const bytes = encodeMsgpack({ type: 'pub', room: 'r', payload });
      const depth = depthOf(payload);
      const keys = keysOf(payload);
      assert.equal(one(bytes, { depth: depth + 1, keys: keys + 3 }).type, 'pub');
      assert.equal(fault(bytes, { depth }).limit, depth);
      assert.equal(fault(bytes, { keys: keys + 2 }).limit, keys + 2);
    }),
  );
});

function childrenOf(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null ? Object.values(value) : [];
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...childrenOf(value).map(depthOf));
}

function keysOf(value: unknown): number {
  const below = childrenOf(value).reduce((sum: number, each) => sum + keysOf(each), 0);
  return below + (Array.isArray(value) ? 0 : childrenOf(value).length);
}

test('deep nesting is refused before it is followed', () => {
  assert.equal(fault(Array(100_000).fill(0x91)).limit, LIMITS.depth);
  assert.equal(fault(pub(Array(100_000).fill(0x91))).limit, LIMITS.depth);
});

test('a batch may be as long as the limit and no longer, and not empty', () => {
  const ping = map(['type', str('ping')]);
  assert.equal((decode(array(ping, ping), { batch: 2 }) as Inbound[]).length, 2);
  assert.equal(fault(array(ping, ping, ping), { batch: 2 }).limit, 2);
  assert.equal(fault([0xdc, 0, 101]).limit, LIMITS.batch);
  assert.equal(fault(array()).code, 'bad_frame');
  assert.equal((one(pub(array(NIL, NIL, NIL)), { batch: 2 }) as Inbound).type, 'pub');
});

test('what is no map is refused where it stands', () => {
  for (const bytes of [NIL, [0x07], str('pub')]) assert.equal(fault(bytes).code, 'bad_frame');
  const ping = map(['type', str('ping')]);
  const decoded = decode(array(ping, array(ping), [0x07])) as FrameFault[];
  assert.deepEqual(
    decoded.map(({ type, code }) => code ?? type),
    ['ping', 'bad_frame', 'bad_frame'],
  );
});

test('frames and payloads over their sizes are refused with the limit', () => {
  const bytes = pub(str('é€😀'));
  assert.equal(one(bytes, { frameBytes: bytes.length, payloadBytes: 11 }).type, 'pub');
  const tooLong = fault(bytes, { frameBytes: bytes.length - 1 });
  assert.deepEqual([tooLong.code, tooLong.limit], ['frame_too_large', bytes.length - 1]);
  const tooLarge = fault(bytes, { payloadBytes: 10 });
  assert.deepEqual([tooLarge.code, tooLarge.limit, tooLarge.room], ['payload_too_large', 10, 'r']);
});

test('no bytes make it throw', () => {
  const heads = fc.array(fc.integer({ min: 0x80, max: 0xff }), { maxLength: 12 });
  const mutated = fc.tuple(portableFrame, fc.nat(), fc.nat(255)).map(([frame, place, byte]) => {
    const bytes = [...encodeMsgpack(frame)];
    bytes[place % bytes.length] = byte;
    return bytes;
  });
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), heads, mutated), (bytes) => {
      for (const answer of [decode(bytes)].flat()) assert.equal(typeof answer.type, 'string');
    }),
    { numRuns: 2000 },
  );
});

test('the bytes may be reused as soon as it returns, and may be a part of a larger buffer', () => {
  const big = [0xcf, 0, 0, 1, 0, 0, 0, 0, 0];
  const frame = pub(array(str('x'.repeat(200)), big));
  const around = new Uint8Array(frame.length + 20).fill(0xff);
  around.set(frame, 7);
  const decoded = decodeMsgpack(around.subarray(7, 7 + frame.length), LIMITS) as InboundPub;
  around.fill(0xc1);
  assert.deepEqual(decoded.payload, ['x'.repeat(200), 2 ** 40]);
});

test('a number with the bytes of a surrogate changes nothing beside it: 1e400 stays Infinity', () => {
  const odd = new DataView(Uint8Array.from([0x42, 0x79, 0xed, 0xa0, 0, 0, 0, 0]).buffer).getFloat64(0);
  const frame = { ts: odd, payload: JSON.parse('1e400') as number };
  assert.ok(Buffer.from(encodeMsgpack(frame)).includes(Buffer.from([0xed, 0xa0])), 'the bytes are there');
  assert.deepEqual(readMsgpack(encodeMsgpack(frame)), frame);
});
