import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Bucket, type Rate } from '../../../src/broker/limits/bucket.ts';
import { Buckets } from '../../../src/broker/limits/buckets.ts';

const START = 1_700_000_000_000;

const rates = fc.record({
  perSecond: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 1e9 })),
  burst: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 1e9 })),
});

const asks = fc.array(
  fc.record({ after: fc.integer({ min: 0, max: 3000 }), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  { maxLength: 60 },
);

test('in every window no more passes than the burst and what the window regains', () => {
  fc.assert(
    fc.property(rates, asks, (rate, steps) => {
      const bucket = new Bucket();
      const passed: { at: number; cost: number }[] = [];
      let now = START;
      for (const { after, part } of steps) {
        now += after;
        const cost = Math.max(1, Math.floor(part * rate.burst));
        if (bucket.take(rate, cost, now) === 0) passed.push({ at: now, cost });
      }
      for (const [from, first] of passed.entries()) {
        let sum = 0;
        for (const { at, cost } of passed.slice(from)) {
          sum += cost;
          assert.ok(sum <= rate.burst + ((at - first.at) * rate.perSecond) / 1000 + 1e-6);
        }
      }
    }),
  );
});

test('what waits as long as it was told passes, and not a millisecond earlier', () => {
  fc.assert(
    fc.property(rates, asks, (rate, steps) => {
      const bucket = new Bucket();
      let now = START;
      for (const { after, part } of steps) {
        now += after;
        const cost = Math.max(1, Math.floor(part * 2 * rate.burst));
        const wait = bucket.take(rate, cost, now);
        if (wait === 0) continue;
        assert.ok(Number.isSafeInteger(wait));
        assert.ok(bucket.wait(rate, cost, now + wait - 1) > 0);
        now += wait;
        assert.equal(bucket.take(rate, cost, now), 0);
      }
    }),
  );
});

test('more than a whole burst passes when nothing is owed, and is paid in full', () => {
  const rate: Rate = { perSecond: 10, burst: 5 };
  const bucket = new Bucket();
  assert.equal(bucket.take(rate, 25, START), 0);
  assert.equal(bucket.wait(rate, 1, START), 2100);
});

test('a rate of 0 is no limit and leaves nothing behind', () => {
  const bucket = new Bucket();
  assert.equal(bucket.take({ perSecond: 0, burst: 0 }, 1e12, START), 0);
  assert.equal(bucket.take({ perSecond: 1, burst: 1 }, 1, START), 0);
});

test('a clock set back neither gives nor blocks for the time it lost', () => {
  const rate: Rate = { perSecond: 1, burst: 1 };
  const bucket = new Bucket();
  assert.equal(bucket.take(rate, 1, START), 0);
  assert.equal(bucket.take(rate, 1, START - 3_600_000), 1000);
  assert.equal(bucket.take(rate, 1, START - 3_600_000 + 1000), 0);
});

test('buckets of many keys do not touch one another, and idle ones are forgotten a few at a time', () => {
  const buckets = new Buckets({ perSecond: 1, burst: 2 }, 1000);
  for (let key = 0; key < 100; key++) assert.equal(buckets.take(`k${key}`, 2, START), 0);
  assert.equal(buckets.take('k7', 1, START), 1000);
  buckets.sweep(START + 5000, 10);
  assert.equal(buckets.size, 90);
  buckets.take('k99', 2, START + 5000);
  for (let turn = 0; turn < 30; turn++) buckets.sweep(START + 5000, 10);
  assert.equal(buckets.size, 1);
});

test('keys made up beyond the bound cost no memory', () => {
  const buckets = new Buckets({ perSecond: 1, burst: 1 }, 50);
  for (let key = 0; key < 1000; key++) buckets.take(`k${key}`, 1, START);
  assert.equal(buckets.size, 50);
});
