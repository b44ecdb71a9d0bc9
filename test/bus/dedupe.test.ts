import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DedupeWindow, publishIdentity, TenantDedupe } from '../../src/bus/dedupe.ts';

test('an entry is there for the window at least and for two at most', () => {
  const gap = fc.integer({ min: 0, max: 250 });
  fc.assert(
    fc.property(fc.array(fc.tuple(gap, fc.nat(30)), { maxLength: 80 }), (steps) => {
      const window = new DedupeWindow(100, 1000);
      const first = new Map<string, { seq: number; at: number }>();
      let now = 5;
      for (const [n, [wait, name]] of steps.entries()) {
        now += wait;
        const identity = `id${name}`;
        const got = window.get(identity, now);
        const known = first.get(identity);
        if (known !== undefined && now - known.at < 100) assert.equal(got, known.seq, 'inside its window');
        if (known === undefined || now - known.at >= 200) assert.equal(got, undefined, 'after two windows');
        if (got !== undefined) continue;
        window.add(identity, n, now);
        first.set(identity, { seq: n, at: now });
      }
    }),
  );
});

test('over its size the window forgets the older half, counts it, and keeps the newest half', () => {
  const window = new DedupeWindow(1000, 100);
  for (let n = 0; n < 1000; n++) {
    window.add(`id${n}`, n, 0);
    assert.ok(window.size <= 100);
    for (let back = 0; back < Math.min(50, n + 1); back++)
      assert.equal(window.get(`id${n - back}`, 0), n - back);
  }
  assert.equal(window.evicted, 1000 - window.size);
  assert.equal(window.get('id0', 0), undefined);
});

test('a sweep returns the memory of what is over, without any publish', () => {
  const window = new DedupeWindow(1000, 100);
  window.add('a', 1, 0);
  window.sweep(999);
  assert.equal(window.size, 1);
  window.sweep(1000);
  assert.equal(window.size, 1, 'in its second window');
  window.sweep(2000);
  assert.equal(window.size, 0);
  window.add('b', 2, 3000);
  window.sweep(9000);
  assert.equal(window.size, 0, 'after a pause of many windows at once');
  assert.equal(window.evicted, 0, 'what has had its time is not evicted');
});

test('with no entries allowed nothing is remembered', () => {
  const window = new DedupeWindow(1000, 0);
  window.add('a', 1, 0);
  assert.equal(window.get('a', 0), undefined);
  assert.deepEqual([window.size, window.evicted], [0, 0]);
});

test('ids of every length and kind are found again', () => {
  const window = new DedupeWindow(1000, 1_000_000);
  for (let n = 0; n < 100_000; n++) window.add(`m-${n}`, n, 0);
  for (let n = 0; n < 100_000; n += 997) assert.equal(window.get(`m-${n}`, 0), n);
  for (const short of ['', 'a', 'ab', '🙂']) {
    window.add(short, 7, 0);
    assert.equal(window.get(short, 0), 7);
  }
  assert.equal(window.size, 100_004);
});

test('the identity of a publish is its own: no two triples share one', () => {
  const part = fc.string({ unit: fc.constantFrom('a', '\0', '1', ':'), maxLength: 5 });
  const room = fc.constantFrom('t\0r', 't\0r1', 't1\0r');
  fc.assert(
    fc.property(fc.tuple(room, part, part), fc.tuple(room, part, part), (one, other) => {
      const same = one.every((each, at) => each === other[at]);
      assert.equal(publishIdentity(...one) === publishIdentity(...other), same);
    }),
    { numRuns: 5000 },
  );
});

const SHARED = { dedupeWindowMs: 1000, dedupeEntries: 10_000, dedupeEntriesPerTenant: 6000 };

test('a flood of one tenant pushes out its own alone, and is told so', () => {
  const dedupe = new TenantDedupe(SHARED);
  for (let n = 0; n < 100; n++) dedupe.add('quiet', `q${n}`, n, 0);
  for (let n = 0; n < 50_000; n++) dedupe.add('flood', `f${n}`, n, 1);
  for (let n = 0; n < 100; n++) assert.equal(dedupe.get('quiet', `q${n}`, 2), n);
  assert.equal(dedupe.get('flood', 'f0', 2), undefined);
  assert.deepEqual([dedupe.partial('flood', 2), dedupe.partial('quiet', 2)], [true, false]);
  assert.ok(dedupe.size <= 6100);
  assert.equal(dedupe.partial('flood', 1001), false, 'what was forgotten would have had its time by now');
});

test('where all together are too many, the tenant with the most gives up its older half', () => {
  const dedupe = new TenantDedupe(SHARED);
  for (let n = 0; n < 3000; n++) dedupe.add('large', `l${n}`, n, 0);
  for (let n = 0; n < 3000; n++) dedupe.add('large', `k${n}`, n, 0);
  for (let tenant = 0; tenant < 50; tenant++)
    for (let n = 0; n < 200; n++) dedupe.add(`small-${tenant}`, `s${n}`, n, 1);
  assert.ok(dedupe.size <= SHARED.dedupeEntries + 1000, `${dedupe.size}`);
  assert.equal(dedupe.partial('large', 2), true);
  for (let tenant = 0; tenant < 50; tenant++) assert.equal(dedupe.get(`small-${tenant}`, 's0', 2), 0);
});

test('tenants that are over leave nothing', () => {
  const dedupe = new TenantDedupe(SHARED);
  for (let n = 0; n < 100; n++) dedupe.add(`t${n}`, 'a', n, 0);
  dedupe.sweep(5000);
  assert.equal(dedupe.size, 0);
  assert.equal(dedupe.get('t0', 'a', 5000), undefined);
});
