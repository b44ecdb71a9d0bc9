import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FrameFault } from '../../src/protocol/inbound.ts';
import { decodeJson } from '../../src/protocol/json.ts';
import { decodeMsgpack, encodeMsgpack } from '../../src/protocol/msgpack.ts';
import { LIMITS } from './arbitraries.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What both encodings, which must agree, make of a frame. */
function codeOf(frame: Fields): string {
  const answers = [
    decodeJson(new TextEncoder().encode(JSON.stringify(frame)), LIMITS),
    decodeMsgpack(encodeMsgpack(frame), LIMITS),
  ];
  const [json, msgpack] = answers;
  assert.deepEqual(json, msgpack);
  assert.ok(json !== undefined && !Array.isArray(json));
  return json.type === 'fault' ? json.code : 'taken';
}

function faultOf(frame: Fields): FrameFault {
  return decodeJson(new TextEncoder().encode(JSON.stringify(frame)), LIMITS) as FrameFault;
}

const BASE: Readonly<Record<string, Fields>> = {
  pub: { room: 'r', payload: 1 },
  join: { room: 'r' },
  leave: { room: 'r' },
  history: { room: 'r' },
  presence: { room: 'r' },
  refresh: { token: 't' },
  ping: {},
};

const LONG = 'x'.repeat(64);
const TOO_LONG = 'x'.repeat(65);
const MAX = Number.MAX_SAFE_INTEGER;

interface Rule {
  readonly types: readonly string[];
  readonly field: string;
  readonly good: readonly unknown[];
  readonly bad: readonly unknown[];
}

const RULES: readonly Rule[] = [
  {
    types: Object.keys(BASE),
    field: 'id',
    good: ['', LONG, 0, 0xffff_ffff],
    bad: [TOO_LONG, -1, 1.5, 0x1_0000_0000, null, true, {}, []],
  },
  { types: ['pub'], field: 'msgId', good: ['a', LONG, '€'], bad: ['', TOO_LONG, 1, null, [], {}] },
  { types: ['pub'], field: 'key', good: ['a', LONG], bad: ['', TOO_LONG, 1, null, {}] },
  { types: ['pub'], field: 'ephemeral', good: [true, false], bad: [0, 1, 'true', null] },
  { types: ['pub'], field: 'echo', good: [true, false], bad: [0, 1, 'false', null] },
  {
    types: ['pub'],
    field: 'traceparent',
    good: [`00-${'a'.repeat(32)}-${'1'.repeat(16)}-01`, `00-${'0'.repeat(31)}1-${'0'.repeat(15)}f-ff`],
    bad: [
      '',
      1,
      null,
      `00-${'A'.repeat(32)}-${'1'.repeat(16)}-01`,
      `ff-${'a'.repeat(32)}-${'1'.repeat(16)}-01`,
      `00-${'0'.repeat(32)}-${'1'.repeat(16)}-01`,
      `00-${'a'.repeat(32)}-${'0'.repeat(16)}-01`,
      `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01\n`,
      `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01-more`,
    ],
  },
  { types: ['pub'], field: 'payload', good: [null, false, 0, '', [], {}, { a: [1] }], bad: [] },
  { types: ['join'], field: 'presence', good: [true, false], bad: [0, 'true', null] },
  {
    types: ['join'],
    field: 'overflow',
    good: ['backfill', 'latest', 'skip', 'close'],
    bad: ['', 'Skip', 'toString', 1, null, ['skip']],
  },
  {
    types: ['join'],
    field: 'since',
    good: [
      { epoch: '', seq: 0 },
      { epoch: LONG, seq: MAX },
      { last: 0 },
      { last: 10_000 },
      { last: 1, other: 1 },
    ],
    bad: [
      null,
      1,
      'x',
      [],
      {},
      { epoch: 'e' },
      { seq: 1 },
      { epoch: TOO_LONG, seq: 1 },
      { epoch: 1, seq: 1 },
      { epoch: 'e', seq: -1 },
      { epoch: 'e', seq: 1.5 },
      { epoch: 'e', seq: '1' },
      { last: -1 },
      { last: 10_001 },
      { last: 1.5 },
      { last: '1' },
      { last: null },
      { last: 1, epoch: 'e', seq: 1 },
    ],
  },
  { types: ['history'], field: 'before', good: [0, MAX], bad: [-1, 1.5, '1', null] },
  { types: ['history'], field: 'after', good: [0, MAX], bad: [-1, 1.5, '1', null] },
  { types: ['history'], field: 'limit', good: [1, MAX], bad: [0, -1, 1.5, '1', null] },
  { types: ['refresh'], field: 'token', good: ['t', 'x'.repeat(5000)], bad: ['', 1, null, {}] },
  { types: ['ping'], field: 'ts', good: [0, -1.5, 1e300, '', LONG], bad: [TOO_LONG, null, true, {}, []] },
];

