import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FrameQueue } from '../../src/transport/frame-queue.ts';

const ENTRY_BYTES = 512;

type Step = { push: Uint8Array; isBinary: boolean } | 'shift' | 'clear';

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ push: fc.uint8Array({ maxLength: 3000 }), isBinary: fc.boolean() }),
  },
  { weight: 4, arbitrary: fc.constant('shift' as const) },
  { weight: 1, arbitrary: fc.constant('clear' as const) },
);

test('gives back what was put in, in order, and weighs what it holds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new FrameQueue();
      let model: { bytes: Uint8Array; isBinary: boolean }[] = [];
      for (const next of steps) {
        if (next === 'clear') {
          queue.clear();
          model = [];
        } else if (next === 'shift') {
          assert.deepEqual(queue.shift(), model.shift());
        } else {
          // As uWebSockets.js does: the bytes are valid during the call only.
          const lent = next.push.slice();
          queue.push(lent, next.isBinary);
          lent.fill(0xee);
          model.push({ bytes: next.push, isBinary: next.isBinary });
        }
        const weight = model.reduce((sum, { bytes }) => sum + bytes.byteLength + ENTRY_BYTES, 0);
        assert.deepEqual([queue.length, queue.weight], [model.length, weight]);
      }
    }),
  );
});

test('a frame stays as it is while others are taken', () => {
  const queue = new FrameQueue();
  for (const text of ['one', 'two', 'three']) queue.push(Buffer.from(text), false);
  const first = queue.shift();
  queue.shift();
  assert.equal(Buffer.from(first?.bytes ?? []).toString(), 'one');
});

test('a queue that never runs empty keeps nothing of what has gone', () => {
  const queue = new FrameQueue();
  const bytes = new Uint8Array(100);
  const used = () => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  for (let at = 0; at < 500; at++) queue.push(bytes, false);
  const before = used();
  for (let at = 0; at < 500_000; at++) {
    queue.push(bytes, at % 2 === 0);
    queue.shift();
  }
  // Kept, the frames would be 50 MB and their lengths another 4.
  assert.ok(used() - before < 16 * 1024 * 1024, `${used() - before} bytes more`);
  assert.equal(queue.length, 500);
});
