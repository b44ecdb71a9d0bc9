import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { afterClose, CLOSE_CODES, CLOSE_TOO_BIG, ERROR_CODES } from '../../src/protocol/codes.ts';

/** chat.v1 as it was agreed: a change here is a change of the protocol. */
const CLOSES = {
  bad_request: 4000,
  unauthorized: 4001,
  too_many_errors: 4002,
  forbidden: 4003,
  tenant_disabled: 4004,
  replaced: 4008,
  kicked: 4009,
  overloaded: 4100,
  rate_limited: 4101,
  slow_consumer: 4102,
  bus_lost: 4103,
  heartbeat_timeout: 4104,
  tenant_quota: 4105,
  drain: 4200,
  token_expired: 4201,
  state_invalidated: 4203,
};

const ERRORS =
  'bad_json bad_frame bad_type bad_room payload_too_large frame_too_large schema_violation unauthorized token_expired ' +
  'forbidden not_joined already_joined room_closed room_full too_many_rooms rate_limited quota_exceeded ' +
  'duplicate_session unavailable overloaded internal';

test('the close codes are those of chat.v1', () => {
  assert.deepEqual(
    Object.fromEntries(Object.entries(CLOSE_CODES).map(([name, { code }]) => [name, code])),
    CLOSES,
  );
});

test('the error codes are those of chat.v1', () => {
  assert.deepEqual(Object.keys(ERROR_CODES).sort(), ERRORS.split(' ').sort());
});

test('the hundred of a close code says what to do after it', () => {
  const byHundred = new Map([
    [40, 'stop'],
    [41, 'back_off'],
    [42, 'return_in_slot'],
  ]);
  for (const { code } of Object.values(CLOSE_CODES)) {
    assert.equal(afterClose(code), byHundred.get(Math.floor(code / 100)), `${code}`);
  }
  for (const [hundred, action] of byHundred) {
    assert.equal(afterClose(hundred * 100), action);
    assert.equal(afterClose(hundred * 100 + 99), action);
  }
});

test('any other close is a lost connection: back off', () => {
  assert.equal(afterClose(CLOSE_TOO_BIG), 'back_off');
  const other = fc.integer({ min: 1000, max: 4999 }).filter((code) => code < 4000 || code > 4299);
  fc.assert(fc.property(other, (code) => afterClose(code) === 'back_off'));
});

test('every code says what it means, and a refusal for now may be tried again', () => {
  for (const [code, { meaning, retry }] of Object.entries(ERROR_CODES)) {
    assert.ok(meaning.length > 10, code);
    const isForNow = /^(room_full|rate_limited|quota_exceeded|unavailable|overloaded|internal)$/.test(code);
    assert.equal(retry, isForNow, code);
  }
  for (const { meaning, code } of Object.values(CLOSE_CODES)) assert.ok(meaning.length > 10, `${code}`);
});
