import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rate } from '../../src/ops/rate.ts';

test('a rate follows the count within ten seconds, and is not thrown by one look right after another', () => {
  let now = 0;
  const rate = new Rate(() => now, 5000);
  assert.equal(rate.of(0), 0);
  assert.equal(rate.of(5), 5, 'the first second counts as a whole one');
  let count = 0;
  for (; now < 20_000; now += 500, count += 50) rate.of(count);
  assert.equal(rate.of(count), 100);
  assert.equal(rate.of(count), 100);
  for (; now < 40_000; now += 500) rate.of(count);
  assert.equal(rate.of(count), 0);
});
