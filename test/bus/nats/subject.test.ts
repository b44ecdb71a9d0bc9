import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fnv1a32 } from '../../../src/broker/hash.ts';
import { decodeToken, encodeToken, SUBJECT_MAX, Subjects } from '../../../src/bus/nats/subject.ts';

/** Any UTF-16 text, lone surrogates too: JSON can carry it, so a tenant can be it. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((codes) => String.fromCharCode(...codes)),
  fc.constantFrom(
    '',
    '%',
    '%u',
    '%uD800',
    '.',
    '*',
    '>',
    '$JS',
    ' ',
    '\r\n',
    '\ud800',
    '\udc00\ud800',
    'a\ud83d\ude00',
  ),
);

test('a token comes back as it was, and is one token of a subject', () => {
  fc.assert(
    fc.property(anyText, (text) => {
      const token = encodeToken(text);
      assert.match(token, /^[A-Za-z0-9_%-]+$/);
      assert.equal(decodeToken(token), text);
    }),
    { numRuns: 3000 },
  );
});

test('different names have different tokens', () => {
  fc.assert(
    fc.property(anyText, anyText, (one, other) => {
      assert.equal(encodeToken(one) === encodeToken(other), one === other);
    }),
  );
});

test('the hash is the published FNV-1a, so that all nodes agree for ever', () => {
  assert.equal(fnv1a32(''), 0x811c9dc5);
  assert.equal(fnv1a32('a'), 0xe40c292c);
  assert.equal(fnv1a32('foobar'), 0xbf9cf968);
});

test('the subjects of a room', () => {
  const subjects = new Subjects('carillon', 8);
  const room = subjects.room('acme', 'chat:lobby.1');
  const shard = fnv1a32('acme\0chat:lobby.1') % 8;
  assert.deepEqual(room, {
    shard,
    log: `carillon.log.${shard}.acme.chat%3Alobby%2E1`,
    live: `carillon.live.${shard}.acme.chat%3Alobby%2E1`,
  });
  assert.equal(subjects.stream(3), 'CARILLON_3');
  assert.equal(subjects.logs(3), 'carillon.log.3.>');
});

test('tenant and room do not run into each other', () => {
  const subjects = new Subjects('c', 1);
  assert.notEqual(subjects.room('a.b', 'c')?.log, subjects.room('a', 'b.c')?.log);
  assert.notEqual(subjects.room('a', '')?.log, subjects.room('', 'a')?.log);
});

test('a name that is too long for a subject has none: the server would drop the connection', () => {
  const subjects = new Subjects('c', 8);
  assert.equal(subjects.room('é'.repeat(400), 'room'), undefined);
  const longest = subjects.room('t'.repeat(64), '.'.repeat(128));
  assert.ok(longest !== undefined && longest.live.length <= SUBJECT_MAX);
});

test('rooms spread over the shards', () => {
  const subjects = new Subjects('c', 8);
  const counts = new Array<number>(8).fill(0);
  for (let n = 0; n < 8000; n++) {
    const shard = subjects.room('default', `room-${n}`)?.shard ?? 0;
    counts[shard] = (counts[shard] ?? 0) + 1;
  }
  for (const count of counts) assert.ok(count > 700 && count < 1300, `${counts}`);
});
