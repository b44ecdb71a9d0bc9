import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Access, actionsOf, compileAccess } from '../../../src/broker/access/access.ts';
import { isAccessPattern } from '../../../src/broker/access/template.ts';
import { ACTIONS, type Identity, type RoomGrant } from '../../../src/broker/ports.ts';
import { isRoomPattern } from '../../../src/protocol/room.ts';
import { SimNode } from '../../support/sim.ts';
import { reference, room, rules, who } from './reference.ts';

function identity(user: string, rooms: readonly RoomGrant[], info?: Identity['info']): Identity {
  return { user, tenant: 'default', rooms, ...(info && { info }) };
}

test('decides as the rules say, for any claims, policy, room and action', () => {
  let allowed = 0;
  let asked = 0;
  const property = fc.property(who, rules, room, (identity, rules, room) => {
    const access = compileAccess(identity, rules);
    for (const action of ACTIONS) {
      const expected = reference(identity, rules, action, room);
      assert.equal(access.may(action, room), expected);
      assert.equal(actionsOf(access.grantFor(room)).includes(action), expected);
      asked++;
      if (expected) allowed++;
    }
  });
  fc.assert(property, { numRuns: 5000 });
  // Both answers have to come up often, or nothing was compared.
  assert.ok(allowed > asked * 0.05 && allowed < asked * 0.95, `${allowed} of ${asked}`);
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

test('C2.4.1 placeholders stand for the claims of who asks', () => {
  const rooms: RoomGrant[] = [
    { match: 'user:${sub}:**', allow: ['join'] },
    { match: 't-${tenant}:team-${info.org.team}', allow: ['pub'] },
  ];
  const ann = new Access(identity('ann@example.com', rooms, { org: { team: 7 } }), []);
  assert.deepEqual(actionsOf(ann.grantFor('user:ann@example.com:x:y')), ['join']);
  assert.deepEqual(actionsOf(ann.grantFor('user:bob:x')), []);
  assert.deepEqual(actionsOf(ann.grantFor('t-default:team-7')), ['pub']);
  assert.deepEqual(actionsOf(ann.grantFor('t-default:team-8')), []);
});

test('C2.4.1 attack: values that would be more than a part of one segment', () => {
  const hostile = [
    '*',
    '**',
    'a:b',
    'bob:**',
    '',
    ' ',
    'ann*',
    '@bob',
    '${tenant}',
    'é',
    'a\nb',
    'x'.repeat(129),
  ];
  for (const user of hostile) {
    const list = ['user:${sub}:**', '${sub}', '${sub}:x', '@${sub}', 'user:${sub}'].map((match) => ({
      match,
      allow: ACTIONS,
    }));
    const access = compileAccess(identity(user, list));
    for (const room of [
      'user:bob:x',
      'user:a:b',
      'user:b',
      'user:',
      '@bob',
      'bob',
      'ann',
      '@@bob',
      'default',
      ':x',
    ])
      assert.equal(access.may('pub', room), false, `${user} in ${room}`);
  }
  const inherited = [{ match: '${info.constructor.name}:**', allow: ACTIONS }];
  assert.equal(compileAccess(identity('ann', inherited, {})).may('join', 'Object:x'), false);
  const listed = [{ match: '${info.team}:**', allow: ACTIONS }];
  assert.equal(compileAccess(identity('ann', listed, { team: ['a'] })).may('join', 'a:x'), false);
});

test('C2.4.1 only patterns with known placeholders are patterns of access', () => {
  for (const good of ['a', '**', '${sub}', 'a:${tenant}:*', '${sub}-${info.a.b}:**', 'x${sub}y'])
    assert.equal(isAccessPattern(good), true, good);
  const bad = [
    '${user}',
    '${}',
    '${sub',
    '$sub',
    '${sub}*',
    '*${sub}',
    '${info}',
    '${info.}',
    '${info.a b}',
    '${sub}${',
  ];
  for (const text of [...bad, '', '${sub}:**:a', `\${sub}${'a'.repeat(123)}`, 5, undefined])
    assert.equal(isAccessPattern(text), false, String(text));
  assert.equal(isRoomPattern('${sub}'), false);
});

test('a decision is kept by the session, and dropped with the claims or the policy', () => {
  const decisions: string[] = [];
  const grantFor = Access.prototype.grantFor;
  Access.prototype.grantFor = function (room) {
    decisions.push(room);
    return grantFor.call(this, room);
  };
  try {
    const node = new SimNode();
    const ann = node.connect('ann');
    ann.write({ type: 'join', room: 'a' });
    for (let at = 0; at < 10; at++) ann.write({ type: 'pub', room: 'a', payload: at });
    ann.write({ type: 'history', room: 'a' });
    node.settle();
    assert.deepEqual(decisions, ['a']);
    node.policies.set('default', { rooms: [{ match: 'a', allow: [], deny: ['pub'] }] });
    ann.take();
    ann.write({ type: 'pub', room: 'a', payload: 1 });
    node.settle();
    assert.ok(ann.take().some((frame) => frame.type === 'error' && frame.code === 'forbidden'));
    assert.deepEqual(decisions, ['a', 'a']);
  } finally {
    Access.prototype.grantFor = grantFor;
  }
});

test('attack: as many and as long patterns as the limits let pass cost little', () => {
  const stars = Array.from({ length: 64 }, () => '*').join(':');
  const hostile = Array.from({ length: 100 }, (_, at) => ({
    match: `${stars.slice(0, 120)}:${at}`,
    allow: ['pub'] as const,
  }));
  const access = compileAccess(identity('ann', hostile));
  // A matcher that goes back would take longer than the test may run: 2 to the power of 60 ways to split the name.
  for (const name of [':'.repeat(128), 'a'.repeat(128), `${'a:'.repeat(63)}aa`])
    for (let at = 0; at < 100; at++) assert.equal(access.may('join', name), false);
});
