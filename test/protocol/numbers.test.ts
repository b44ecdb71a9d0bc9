import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { RoomEvent } from '../../src/broker/event.ts';
import { decodeJson } from '../../src/protocol/json.ts';
import { overflowIn, parseExact } from '../../src/protocol/numbers.ts';

const LIMITS = { frameBytes: 65_536, payloadBytes: 65_536, depth: 32, keys: 1000, batch: 10 };

test('a number that no double holds is found, and nothing else', () => {
  for (const [json, found] of [
    ['1e400', '1e400'],
    ['{"a":[1,-1E+309]}', '-1E+309'],
    [`[${'9'.repeat(400)}]`, '9'.repeat(400)],
    [`[0.${'9'.repeat(400)}]`, undefined],
    ['"1e400"', undefined],
    ['{"1e400":"\\"1e400"}', undefined],
    ['["a\\\\",1e400]', '1e400'],
    ['1e-400', undefined],
    ['1.7976931348623157e308', undefined],
  ] as const)
    assert.equal(overflowIn(json), found, json);
});

test('integers of 64 bits are exact, and every other value is as JSON.parse has it', () => {
  const large = '12345678901234567890';
  assert.deepEqual(parseExact(`{"a":[${large},-9223372036854775808],"b":"${large}","n":"nn${large}"}`), {
    a: [BigInt(large), -(2n ** 63n)],
    b: large,
    n: `nn${large}`,
  });
  // An escape that becomes the mark.
  assert.deepEqual(parseExact(`["\\u006e\\u006e${large}",${large}]`), [`nn${large}`, BigInt(large)]);
  assert.equal(parseExact('123456789012345678901234567890'), Number('123456789012345678901234567890'));
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const json = JSON.stringify(value);
      const exact = JSON.stringify(parseExact(json), (_, one) =>
        typeof one === 'bigint' ? Number(one) : one,
      );
      assert.deepEqual(JSON.parse(exact), JSON.parse(json));
    }),
  );
});

test('a publish with such a number is refused and says which', () => {
  const bytes = new TextEncoder().encode('{"type":"pub","room":"a","id":7,"payload":{"n":[1,1e400]}}');
  const refused = decodeJson(bytes, LIMITS);
  assert.ok(!Array.isArray(refused) && refused.type === 'fault');
  assert.deepEqual([refused.code, refused.id, refused.room], ['bad_frame', 7, 'a']);
  assert.match(refused.reason, /"1e400".*string/);
});

const fields = { room: 'a', seq: 7, prev: 5, ts: 1, from: 'ann' };

test('MessagePack receivers get large integers exactly', () => {
  const event = new RoomEvent({ ...fields, payload: '{"id":12345678901234567890,"low":-9007199254740993}' });
  const read = new Packr({ useRecords: false, int64AsType: 'bigint' }).unpack(event.msgpack);
  assert.deepEqual(read.payload, { id: 12345678901234567890n, low: -9007199254740993n });
});

test('an event that cannot be encoded is a gap in its place; JSON receivers get it', () => {
  for (const payload of [`${'['.repeat(20_000)}${']'.repeat(20_000)}`, 'not JSON', '{"a":']) {
    const event = new RoomEvent({ ...fields, payload });
    const expected = { type: 'gap', room: 'a', from: 5, to: 7, reason: 'encoding', action: 'skip' };
    assert.deepEqual(new Packr({ useRecords: false }).unpack(event.msgpack), expected);
    assert.equal(event.unencodable, true);
    assert.equal(event.payload, payload);
    // The encoder is as good as new.
    const next = new RoomEvent({ ...fields, payload: '{"ok":true}' });
    assert.deepEqual(new Packr({ useRecords: false }).unpack(next.msgpack).payload, { ok: true });
  }
});
