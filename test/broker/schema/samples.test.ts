import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Samples } from '../../../src/broker/schema/samples.ts';

const LIMITS = { bytes: 1, nodes: 1, steps: 1, samples: 3, sampleBytes: 8, tenants: 2 };

function violation(tenant: string, at: number) {
  return {
    tenant,
    room: 'a',
    user: 'ann',
    match: '**',
    mode: 'observe',
    path: '',
    problem: 'x',
    at,
  } as const;
}

test('the newest of each tenant are kept, and one that makes many does not hide the others', () => {
  const samples = new Samples(LIMITS);
  samples.add(violation('quiet', 1), '"q"');
  for (let at = 2; at < 100; at++) samples.add(violation('loud', at), `"${at}"`);
  assert.deepEqual(
    samples.list('quiet', 10).map(({ at }) => at),
    [1],
  );
  assert.deepEqual(
    samples.list('loud', 10).map(({ at }) => at),
    [99, 98, 97],
  );
  assert.deepEqual(
    samples.list(undefined, 3).map(({ at }) => at),
    [99, 98, 97],
  );
  assert.deepEqual(samples.list('other', 3), []);
});

test('tenants are bounded: the one quiet for longest is forgotten', () => {
  const samples = new Samples(LIMITS);
  for (const [at, tenant] of ['a', 'b', 'a', 'c'].entries()) samples.add(violation(tenant, at), '1');
  assert.deepEqual(
    samples.list(undefined, 10).map(({ tenant }) => tenant),
    ['c', 'a', 'a'],
  );
});

test('of a payload so many bytes are kept, and of none nothing', () => {
  const samples = new Samples(LIMITS);
  samples.add(violation('a', 1), '"äöüäöü"');
  assert.ok(Buffer.byteLength(samples.list('a', 1)[0]?.payload ?? '') <= 10);
  const silent = new Samples({ ...LIMITS, sampleBytes: 0 });
  silent.add(violation('a', 1), '"secret"');
  assert.equal(silent.list('a', 1)[0]?.payload, '');
  const none = new Samples({ ...LIMITS, samples: 0 });
  none.add(violation('a', 1), '1');
  assert.deepEqual(none.list('a', 1), []);
});
