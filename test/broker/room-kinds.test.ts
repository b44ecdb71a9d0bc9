import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mixesRooms, type RoomKind } from '../../src/broker/room-kinds.ts';
import { compilePattern } from '../../src/protocol/room.ts';

const live = (match: string): RoomKind => ({ match, durable: false });
const kept = (match: string): RoomKind => ({ match, durable: true });

test('what mixes, and what does not', () => {
  assert.equal(mixesRooms([live('**')], [live('**')]), false);
  assert.equal(mixesRooms([kept('chat:*'), live('**')], [live('**')]), true);
  assert.equal(mixesRooms([live('a:*'), live('**')], [live('**')]), false);
  // Never reached: what comes before it takes all.
  assert.equal(mixesRooms([live('**'), kept('a')], [live('**')]), false);
  assert.equal(mixesRooms([kept('a:b:**'), live('a:**')], [kept('a:*:**'), live('a:**')]), true);
  // A room that only one of them has is in no two orders.
  assert.equal(mixesRooms([kept('a')], [live('b')]), false);
});

const segment = fc.constantFrom('a', 'b', '*');
const pattern = fc
  .tuple(fc.array(segment, { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([segments, open]) => [...segments, ...(open ? ['**'] : [])].join(':'));
const rooms = fc.array(fc.record({ match: pattern, durable: fc.boolean() }), { minLength: 1, maxLength: 4 });
const WORDS = ['a', 'b', 'c'];
const NAMES = Array.from({ length: 5 }, (_, at) => at + 1).flatMap((length) =>
  Array.from({ length: WORDS.length ** length }, (_, index) =>
    Array.from({ length }, (_, at) => WORDS[Math.floor(index / WORDS.length ** at) % WORDS.length]).join(':'),
  ),
);

test('the same as trying every name', () => {
  const kindOf = (list: readonly RoomKind[]) => {
    const compiled = list.map(({ match, durable }) => ({ matches: compilePattern(match), durable }));
    return (name: string) => compiled.find(({ matches }) => matches(name))?.durable;
  };
  fc.assert(
    fc.property(rooms, rooms, (one, other) => {
      const [here, there] = [kindOf(one), kindOf(other)];
      const mixes = NAMES.some((name) => {
        const [a, b] = [here(name), there(name)];
        return a !== undefined && b !== undefined && a !== b;
      });
      assert.equal(mixesRooms(one, other), mixes);
    }),
    { numRuns: 300 },
  );
});
