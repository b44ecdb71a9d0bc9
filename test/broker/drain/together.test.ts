import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DRAIN_LIMITS } from '../../../src/broker/drain/budget.ts';
import { type DrainProgress, NO_DRAIN } from '../../../src/broker/drain/drain.ts';
import { together } from '../../../src/broker/drain/together.ts';

const RUNNING: DrainProgress = {
  ...NO_DRAIN,
  state: 'draining',
  total: 10,
  left: 4,
  perSecond: 5,
  limit: 'lag',
  limitedBy: 'b',
  survivors: 2,
  elapsedMs: 100,
  deadlineMs: 5000,
};
const DONE: DrainProgress = { ...RUNNING, state: 'drained', left: 0, limit: 'growing', elapsedMs: 300 };

test('workers that drain are one drain: sums, and the limit of the one with most left', () => {
  const full: DrainProgress = { ...NO_DRAIN, ...RUNNING, left: 7, limit: 'full' };
  assert.deepEqual(together([RUNNING, { ...full, limitedBy: 'c' }, DONE]), {
    state: 'draining',
    total: 30,
    left: 11,
    perSecond: 10,
    limit: 'full',
    limitedBy: 'c',
    survivors: 2,
    elapsedMs: 300,
    deadlineMs: 5000,
  });
});

test('it is over when all are, and has not begun where one that is not draining has not', () => {
  assert.equal(together([DONE, DONE]).state, 'drained');
  assert.equal(together([DONE, RUNNING, NO_DRAIN]).state, 'draining');
  assert.equal(together([DONE, NO_DRAIN]).state, 'none');
});

test('whatever the parts: nobody is lost in the sum, and what is done has no pace', () => {
  const progress: fc.Arbitrary<DrainProgress> = fc.record({
    state: fc.constantFrom('none' as const, 'draining' as const, 'drained' as const),
    total: fc.nat(1000),
    left: fc.nat(1000),
    perSecond: fc.nat(100),
    limit: fc.constantFrom(...DRAIN_LIMITS),
    survivors: fc.nat(5),
    elapsedMs: fc.nat(10_000),
    deadlineMs: fc.nat(10_000),
  });
  fc.assert(
    fc.property(fc.array(progress, { minLength: 1, maxLength: 8 }), (drains) => {
      const all = together(drains);
      assert.equal(
        all.left,
        drains.reduce((sum, { left }) => sum + left, 0),
      );
      assert.equal(
        all.perSecond > 0,
        drains.some(({ state, perSecond }) => state === 'draining' && perSecond > 0),
      );
      assert.ok(drains.some(({ limit }) => limit === all.limit));
    }),
  );
});
