import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ClockSkew } from '../../../../src/bus/nats/cluster/clock-skew.ts';
import { QUIET } from '../../../support/sim.ts';

test('a clock that is off is measured in spite of delays, told once in ten minutes, and forgotten with its node', () => {
  let ticks = 0;
  const told: string[] = [];
  const skew = new ClockSkew(
    1000,
    { ...QUIET, warn: (_fields: object, message: string) => told.push(message) },
    () => ticks,
  );
  const hear = (
    node: string,
    behindMs: number,
    count: number,
    delayMs = (at: number) => 5 + (at % 3) * 700,
  ) => {
    for (let at = 0; at < count; at++) {
      ticks += 600;
      skew.heard(node, 1_000_000 + ticks - behindMs, 1_000_000 + ticks + delayMs(at));
    }
  };
  hear('good', 0, 30);
  assert.ok(skew.largestMs < 10, `${skew.largestMs}`);
  assert.deepEqual(told, []);
  hear('behind', 300_000, 30);
  assert.deepEqual(told, ["the clock of node behind is 300005 ms behind this node's"]);
  hear('ahead', -400_000, 30);
  assert.equal(skew.largestMs, 399_995);
  assert.match(told[1] ?? '', /^the clock of node ahead is \d+ ms ahead of this node's$/);
  assert.equal(told.length, 2);
  ticks += 600_000;
  hear('behind', 300_000, 1);
  assert.equal(told.length, 3);
  for (const node of ['behind', 'ahead']) skew.gone(node);
  assert.ok(skew.largestMs < 10);
});
