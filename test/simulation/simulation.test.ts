/**
 * Random sessions on one node with the embedded bus, and on several over a simulated one: every history that a client
 * receives is explained by chat.v1, section 5. `npm run simulate -- --seeds 1000 --steps 2000` goes on for longer.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { simulate, stepsUntilFound } from './run.ts';
import type { Sabotage } from './socket.ts';

const SEEDS = 80;
const STEPS = 1000;

/** What has to happen now and then, or the run has shown nothing of it. */
const COVERED = [
  'joined full',
  'joined partial',
  'joined none',
  'caught_up',
  'duplicates',
  'history',
  'refreshed',
  'taken over',
  'kills',
  'drains',
  'epochs',
  'gap backpressure latest',
  'gap backpressure skip',
  'gap bus skip',
  'gap epoch backfill',
  'gap epoch rejoin',
  'gap retention skip',
  'close 4102',
  'close 4200',
  'close 4201',
];

test('C5.1 every history that a client receives is explained', () => {
  const met = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) simulate(seed, STEPS, met);
  for (const what of COVERED) assert.ok((met.get(what) ?? 0) >= 3, `${what}: ${met.get(what) ?? 0} times`);
});

test('C5.1 the same with a seed that nobody has chosen', (context) => {
  const seed = randomInt(1_000_000, 2 ** 31);
  context.diagnostic(`seed ${seed}: npm run simulate -- --from ${seed} --seeds 5 --steps ${STEPS}`);
  for (let run = seed; run < seed + 5; run++) simulate(run, STEPS, new Map());
});

const BROKEN: readonly (readonly [string, Sabotage])[] = [
  ['a hand-over that subscribes one turn late', { lateSubscribe: true }],
  ['a departure that unsubscribes one turn late', { lateUnsubscribe: true }],
  ['a message in fifty that is lost', { lose: 50 }],
  ['a message in fifty that comes twice', { repeat: 50 }],
];

for (const [what, sabotage] of BROKEN) {
  test(`the simulation finds ${what} within 10,000 steps`, (context) => {
    const steps = stepsUntilFound(sabotage, STEPS, 10_000);
    context.diagnostic(`found after ${steps} steps`);
    assert.ok(steps !== undefined && steps <= 10_000);
  });
}
