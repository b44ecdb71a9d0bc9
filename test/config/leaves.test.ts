/** A message that says what is expected must not contradict itself: each example in it would be taken. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { duration, seconds, size } from '../../src/config/leaves.ts';
import { loadConfig } from '../../src/config.ts';

const bounds = fc
  .tuple(fc.integer({ min: 0, max: 2 ** 40 }), fc.integer({ min: 0, max: 2 ** 40 }))
  .map(([one, other]) => [Math.min(one, other), Math.max(one, other)] as const);

for (const [name, make] of [
  ['size', size],
  ['duration', duration],
  ['seconds', seconds],
] as const)
  test(`the examples of a ${name} are within its bounds`, () => {
    fc.assert(
      fc.property(bounds, ([min, max]) => {
        const leaf = make(min, max);
        const refused = leaf.safeParse('nonsense');
        assert.ok(!refused.success);
        const message = refused.error.issues[0]?.message ?? '';
        const examples = message.split('such as ')[1]?.split(' or ') ?? [];
        assert.ok(examples.length > 0, message);
        for (const example of examples) assert.ok(leaf.safeParse(example).success, `${example}: ${message}`);
      }),
    );
  });

test('a stream that is too small is told of in sizes that would do', () => {
  const loaded = loadConfig({
    env: { CARILLON_NATS__URL: 'nats://127.0.0.1', CARILLON_NATS__STREAMBYTES: '1MiB' },
  });
  assert.ok(!loaded.ok);
  const [problem] = loaded.problems;
  assert.equal(problem?.expected, 'a size from 16MiB to 1024GiB, such as 64MiB or 1GiB');
});
