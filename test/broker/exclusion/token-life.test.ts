/** How long a credential may live, whatever it says of itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeLife } from '../../../src/broker/exclusion/token-life.ts';

const NOW = 1_800_000_000;
const DAY = 86_400;
const RULES = { tokenLifeMs: 30 * DAY * 1000, clockToleranceSeconds: 5 };
const judge = (issuedAt?: number, exp?: number) =>
  judgeLife(
    { ...(issuedAt !== undefined && { issuedAt }), ...(exp !== undefined && { exp }) },
    RULES,
    NOW * 1000,
  );
const reason = (issuedAt?: number, exp?: number) => {
  const verdict = judge(issuedAt, exp);
  return verdict.ok ? 'good' : `${verdict.code}: ${verdict.reason}`;
};

test('C1.4.2 from iat to exp it is the longest life at most', () => {
  assert.deepEqual(judge(NOW, NOW + 30 * DAY), { ok: true, exp: NOW + 30 * DAY });
  assert.match(
    reason(NOW, NOW + 30 * DAY + 1),
    /^unauthorized: exp \(20.*30 days \(revocation\.tokenLifeMs\) after iat/,
  );
  assert.match(reason(NOW - 30 * DAY, NOW + 1), /^unauthorized: exp/);
  assert.match(reason(-1e300, NOW + 60), /^unauthorized: exp/);
  assert.match(reason(NOW, 1e300), /^unauthorized: exp \(1e\+300\)/);
});

test('iat is not in the future, but for clocks that differ', () => {
  assert.equal(reason(NOW + 5, NOW + 60), 'good');
  assert.match(reason(NOW + 6, NOW + 60), /^unauthorized: iat \(20.*future/);
  assert.match(reason(1e300, 1e300), /^unauthorized: iat/);
});

test('what has no iat may end the longest life from now at most', () => {
  assert.equal(reason(undefined, NOW + 30 * DAY), 'good');
  assert.match(reason(undefined, NOW + 30 * DAY + 1), /no iat/);
});

test('what has no exp ends the longest life after its iat', () => {
  assert.deepEqual(judge(NOW - DAY), { ok: true, exp: NOW + 29 * DAY });
  assert.match(reason(NOW - 30 * DAY), /^token_expired: the token has no exp/);
  assert.deepEqual(judge(), { ok: true, exp: NOW + 30 * DAY });
});