for (const { types, field, good, bad } of RULES) {
  for (const type of types) {
    test(`"${field}" of ${type} is held to its rule`, () => {
      const frame = { type, ...BASE[type] };
      for (const value of good)
        assert.equal(codeOf({ ...frame, [field]: value }), 'taken', JSON.stringify(value));
      for (const value of bad) {
        assert.equal(codeOf({ ...frame, [field]: value }), 'bad_frame', JSON.stringify(value));
        assert.match(faultOf({ ...frame, [field]: value }).reason, new RegExp(`"${field}"`));
      }
    });
  }
}

test('a frame needs no more than its required fields, and each of these', () => {
  for (const [type, fields] of Object.entries(BASE)) {
    assert.equal(codeOf({ type, ...fields }), 'taken');
    for (const field of Object.keys(fields)) {
      const rest = Object.fromEntries(Object.entries(fields).filter(([name]) => name !== field));
      assert.equal(
        codeOf({ type, ...rest }),
        field === 'room' ? 'bad_room' : 'bad_frame',
        `${type} without ${field}`,
      );
    }
  }
});

test('a room name that is none is bad_room', () => {
  for (const room of ['', 'a b', 'ä', 'a/b', 'a*', 'x'.repeat(129), 'r\n', 1, null, ['r']]) {
    for (const type of ['pub', 'join', 'leave', 'history', 'presence']) {
      assert.equal(codeOf({ type, ...BASE[type], room }), 'bad_room', JSON.stringify(room));
    }
  }
});

test('an unknown type is bad_type, a missing one bad_frame', () => {
  for (const type of ['event', 'fault', 'welcome', 'Ping', '', '__proto__', 'hasOwnProperty']) {
    assert.equal(codeOf({ type, id: 9 }), 'bad_type');
    assert.equal(faultOf({ type, id: 9 }).id, 9);
  }
  for (const type of [undefined, null, 1, {}, ['ping']]) assert.equal(codeOf({ type, id: 9 }), 'bad_frame');
});

test('what is quoted back of an unknown type is short', () => {
  assert.ok(faultOf({ type: 'x'.repeat(5000) }).reason.length < 200);
});

test('before and after exclude each other', () => {
  assert.equal(codeOf({ type: 'history', room: 'r', before: 1, after: 1 }), 'bad_frame');
  assert.equal(codeOf({ type: 'history', room: 'r', before: 1, limit: 1 }), 'taken');
});

test('fields that nobody knows are no reason to refuse', () => {
  assert.equal(codeOf({ type: 'ping', room: 7, payload: 1, hello: { a: 1 } }), 'taken');
});

test('a fault carries id, msgId and room as far as these are valid themselves', () => {
  const { type, code, reason, ...names } = faultOf({ type: 'pub', id: 3, msgId: 'm', room: 'r' });
  assert.deepEqual([type, code, names], ['fault', 'bad_frame', { id: 3, msgId: 'm', room: 'r' }]);
  assert.match(reason, /payload/);
  assert.deepEqual(Object.keys(faultOf({ type: 'pub', id: null, msgId: '', room: '', payload: 1 })), [
    'type',
    'code',
    'reason',
  ]);
  assert.deepEqual(Object.keys(faultOf({ type: 'pub', id: 1, msgId: 4, room: 'r', payload: 1 })), [
    'type',
    'code',
    'reason',
    'id',
    'room',
  ]);
});

test('a reason says what the field must be', () => {
  assert.equal(
    faultOf({ type: 'pub', room: 'r', payload: 1, msgId: '' }).reason,
    '"msgId" must be a string of 1 to 64 characters',
  );
});

test('optional fields that are absent are no properties', () => {
  const frame = decodeJson(new TextEncoder().encode('{"type":"join","room":"r"}'), LIMITS);
  assert.deepEqual(Object.keys(frame), ['type', 'room']);
});

test('properties of Object.prototype, should somebody have polluted it, are not fields', () => {
  const prototype = Object.prototype as Record<string, unknown>;
  prototype['room'] = 'polluted';
  try {
    assert.equal(faultOf({ type: 'join' }).code, 'bad_room');
  } finally {
    delete prototype['room'];
  }
});
