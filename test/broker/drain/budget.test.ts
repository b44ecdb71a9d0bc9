/** The pace of a drain, found from what the others tell. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DrainBudget, type Pace, type Survivor } from '../../../src/broker/drain/budget.ts';

const SETTINGS = { perSecond: 500, loopLagMs: 50, awayMs: 1000 };
const CALM: Survivor = { node: 'a', acceptsPerSecond: 0, acceptsMax: 500, spare: 10_000, loopLagMs: 2 };

function next(budget: DrainBudget, survivors: readonly Survivor[], drainers = 1): Pace {
  return budget.next({ survivors, drainers, left: 100, remainingMs: 20_000 });
}

function paces(budget: DrainBudget, rounds: number, survivors: readonly Survivor[]): number[] {
  return Array.from({ length: rounds }, () => Math.round(next(budget, survivors).perSecond));
}

test('with calm survivors it grows by half from a sixteenth of what they are free to take, to all of it', () => {
  assert.deepEqual(paces(new DrainBudget(SETTINGS), 9, [CALM]), [31, 47, 70, 105, 158, 237, 356, 500, 500]);
  const two = [CALM, { ...CALM, node: 'b' }];
  assert.deepEqual(paces(new DrainBudget(SETTINGS), 9, two), [63, 94, 141, 211, 316, 475, 712, 1000, 1000]);
  const busy = [{ ...CALM, acceptsPerSecond: 300 }];
  assert.deepEqual(paces(new DrainBudget(SETTINGS), 1, busy), [13]);
});

test('a late loop halves it with each heartbeat, down to a floor; then it grows in steps', () => {
  const budget = new DrainBudget(SETTINGS);
  paces(budget, 8, [CALM]);
  const late = { ...CALM, node: 'b', loopLagMs: 51 };
  const { limit, limitedBy } = next(budget, [CALM, late]);
  assert.deepEqual([limit, limitedBy], ['lag', 'b']);
  assert.deepEqual(paces(budget, 6, [late]), [125, 63, 31, 16, 10, 10]);
  assert.deepEqual(paces(budget, 3, [{ ...late, loopLagMs: 45 }]), [10, 10, 10], 'stays below the limit');
  assert.deepEqual(paces(budget, 3, [CALM]), [60, 110, 160]);
});

test('more accepts than a survivor wants halve it, whoever sends them', () => {
  const budget = new DrainBudget(SETTINGS);
  paces(budget, 8, [CALM]);
  const pace = next(budget, [{ ...CALM, acceptsPerSecond: 600 }]);
  assert.deepEqual(pace, { perSecond: 250, limit: 'accepts', limitedBy: 'a', survivors: 1 });
});

test('the survivor that takes the least sets the pace for all; one that is full does not count', () => {
  const small = { ...CALM, node: 'small', acceptsMax: 40 };
  const budget = new DrainBudget(SETTINGS);
  paces(budget, 8, [CALM, small]);
  assert.deepEqual(next(budget, [CALM, small]), {
    perSecond: 80,
    limit: 'accepts',
    limitedBy: 'small',
    survivors: 2,
  });
  const full = { ...CALM, node: 'full', spare: 0 };
  assert.equal(next(budget, [CALM, full]).survivors, 1);
  assert.deepEqual(next(budget, [full]), { perSecond: 10, limit: 'full', survivors: 0 });
});

test('alone it keeps the pace of the settings, and goes beyond it only for the deadline', () => {
  const budget = new DrainBudget(SETTINGS);
  const alone = (left: number) =>
    budget.next({ survivors: [], drainers: 1, left, remainingMs: 20_000 }).perSecond;
  assert.equal(alone(1000), 500);
  assert.equal(alone(40_000), 2000);
});

test('where the deadline asks for more, all are spread evenly, at most at what survivors take; not while one is strained', () => {
  const hard = (survivor: Survivor, left: number) =>
    new DrainBudget(SETTINGS).next({ survivors: [survivor], drainers: 1, left, remainingMs: 20_000 });
  assert.deepEqual(hard(CALM, 4000), { perSecond: 200, limit: 'deadline', survivors: 1 });
  assert.equal(hard(CALM, 40_000).perSecond, 500);
  assert.deepEqual(hard({ ...CALM, loopLagMs: 51 }, 4000), {
    perSecond: 10,
    limit: 'lag',
    limitedBy: 'a',
    survivors: 1,
  });
});

test('those who come back late are sent at seven tenths of the pace at which they come, until nobody waits', () => {
  const budget = new DrainBudget(SETTINGS);
  const after = (perSecond: number, awayMs: number) =>
    budget.next({
      survivors: [CALM],
      drainers: 1,
      left: 100,
      remainingMs: 20_000,
      returns: { perSecond, awayMs },
    });
  const prompt = 700;
  next(budget, [CALM]);
  assert.equal(after(31, prompt).perSecond, 46.875, 'what they need by themselves is not counted');
  assert.equal(after(20, prompt + 500).perSecond, 46.875, 'fewer than half come back: it does not grow');
  assert.deepEqual(after(40, prompt + 1001), { perSecond: 28, limit: 'away', survivors: 1 });
  assert.equal(after(40, prompt + 900).perSecond, 28);
  assert.equal(after(28, prompt).perSecond, 38, 'from then on it grows in steps');
  assert.equal(after(0, Number.MAX_SAFE_INTEGER).perSecond, 10, 'none comes back: the least');
});

const survivor = fc.record({
  node: fc.constantFrom('a', 'b', 'c'),
  acceptsPerSecond: fc.nat(2000),
  acceptsMax: fc.integer({ min: 1, max: 1000 }),
  spare: fc.nat(5000),
  loopLagMs: fc.nat(500),
});
const rounds = fc.array(fc.array(survivor, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 30 });

test('drainers together never send a survivor more than it takes, and none ever stops', () => {
  fc.assert(
    fc.property(rounds, fc.integer({ min: 1, max: 5 }), (heard, drainers) => {
      const budgets = Array.from({ length: drainers }, () => new DrainBudget(SETTINGS));
      for (const survivors of heard) {
        const all = budgets.map((budget) => next(budget, survivors, drainers).perSecond);
        const together = all.reduce((sum, one) => sum + one, 0);
        const able = survivors.filter(({ spare }) => spare > 0);
        assert.ok(all.every((pace) => pace > 0));
        if (able.length === 0) continue;
        const least = Math.min(...able.map(({ acceptsMax, spare }) => Math.min(acceptsMax, spare)));
        assert.ok(together / able.length <= least * 1.000001, `${together} for ${able.length} of ${least}`);
      }
    }),
  );
});

/** A node whose loop gets later with each connection that it takes in a second, beyond what it can do. */
function loaded(capacity: number, perSecond: number): Survivor {
  return { ...CALM, acceptsPerSecond: perSecond, loopLagMs: 5 + Math.max(0, perSecond - capacity) };
}

test('it comes to rest around what the survivor can do, and is over it for a heartbeat at a time', () => {
  fc.assert(
    fc.property(fc.integer({ min: 60, max: 450 }), (capacity) => {
      const budget = new DrainBudget(SETTINGS);
      let pace = 0;
      const seen: number[] = [];
      for (let at = 0; at < 60; at++) {
        pace = next(budget, [loaded(capacity, pace)]).perSecond;
        if (at >= 20) seen.push(pace);
      }
      const strained = seen.map((one) => one > capacity + 45);
      assert.ok(!strained.some((over, at) => over && strained[at + 1] === true), 'never twice in a row');
      const mean = seen.reduce((sum, one) => sum + one, 0) / seen.length;
      assert.ok(mean > capacity / 2 && mean <= capacity + 45, `${mean} of ${capacity}`);
    }),
  );
});
