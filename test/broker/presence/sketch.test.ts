/** How many different users several nodes have, by counts and samples. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  differentShare,
  hash40,
  packed,
  Sampler,
  textBytes,
  together,
  unpacked,
} from '../../../src/broker/presence/sketch.ts';
import { Rng } from '../../support/rng.ts';

const MAX = 64;
const users = fc.array(
  fc.nat({ max: 2000 }).map((n) => `u${n}`),
  { maxLength: 1500 },
);

function estimate(nodes: readonly (readonly string[])[], max = MAX): number {
  const sets = nodes.map((list) => new Set(list));
  const samples = sets.map((set) => new Sampler(max, set).sample(set.size));
  return together(
    sets.map(({ size }) => size),
    differentShare(samples),
  );
}

const different = (nodes: readonly (readonly string[])[]): number => new Set(nodes.flat()).size;

describe('samples of users', () => {
  test('exact as long as each node has no more users than a sample, whoever is where', () => {
    const few = fc.array(fc.array(fc.nat({ max: 90 }).map(String), { maxLength: MAX }), { maxLength: 8 });
    fc.assert(fc.property(few, (nodes) => estimate(nodes) === different(nodes)));
  });

  test('exact where nobody is on two nodes, however many', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 3000 }), { maxLength: 6 }), (sizes) => {
        const nodes = sizes.map((size, node) => Array.from({ length: size }, (_, at) => `${node}.${at}`));
        return estimate(nodes) === different(nodes);
      }),
    );
  });

  test('never below the largest node, never above all together', () => {
    fc.assert(
      fc.property(fc.array(users, { maxLength: 5 }), (nodes) => {
        const sizes = nodes.map((list) => new Set(list).size);
        const count = estimate(nodes);
        return count >= Math.max(0, ...sizes) && count <= sizes.reduce((sum, size) => sum + size, 0);
      }),
    );
  });

  test('who has left is out of the sample: it is a part of that of those who stayed', () => {
    fc.assert(
      fc.property(users, users, (come, go) => {
        const there = new Set(come);
        let sampler = new Sampler(MAX, there);
        for (const user of go)
          if (there.delete(user) && !sampler.delete(user)) sampler = new Sampler(MAX, there);
        const { level, hashes } = sampler.sample(there.size);
        const expected = [...there].map(hash40).filter((hash) => hash < 2 ** (40 - level));
        assert.deepEqual([...(hashes ?? [])].sort(), expected.sort());
        assert.ok(expected.length <= MAX && (level === 0 || expected.length >= MAX / 3));
      }),
    );
  });

  test('as text and back', () => {
    fc.assert(
      fc.property(fc.array(fc.maxSafeNat().map((n) => n % 2 ** 40)), (hashes) => {
        const text = packed(Float64Array.from(hashes));
        assert.deepEqual([...unpacked(text)], hashes);
        assert.ok(text.length <= textBytes(hashes.length));
      }),
    );
  });

  test('a sample that is not kept changes nothing but the guess', () => {
    const kept = { users: 100, level: 0, hashes: Float64Array.of(1, 2) };
    const lost = { users: 50, level: 3, hashes: undefined };
    assert.equal(differentShare([kept, kept, lost]), 0.5);
    assert.equal(differentShare([lost]), 1);
  });
});

/** On how many of the nodes a user is. */
const SPREADS: readonly (readonly [string, number, (rng: Rng) => number])[] = [
  ['15 % on two of 20', 20, (rng) => (rng.chance(0.15) ? 2 : 1)],
  ['one in 21 on all of 20, the worst there is', 20, (rng) => (rng.chance(1 / 21) ? 20 : 1)],
  ['half of them on all of 20', 20, (rng) => (rng.chance(0.5) ? 20 : 1)],
  ['a third on both of two', 2, (rng) => (rng.chance(1 / 3) ? 2 : 1)],
];

describe('the stated error: a standard deviation below 1.3 / √hashes', () => {
  for (const [name, count, spread] of SPREADS)
    test(name, () => {
      const trials = 40;
      let squares = 0;
      for (let seed = 1; seed <= trials; seed++) {
        const rng = new Rng(seed);
        const nodes = Array.from({ length: count }, (): string[] => []);
        for (let user = 0; user < 4000; user++) {
          const first = rng.below(count);
          for (let at = 0, times = spread(rng); at < times; at++)
            nodes[(first + at) % count]?.push(`${seed} user ${user}`);
        }
        squares += (estimate(nodes) / 4000 - 1) ** 2;
      }
      const deviation = Math.sqrt(squares / trials);
      assert.ok(deviation < 1.3 / Math.sqrt(MAX), `${(deviation * 100).toFixed(1)} %`);
    });
});
