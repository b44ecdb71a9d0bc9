import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeClaims } from '../../src/auth/claims.ts';
import type { Identity } from '../../src/broker/ports.ts';

const POLICY = {
  requireExp: true,
  requireIat: false,
  defaultRooms: [{ match: 'public:**', allow: ['join'] }],
  roomsEntries: 100,
} as const;

function judge(claims: Record<string, unknown>) {
  return judgeClaims({ sub: 'alice', exp: 1_800_000_000, ...claims }, POLICY);
}

function identity(claims: Record<string, unknown>): Identity {
  const judged = judge(claims);
  assert.ok(judged.ok, JSON.stringify(judged));
  return judged.identity;
}

function reason(claims: Record<string, unknown>): string {
  const judged = judge(claims);
  assert.ok(!judged.ok, `taken: ${JSON.stringify(claims)}`);
  return judged.reason;
}

test('everything that a token may say', () => {
  const claims = {
    tenant: 'acme-1',
    rooms: [
      { match: 'chat:*', allow: ['join', 'pub', 'join'] },
      { match: '**', allow: [] },
    ],
    info: { name: 'Al', tags: [1, null] },
    scope: 'api',
    jti: 'x-1',
    iat: 1,
    custom: { anything: true },
  };
  assert.deepEqual(identity(claims), {
    user: 'alice',
    tenant: 'acme-1',
    exp: 1_800_000_000,
    rooms: [
      { match: 'chat:*', allow: ['join', 'pub'] },
      { match: '**', allow: [] },
    ],
    info: { name: 'Al', tags: [1, null] },
    scopes: ['api'],
    tokenId: 'x-1',
    issuedAt: 1,
  });
});

test('without the rooms claim the configured access holds; with an empty one, none', () => {
  assert.equal(identity({}).rooms, POLICY.defaultRooms);
  assert.deepEqual(identity({ rooms: [] }).rooms, []);
});

test('sub: 1 to 128 printable characters', () => {
  for (const sub of ['a', 'x'.repeat(128), 'Ünïcode 名前', 'a:b', 'user@example.com', '🦊'])
    assert.equal(identity({ sub }).user, sub);
  for (const sub of [
    undefined,
    null,
    '',
    5,
    {},
    ['a'],
    'x'.repeat(129),
    'a\nb',
    'a\0',
    '\x1b[31m',
    'a\u202eb',
    'a\u200bb',
    '\ud800',
    '\u2028',
    '\x7f',
  ]) {
    assert.match(reason({ sub }), /sub/, JSON.stringify(sub));
  }
});

test('tenant: what can stand in a subject and a file name', () => {
  for (const tenant of ['', 'a b', 'a/b', 'a:b', '*', '>', 'x'.repeat(65), 'ä', null, 1, ['a']]) {
    assert.match(reason({ tenant }), /tenant/, JSON.stringify(tenant));
  }
});

test('rooms: wrong in any way is refused, and the reason says where', () => {
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [null, /rooms is not a list/],
    ['**', /rooms is not a list/],
    [{ match: '**', allow: ['join'] }, /rooms is not a list/],
    [[null], /rooms\[0\] is not an object/],
    [['**'], /rooms\[0\] is not an object/],
    [[{ match: '**' }], /rooms\[0\] has no list as allow/],
    [[{ match: '**', allow: 'join' }], /no list as allow/],
    [[{ match: '**', allow: ['join', 'admin'] }], /something other than join, pub, presence, history/],
    [[{ match: '**', allow: ['toString'] }], /something other/],
    [[{ match: '**', allow: [null] }], /something other/],
    [
      [
        { match: '**', allow: ['join'] },
        { match: 'a b', allow: [] },
      ],
      /rooms\[1\] has no room pattern/,
    ],
    [[{ match: 'a:**:b', allow: [] }], /no room pattern/],
    [[{ match: '(a+)+$', allow: [] }], /no room pattern/],
    [[{ match: ['**'], allow: [] }], /no room pattern/],
    [[{ allow: ['join'] }], /no room pattern/],
    [[{ match: '**', allow: ['join'], deny: ['pub'] }], /field other than match and allow/],
    [Array.from({ length: 101 }, () => ({ match: '**', allow: [] })), /more than 100/],
  ];
  for (const [rooms, expected] of cases) assert.match(reason({ rooms }), expected, JSON.stringify(rooms));
});

test('info: an object of up to 1 KB of JSON', () => {
  assert.ok(identity({ info: { a: 'x'.repeat(1016) } }).info);
  assert.match(reason({ info: { a: 'x'.repeat(1017) } }), /info is over 1024 bytes/);
  assert.match(reason({ info: { a: 'é'.repeat(510) } }), /info is over/);
  for (const info of [null, [], 'x', 1]) assert.match(reason({ info }), /info is not an object/);
});

test('scope and jti are texts', () => {
  for (const scope of [['api'], 1, null, 'x'.repeat(257)]) assert.match(reason({ scope }), /scope/);
  for (const jti of ['', 1, null, 'x'.repeat(129)]) assert.match(reason({ jti }), /jti/);
});

test('C1.4.1 iat is a number of seconds, or absent', () => {
  assert.equal(identity({}).issuedAt, undefined);
  for (const iat of ['1', null, true, Number.POSITIVE_INFINITY, Number.NaN])
    assert.match(reason({ iat }), /iat/, String(iat));
});

test("names that the broker writes itself are nobody else's", () => {
  for (const sub of [
    'server',
    'Server',
    ' SERVER ',
    'ｓｅｒｖｅｒ',
    'admin token',
    'Admin  Token',
    'admin\u00a0token',
  ])
    assert.match(reason({ sub }), /sub is a reserved name/, sub);
  for (const sub of ['servers', 'server-1', 'admin', 'my server', 'token'])
    assert.equal(identity({ sub }).user, sub);
});

test('what many sessions share cannot be changed', () => {
  const rooms = identity({ rooms: [{ match: '**', allow: ['join'] }] }).rooms;
  assert.ok(Object.isFrozen(rooms) && Object.isFrozen(rooms[0]) && Object.isFrozen(rooms[0]?.allow));
});
