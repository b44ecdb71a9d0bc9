import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { actionsOf, compileAccess } from '../../src/broker/access.ts';
import { ACTIONS, type Action, type Identity, type RoomGrant } from '../../src/broker/ports.ts';

function identity(user: string, rooms: readonly RoomGrant[]): Identity {
  return { user, tenant: 'default', rooms };
}

/** The rules as docs/protocol.md tells them, segment by segment, sharing nothing with what is tested. */
function reference(who: Identity, action: Action, room: string): boolean {
  const claimed = who.rooms.some(
    (grant) => grant.allow.includes(action) && fits(grant.match.split(':'), room.split(':')),
  );
  if (room === '@echo') return action === 'pub';
  if (!room.startsWith('@')) return claimed;
  if (action === 'pub') return claimed;
  return room === `@${who.user}`;
}

function fits(pattern: readonly string[], room: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === '**') return room.length > 0;
  if (first === undefined || room[0] === undefined) return first === undefined && room[0] === undefined;
  return (first === '*' || first === room[0]) && fits(rest, room.slice(1));
}

const segment = fc.constantFrom('a', 'b', 'A', 'a.b', 'axb', '@alice', '@bob', '@echo', '@', '');
const room = fc
  .array(segment, { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join(':'))
  .filter((name) => name !== '');
const pattern = fc
  .tuple(
    fc.array(fc.oneof(segment, fc.constant('*')), { maxLength: 3 }),
    fc.constantFrom('**', '*', 'a', 'b', 'a.b', '@bob'),
  )
  .map(([parts, last]) => [...parts, last].join(':'));
const grant = fc.record({ match: pattern, allow: fc.subarray([...ACTIONS]) });
const who = fc
  .tuple(fc.constantFrom('alice', 'bob', 'echo', 'a', 'a b', 'alice:a'), fc.array(grant, { maxLength: 6 }))
  .map(([user, rooms]) => identity(user, rooms));

test('decides as the rules say, for any claims, room and action', () => {
  let allowed = 0;
  const property = fc.property(who, room, fc.constantFrom(...ACTIONS), (identity, room, action) => {
    const expected = reference(identity, action, room);
    const access = compileAccess(identity);
    assert.equal(access.may(action, room), expected);
    assert.equal(actionsOf(access.grantFor(room)).includes(action), expected);
    if (expected) allowed++;
  });
  fc.assert(property, { numRuns: 5000 });
  // Both answers have to come up often, or nothing was compared.
  assert.ok(allowed > 250 && allowed < 4750, String(allowed));
});

const everything: RoomGrant = { match: '**', allow: ACTIONS };

test('an inbox is received by its user, without claims and whatever they say', () => {
  const alice = compileAccess(identity('alice', []));
  assert.deepEqual(actionsOf(alice.grantFor('@alice')), ['join', 'presence', 'history']);
  const mallory = compileAccess(
    identity('mallory', [everything, { match: '@alice', allow: ACTIONS }, { match: '@*', allow: ACTIONS }]),
  );
  assert.deepEqual(actionsOf(mallory.grantFor('@alice')), ['pub']);
  assert.deepEqual(actionsOf(mallory.grantFor('@alice:private')), ['pub']);
  assert.deepEqual(actionsOf(mallory.grantFor('@mallory')), [...ACTIONS]);
});

test('attack: a user named so that an inbox or the echo room would become theirs', () => {
  const echo = compileAccess(identity('echo', [everything]));
  assert.deepEqual(actionsOf(echo.grantFor('@echo')), ['pub']);
  for (const user of ['*', '**', 'a b', '', 'x'.repeat(128), '@alice', 'Alice']) {
    const access = compileAccess(identity(user, []));
    assert.deepEqual(actionsOf(access.grantFor('@alice')), [], user);
    assert.deepEqual(actionsOf(access.grantFor('alice')), [], user);
  }
});

test('no claims, no access; several entries add up', () => {
  const nobody = compileAccess(identity('alice', []));
  assert.deepEqual(actionsOf(nobody.grantFor('chat:lobby')), []);
  assert.equal(nobody.may('pub', '@echo'), true);
  const rooms: RoomGrant[] = [
    { match: 'chat:*', allow: ['join'] },
    { match: 'chat:**', allow: ['pub'] },
  ];
  const access = compileAccess(identity('alice', rooms));
  assert.deepEqual(actionsOf(access.grantFor('chat:lobby')), ['join', 'pub']);
  assert.deepEqual(actionsOf(access.grantFor('chat:lobby:x')), ['pub']);
  assert.deepEqual(actionsOf(access.grantFor('chat')), []);
  assert.deepEqual(actionsOf(access.grantFor('chatxlobby')), []);
});
