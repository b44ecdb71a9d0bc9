import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { afterLoss, ceilingMs, fullJitterMs, type Loss } from '../../src/client/backoff.ts';
import { CLOSE_CODES } from '../../src/protocol/codes.ts';

const policy = { minMs: 500, maxMs: 20_000 };

function loss(code: number, more: Partial<Loss> = {}): Loss {
  return { code, attempt: 0, freshTokens: true, ...more };
}

function delayOf(given: Loss, random = 1): number {
  const next = afterLoss(given, policy, () => random);
  assert.equal(next.action, 'retry');
  return next.action === 'retry' ? next.delayMs : Number.NaN;
}

test('the ceiling doubles up to the maximum and never overflows', () => {
  assert.deepEqual(
    [0, 1, 2, 5, 6, 1e6].map((attempt) => ceilingMs(attempt, policy)),
    [500, 1000, 2000, 16_000, 20_000, 20_000],
  );
});

test('full jitter: anything between nothing and the ceiling', () => {
  const property = fc.property(fc.nat(100), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, random) => {
    const ms = fullJitterMs(attempt, policy, () => random);
    assert.ok(ms >= 0 && ms <= ceilingMs(attempt, policy));
  });
  fc.assert(property);
  assert.equal(
    fullJitterMs(3, policy, () => 0),
    0,
  );
});

test('4000-4099 stop, everything else comes back', () => {
  for (const { code } of Object.values(CLOSE_CODES)) {
    const { action } = afterLoss(loss(code), policy, () => 0.5);
    assert.equal(action, code < 4100 ? 'stop' : 'retry', `code ${code}`);
  }
  for (const code of [1000, 1001, 1006, 1009, 1011, 4999])
    assert.equal(afterLoss(loss(code), policy, () => 0.5).action, 'retry', `code ${code}`);
});

test('4100-4199 back off harder than a lost connection, and never at once', () => {
  assert.equal(delayOf(loss(1006)), 500);
  assert.equal(delayOf(loss(4100)), 4000);
  assert.equal(delayOf(loss(4102), 0), 500);
  assert.equal(delayOf(loss(4105, { attempt: 20 })), 20_000);
});

test('the slot that a drain gave is kept to the millisecond; without one, or late, jitter', () => {
  assert.equal(delayOf(loss(4200, { slotMs: 7300 })), 7300);
  assert.equal(delayOf(loss(1006, { slotMs: 7300 })), 7300, 'a slow socket may never see the close frame');
  assert.equal(delayOf(loss(4200)), 500);
  assert.equal(delayOf(loss(4200, { slotMs: -20 })), 0, 'the close that ends the slot');
  assert.equal(delayOf(loss(4200, { slotMs: -120 })), 500);
});

test('4201 comes back with a new token, and stops where there is none to be had', () => {
  assert.equal(delayOf(loss(4201)), 500);
  assert.equal(afterLoss(loss(4201, { freshTokens: false }), policy, () => 0).action, 'stop');
});

test('only 4203 drops positions', () => {
  for (const code of [1006, 4100, 4200, 4201, 4203]) {
    const next = afterLoss(loss(code), policy, () => 0);
    assert.equal(next.action === 'retry' && next.dropPositions, code === 4203, `code ${code}`);
  }
});
