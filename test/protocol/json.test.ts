import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ServerFrame } from '../../src/protocol/frames.ts';
import type { DecodeLimits, FrameFault, Inbound, InboundPub } from '../../src/protocol/inbound.ts';
import { decodeJson, encodeJson, joinJson } from '../../src/protocol/json.ts';
import { clientFrame, jsonValue, LIMITS, oddText, roomName, space } from './arbitraries.ts';

const utf8 = new TextEncoder();

function decode(text: string, limits: Partial<DecodeLimits> = {}): Inbound | Inbound[] {
  return decodeJson(utf8.encode(text), { ...LIMITS, ...limits });
}

function one(text: string, limits: Partial<DecodeLimits> = {}): Inbound {
  const decoded = decode(text, limits);
  assert.ok(!Array.isArray(decoded), `one answer expected for ${text}`);
  return decoded;
}

function fault(text: string, limits: Partial<DecodeLimits> = {}): FrameFault {
  const decoded = one(text, limits);
  assert.equal(decoded.type, 'fault', `a fault expected for ${text}`);
  return decoded as FrameFault;
}

function payloadText(text: string): string {
  const decoded = one(text);
  assert.equal(decoded.type, 'pub', JSON.stringify(decoded));
  return (decoded as InboundPub).payloadText;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test('every valid frame comes out as it went in', () => {
  fc.assert(
    fc.property(clientFrame, (frame) => {
      const expected =
        frame.type === 'pub' ? { ...frame, payloadText: JSON.stringify(frame.payload) } : frame;
      assert.deepEqual(decode(JSON.stringify(frame)), expected);
    }),
  );
});

test('a batch is its frames in their order', () => {
  fc.assert(
    fc.property(fc.array(clientFrame, { minLength: 1, maxLength: 5 }), (frames) => {
      assert.deepEqual(
        decode(JSON.stringify(frames)),
        frames.map((frame) => one(JSON.stringify(frame))),
      );
    }),
  );
});

test('the payload text is byte for byte what stood in the frame', () => {
  const position = fc.nat(3);
  fc.assert(
    fc.property(oddText, space, space, position, (value, before, after, at) => {
      const members = ['"type":"pub"', '"room" : "r:1"', ' "x":{"payload":[{"payload":0}]}'];
      members.splice(at, 0, `${before}"payload"${after}:${before}${value.text}${after}`);
      const frame = `${after}{${members.join(',')}}${before}`;
      assert.equal(payloadText(frame), value.text);
      const batch = decode(`[${after}{"type":"ping"},${frame} , [],${frame}]`) as InboundPub[];
      assert.deepEqual(
        batch.map((each) => each.payloadText),
        [undefined, value.text, undefined, value.text],
      );
    }),
  );
});

test('the payload text is right behind characters of several bytes', () => {
  assert.equal(payloadText('{"é€😀":"é€😀","type":"pub","room":"r","payload": "ü😀" ,"z":"😀"}'), '"ü😀"');
});

test('numbers that JavaScript cannot hold are passed on unchanged', () => {
  for (const number of ['12345678901234567890', '1.0', '1e300', '-0', '0.1000']) {
    assert.equal(payloadText(`{"type":"pub","room":"r","payload":${number}}`), number);
  }
});

test('nesting is counted exactly and refused with the limit', () => {
  fc.assert(
    fc.property(oddText, ({ text, depth }) => {
      const frame = `{"type":"pub","room":"r","payload":${text}}`;
      assert.equal(one(frame, { depth: depth + 1 }).type, 'pub');
      assert.deepEqual(pick(fault(frame, { depth })), { code: 'bad_frame', limit: depth });
      const [only] = decode(`[${frame}]`, { depth: depth + 2 }) as Inbound[];
      assert.equal(only?.type, 'pub');
      assert.deepEqual(pick(fault(`[${frame}]`, { depth: depth + 1 })), {
        code: 'bad_frame',
        limit: depth + 1,
      });
    }),
  );
});

test('keys are counted exactly, in a batch together, and refused with the limit', () => {
  fc.assert(
    fc.property(oddText, ({ text, keys }) => {
      const frame = `{"type":"pub","room":"r","payload":${text}}`;
      assert.equal(one(frame, { keys: keys + 3 }).type, 'pub');
      assert.deepEqual(pick(fault(frame, { keys: keys + 2 })), { code: 'bad_frame', limit: keys + 2 });
      const both = 2 * (keys + 3);
      assert.ok(Array.isArray(decode(`[${frame},${frame}]`, { keys: both })));
      assert.equal(fault(`[${frame},${frame}]`, { keys: both - 1 }).limit, both - 1);
    }),
  );
});

function pick({ code, limit }: FrameFault): object {
  return { code, limit };
}

test('guards refuse before the rest is looked at', () => {
  assert.equal(fault(`${'['.repeat(100_000)}`).code, 'bad_frame');
  assert.equal(fault(`{"type":"pub","payload":${'{"a":'.repeat(100)}`).limit, LIMITS.depth);
  assert.equal(fault(`[${'1,'.repeat(101)}`).limit, LIMITS.batch);
  assert.equal(fault(`{${'"a":1,'.repeat(10_001)}`).limit, LIMITS.keys);
});

test('a frame longer than the limit is refused unread, one of just that length is not', () => {
  const text = '{"type":"ping"}';
  assert.equal(one(text, { frameBytes: text.length }).type, 'ping');
  const { code, limit } = fault(text, { frameBytes: text.length - 1 });
  assert.deepEqual({ code, limit }, { code: 'frame_too_large', limit: text.length - 1 });
});

test('a payload is measured in bytes of UTF-8 and refused with the limit and what names the frame', () => {
  const text = '{"type":"pub","id":7,"msgId":"m","room":"r","payload":"é€😀"}';
  assert.equal(one(text, { payloadBytes: 11 }).type, 'pub');
  const { reason, ...rest } = fault(text, { payloadBytes: 10 });
  assert.match(reason, /10 bytes/);
  assert.deepEqual(rest, {
    type: 'fault',
    code: 'payload_too_large',
    limit: 10,
    id: 7,
    msgId: 'm',
    room: 'r',
  });
});

test('a batch may be as long as the limit and no longer, and not empty', () => {
  const pings = (count: number) => `[${Array(count).fill('{"type":"ping"}').join()}]`;
  assert.equal((decode(pings(3), { batch: 3 }) as Inbound[]).length, 3);
  assert.deepEqual(pick(fault(pings(4), { batch: 3 })), { code: 'bad_frame', limit: 3 });
  assert.equal(fault('[]').code, 'bad_frame');
  assert.equal(fault(' [ ] ').code, 'bad_frame');
});

test('what is no object is refused where it stands', () => {
  for (const text of ['3', '"pub"', 'null', 'true', ' 1e3 ']) assert.equal(fault(text).code, 'bad_frame');
  const decoded = decode('[{"type":"ping"},[{"type":"ping"}],7,null,{"type":"ping"}]') as FrameFault[];
  assert.deepEqual(
    decoded.map(({ type, code }) => code ?? type),
    ['ping', 'bad_frame', 'bad_frame', 'bad_frame', 'ping'],
  );
});

test('a second payload, or a field name in the disguise of escapes, is refused and not guessed at', () => {
  for (const disguise of ['"payload":2', '"p\\u0061yload":2', '"\\u0061":1']) {
    const text = `{"type":"pub","id":1,"room":"r","payload":1,${disguise}}`;
    const { type, reason, ...rest } = fault(text);
    assert.deepEqual(rest, { code: 'bad_frame', id: 1, room: 'r' }, reason);
    const [refused, next] = decode(`[${text},{"type":"ping"}]`) as FrameFault[];
    assert.equal(refused?.code, 'bad_frame');
    assert.equal(next?.type, 'ping');
  }
});

test('escapes and repeated keys inside the payload are its own affair', () => {
  const payload = '{"payload":1,"p\\u0061yload":2,"payload":3}';
  assert.equal(payloadText(`{"type":"pub","room":"r","payload":${payload}}`), payload);
});

test('of other repeated fields the last one holds', () => {
  assert.deepEqual(one('{"type":"leave","room":"a","room":"b"}'), { type: 'leave', room: 'b' });
});

test('"__proto__" neither pollutes nor gives a frame its fields, and in a payload it is data', () => {
  assert.equal(fault('{"__proto__":{"type":"ping"}}').code, 'bad_frame');
  assert.equal(fault('{"type":"join","__proto__":{"room":"r"}}').code, 'bad_room');
  const text = '{"type":"pub","room":"r","payload":{"__proto__":{"evil":1}},"__proto__":{"echo":false}}';
  const pub = one(text) as InboundPub;
  const copy = Object.assign({}, pub);
  assert.equal(copy.echo, undefined);
  assert.equal(pub.payloadText, '{"__proto__":{"evil":1}}');
  assert.equal(({} as Record<string, unknown>)['evil'], undefined);
  assert.equal(JSON.stringify(pub.payload), '{"__proto__":{"evil":1}}');
});

test('names of Object.prototype are not frame types', () => {
  for (const type of ['constructor', '__proto__', 'toString', 'fault', '']) {
    assert.equal(fault(JSON.stringify({ type, id: 1 })).code, 'bad_type');
  }
});

test('text is bad_json exactly when JSON.parse refuses it', () => {
  const broken = fc
    .tuple(clientFrame, fc.nat(), fc.string({ maxLength: 2 }), fc.nat(3))
    .map(([frame, place, insert, cut]) => {
      const text = JSON.stringify(frame);
      const at = place % text.length;
      return text.slice(0, at) + insert + text.slice(at + cut);
    });
  const noise = fc
    .array(fc.constantFrom(...'{}[]:," \\1', '"a"', 'null', '"payload"'))
    .map((parts) => parts.join(''));
  fc.assert(
    fc.property(
      fc.oneof(
        broken,
        noise,
        fc.string(),
        oddText.map(({ text }) => text),
      ),
      (text) => {
        const decoded = decode(text);
        const isBad = !Array.isArray(decoded) && decoded.type === 'fault' && decoded.code === 'bad_json';
        assert.equal(isBad, !isJson(text), text);
      },
    ),
    { numRuns: 1000 },
  );
});

test('no bytes make it throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const answer of [decodeJson(bytes, LIMITS)].flat()) assert.equal(typeof answer.type, 'string');
    }),
  );
  assert.equal(fault('').code, 'bad_json');
  assert.equal(fault('\ufeff{"type":"ping"}').code, 'bad_json');
});

test('the bytes may be reused as soon as it returns', () => {
  const bytes = utf8.encode('{"type":"pub","room":"r","payload":{"text":"first message"}}');
  const pub = decodeJson(bytes, LIMITS) as InboundPub;
  bytes.fill(0);
  assert.equal(pub.payloadText, '{"text":"first message"}');
  assert.deepEqual(pub.payload, { text: 'first message' });
});

test('encoding is JSON.stringify: undefined fields are left out', () => {
  fc.assert(
    fc.property(jsonValue, roomName, (payload, room) => {
      const frame: ServerFrame = { type: 'event', room, payload, ts: 1, from: 'a' };
      assert.equal(encodeJson(frame), JSON.stringify(frame));
      assert.deepEqual(JSON.parse(encodeJson(frame)), frame);
    }),
  );
});

test('one frame stands alone, several become an array', () => {
  assert.equal(joinJson(['{"a":1}']), '{"a":1}');
  fc.assert(
    fc.property(fc.array(jsonValue, { minLength: 2, maxLength: 20 }), (values) => {
      assert.deepEqual(JSON.parse(joinJson(values.map((value) => JSON.stringify(value)))), values);
    }),
  );
});
