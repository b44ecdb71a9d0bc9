import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FairQueue } from '../../../src/broker/limits/fair.ts';

const LIMITS = { lagMs: 20, turnCost: 1000, quantum: 100, queueBytes: 1_000_000 };

interface Work {
  readonly tenant: string;
  readonly cost: number;
  readonly number: number;
}

class Loop {
  readonly done: Work[] = [];
  readonly queue: FairQueue<Work>;
  #tasks: (() => void)[] = [];
  #numbers = 0;

  constructor(limits = LIMITS) {
    this.queue = new FairQueue({
      limits,
      defer: (task) => void this.#tasks.push(task),
      handle: (work) => void this.done.push(work),
      served: () => {},
    });
  }

  offer(tenant: string, cost: number, weight = 1): boolean {
    const work = { tenant, cost, number: this.#numbers++ };
    return this.queue.offer(tenant, weight, work, cost, cost);
  }

  turn(): boolean {
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task();
    return tasks.length > 0;
  }

  costOf(tenant: string): number {
    return this.done.reduce((sum, work) => sum + (work.tenant === tenant ? work.cost : 0), 0);
  }
}

test('on while turns are long, off when they are short again and nothing waits', () => {
  const loop = new Loop();
  const { queue } = loop;
  queue.observe(20);
  assert.equal(queue.active, false);
  queue.observe(21);
  assert.equal(queue.active, true);
  const serve = (turnMs: number, cost: number) => {
    loop.offer('a', cost);
    queue.observe(turnMs);
    loop.turn();
    return queue.active;
  };
  assert.equal(serve(15, 1), true, 'not calm enough');
  loop.offer('a', 1000);
  assert.equal(serve(5, 1000), true, 'something waits yet');
  while (loop.turn());
  assert.equal(serve(5, 1), false);
});

test('one hot tenant and ten quiet ones: what the quiet ones want is done in the first turns', () => {
  const loop = new Loop();
  for (let at = 0; at < 5000; at++) loop.offer('hot', 50);
  for (let quiet = 0; quiet < 10; quiet++) for (let at = 0; at < 3; at++) loop.offer(`q${quiet}`, 50);
  loop.turn();
  loop.turn();
  const quiet = loop.done.filter(({ tenant }) => tenant !== 'hot').length;
  assert.equal(quiet, 30);
});

test('tenants that always have work share by weight; a turn has a bound', () => {
  const loop = new Loop();
  for (let at = 0; at < 2000; at++) {
    loop.offer('one', 10, 1);
    loop.offer('three', 30, 3);
    loop.offer('big', 90, 1);
  }
  for (let turn = 0; turn < 30; turn++) {
    const before = loop.done.length;
    loop.turn();
    const spent = loop.done.slice(before).reduce((sum, { cost }) => sum + cost, 0);
    assert.ok(spent < LIMITS.turnCost + 90, `${spent}`);
  }
  const [one, three, big] = ['one', 'three', 'big'].map((tenant) => loop.costOf(tenant)) as [
    number,
    number,
    number,
  ];
  assert.ok(Math.abs(three / one - 3) < 0.2, `${one} ${three}`);
  assert.ok(Math.abs(big / one - 1) < 0.2, `${one} ${big}`);
});

test('everything accepted is done once and in order per tenant, whatever the costs', () => {
  const offers = fc.array(
    fc.record({
      tenant: fc.constantFrom('a', 'b', 'c'),
      cost: fc.integer({ min: 1, max: 5000 }),
      turn: fc.boolean(),
    }),
    { maxLength: 200 },
  );
  fc.assert(
    fc.property(offers, (list) => {
      const loop = new Loop({ ...LIMITS, queueBytes: 20_000 });
      let accepted = 0;
      for (const { tenant, cost, turn } of list) {
        if (loop.offer(tenant, cost)) accepted++;
        if (turn) loop.turn();
      }
      while (loop.turn());
      assert.equal(loop.done.length, accepted);
      for (const tenant of ['a', 'b', 'c']) {
        const numbers = loop.done.filter((work) => work.tenant === tenant).map(({ number }) => number);
        assert.deepEqual(
          numbers,
          [...numbers].sort((x, y) => x - y),
        );
      }
    }),
  );
});

test('who has too much waiting is told so, and others are not', () => {
  const loop = new Loop({ ...LIMITS, queueBytes: 500 });
  for (let at = 0; at < 5; at++) assert.equal(loop.offer('hot', 100), true);
  assert.equal(loop.offer('hot', 100), false);
  assert.equal(loop.offer('quiet', 100), true);
  while (loop.turn());
  assert.equal(loop.offer('hot', 100), true);
});
