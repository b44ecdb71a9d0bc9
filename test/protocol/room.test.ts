import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  compilePattern,
  ECHO_ROOM,
  inboxOf,
  isInbox,
  isRoomName,
  isRoomPattern,
  ROOM_NAME_MAX,
} from '../../src/protocol/room.ts';
import { roomName } from './arbitraries.ts';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ';
const ALLOWED = new Set(`${LETTERS}${LETTERS.toLowerCase()}0123456789_.:@-`);

/** Few characters, so that rooms and patterns meet. */
const segment = fc.string({ unit: fc.constantFrom('a', 'b', '.', '-'), maxLength: 3 });
/** A name has at least one character: a single empty segment is none. */
const room = fc
  .array(segment, { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join(':'))
  .filter((name) => name !== '');
const patternSegments = fc.tuple(
  fc.array(fc.oneof(segment, fc.constant('*')), { maxLength: 3 }),
  fc.oneof(segment, fc.constantFrom('*', '**')),
);
const pattern = patternSegments
  .map(([front, last]) => [...front, last].join(':'))
  .filter((text) => text !== '');

/** The grammar as it is told, one segment at a time. */
function matchesByHand([head, ...pattern]: readonly string[], [first, ...room]: readonly string[]): boolean {
  if (head === undefined) return first === undefined;
  if (first === undefined) return false;
  if (head === '**') return true;
  return (head === '*' || head === first) && matchesByHand(pattern, room);
}

test('a room name has 1 to 128 characters of the alphabet and no other', () => {
  fc.assert(fc.property(roomName, isRoomName));
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.oneof(
          fc.constantFrom(...ALLOWED),
          fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
        ),
      }),
      (text) => {
        assert.equal(
          isRoomName(text),
          text.length >= 1 && text.length <= 128 && [...text].every((each) => ALLOWED.has(each)),
        );
      },
    ),
  );
  assert.equal(isRoomName('x'.repeat(ROOM_NAME_MAX)), true);
  for (const other of [
    '',
    'x'.repeat(ROOM_NAME_MAX + 1),
    'a\n',
    '\na',
    'a\u0000',
    'a b',
    'a*',
    null,
    undefined,
    1,
    ['a'],
    { length: 1 },
  ]) {
    assert.equal(isRoomName(other), false, JSON.stringify(other));
  }
});

test('a pattern may have * for a segment and ** for the last', () => {
  for (const good of ['a', '*', '**', 'a:*', 'a:**', '*:a', '*:*:**', 'a.b-c:@x']) {
    assert.equal(isRoomPattern(good), true, good);
  }
  for (const other of [
    '',
    'a*',
    '*a',
    'a:b*',
    '***',
    '**:a',
    'a:**:b',
    'a b',
    'a\n',
    'x'.repeat(129),
    null,
    7,
  ]) {
    assert.equal(isRoomPattern(other), false, JSON.stringify(other));
  }
  fc.assert(fc.property(pattern, isRoomPattern));
});

test('a pattern matches the rooms that it matches by hand', () => {
  fc.assert(
    fc.property(pattern, room, (pattern, room) => {
      assert.equal(
        compilePattern(pattern)(room),
        matchesByHand(pattern.split(':'), room.split(':')),
        `${pattern} ${room}`,
      );
    }),
    { numRuns: 2000 },
  );
});

test('a room made from a pattern is matched by it', () => {
  fc.assert(
    fc.property(patternSegments, fc.array(segment, { minLength: 6, maxLength: 6 }), ([front, last], fill) => {
      const parts = [...front, last];
      const room = parts.map((part, at) => (part.includes('*') ? fill[at] : part)).join(':');
      fc.pre(room !== '');
      assert.equal(compilePattern(parts.join(':'))(room), true);
    }),
  );
});

test('C2.2 segments may be empty: * is one segment, empty or not, and ** one or more', () => {
  const table: readonly [pattern: string, matches: readonly string[], others: readonly string[]][] = [
    ['a:*', ['a:', 'a:b'], ['a', 'a::', 'a:b:', 'a::b', ':a']],
    ['a:**', ['a:', 'a:b', 'a::', 'a::b', 'a:b:'], ['a', 'ab', ':a']],
    ['*:b', [':b', 'a:b'], ['b', '::b']],
    ['a::b', ['a::b'], ['a:b', 'a:::b', 'a:x:b']],
    ['a:*:b', ['a::b', 'a:x:b'], ['a:b', 'a:::b']],
    ['a:', ['a:'], ['a', 'a::']],
    ['*', ['a'], [':', 'a:']],
    ['*:*', [':', 'a:', ':a'], ['a', '::']],
    ['**', [':', '::', 'a', 'a:'], []],
    ['*:**', [':', '::', 'a:', ':a:b'], ['a']],
  ];
  for (const [pattern, matching, others] of table) {
    assert.equal(isRoomPattern(pattern), true, pattern);
    const matches = compilePattern(pattern);
    for (const name of [...matching, ...others]) {
      assert.equal(isRoomName(name), true, name);
      assert.equal(matches(name), matching.includes(name), `${pattern} and ${name}`);
    }
  }
});

test('what is special in a regular expression is not special in a pattern', () => {
  assert.equal(compilePattern('a.b:*')('axb:c'), false);
  assert.equal(compilePattern('a.b')('axb'), false);
  assert.equal(compilePattern('a.b:*')('a.b:c'), true);
});

test('an inbox is the room of a user, and @echo is nobody’s', () => {
  assert.equal(inboxOf('alice'), '@alice');
  assert.equal(isInbox('@alice'), true);
  assert.equal(isInbox('alice'), false);
  assert.equal(isInbox(ECHO_ROOM), false);
  for (const user of ['echo', 'a b', 'é', 'x'.repeat(128)]) assert.equal(inboxOf(user), undefined, user);
});
