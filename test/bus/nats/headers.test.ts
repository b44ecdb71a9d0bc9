import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  decodeMeta,
  encodeMeta,
  LAST_SEQUENCE,
  type Meta,
  numberIn,
  SEQUENCE,
  statusOf,
} from '../../../src/bus/nats/headers.ts';

const text = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((codes) => String.fromCharCode(...codes)),
  fc.constantFrom(
    '',
    '-',
    '"',
    ' ',
    '\r\nNats-Sequence: 7\r\n',
    'NATS/1.0',
    '\ud800',
    'ann',
    'user@example.com',
  ),
);

const meta: fc.Arbitrary<Meta> = fc.record(
  {
    ts: fc.integer({ min: 0, max: 2 ** 45 }),
    from: text,
    msgId: fc.option(text, { nil: undefined }),
    key: fc.option(text, { nil: undefined }),
    ephemeral: fc.boolean(),
    expireMs: fc.constantFrom(undefined, 0, 5000),
    origin: fc.constantFrom(undefined, 'n-1', 'pod 7'),
    skip: fc.nat(),
    traceparent: fc.constantFrom(undefined, '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'),
  },
  { noNullPrototype: true },
);

function wire(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

test('what a publish carries comes back, whatever clients write into it', () => {
  fc.assert(
    fc.property(meta, fc.option(fc.constant('id-1'), { nil: undefined }), (given, id) => {
      const expected = (given.origin ?? given.expireMs) === undefined ? { ...given, skip: 0 } : given;
      assert.deepEqual(decodeMeta(wire(encodeMeta(given, id))), expected);
    }),
    { numRuns: 3000 },
  );
});

test('no value of a client makes a header of its own', () => {
  fc.assert(
    fc.property(meta, (given) => {
      const lines = wire(encodeMeta(given, 'id')).split('\r\n');
      assert.equal(lines[0], 'NATS/1.0');
      if (given.traceparent !== undefined)
        assert.deepEqual(lines.splice(1, 1), [`traceparent: ${given.traceparent}`]);
      assert.equal(lines.length, 5);
      assert.match(lines[1] as string, /^Nats-Msg-Id: id$/);
      assert.match(lines[2] as string, /^Cr: [ed] [!-~ ]+$/);
      assert.deepEqual(lines.slice(3), ['', '']);
    }),
  );
});

test('what the server has appended counts, not what stood there before', () => {
  const headers =
    'NATS/1.0\r\nNats-Sequence: 999\r\nCr: d 1 ann - -\r\nNats-Sequence: 12\r\nNats-Last-Sequence: 9\r\n\r\n';
  assert.equal(numberIn(headers, SEQUENCE), 12);
  assert.equal(numberIn(headers, LAST_SEQUENCE), 9);
  assert.equal(numberIn('NATS/1.0\r\n\r\n', SEQUENCE), undefined);
});

test('status lines', () => {
  assert.equal(statusOf('NATS/1.0 503\r\n\r\n'), 503);
  assert.equal(statusOf('NATS/1.0 404 Message Not Found\r\n\r\n'), 404);
  assert.equal(statusOf('NATS/1.0\r\nNats-Sequence: 1\r\n\r\n'), 200);
});

test('a message of somebody else is none of ours', () => {
  assert.equal(decodeMeta(''), undefined);
  assert.equal(decodeMeta('NATS/1.0\r\nFoo: bar\r\n\r\n'), undefined);
  assert.equal(decodeMeta('NATS/1.0\r\nCr: d 1\r\n\r\n'), undefined);
});

test('a traceparent that is none is dropped, and the message taken', () => {
  for (const value of ['', 'x'.repeat(55), '","from":"root', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`]) {
    const found = decodeMeta(`NATS/1.0\r\ntraceparent: ${value}\r\nCr: d 1 ann - -\r\n\r\n`);
    assert.equal(found?.from, 'ann');
    assert.equal(found?.traceparent, undefined);
  }
});
