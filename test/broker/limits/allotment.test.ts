/** Several nodes over one record, with everything going wrong that may: the bound of allotment.ts holds at each step. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type Allotment,
  type Ask,
  advanceOf,
  allot,
  EMPTY,
  giveBack,
  type LeaseTimes,
} from '../../../src/broker/limits/allotment.ts';
import { Holding } from '../../../src/broker/limits/lease.ts';

const TIMES: LeaseTimes = { leaseMs: 10_000, skewMs: 1000 };
const START = 1_700_000_000_000;

/** The store: one record with a revision, and writes on their way to it. */
class Register {
  revision = 0;
  value: Allotment = EMPTY;

  write(over: number, value: Allotment): boolean {
    if (over !== this.revision) return false;
    this.revision++;
    this.value = value;
    return true;
  }
}

interface Pending {
  readonly over: number;
  readonly value: Allotment;
  readonly holding: Holding;
  arrived: boolean;
  won: boolean;
}

/** A node with a clock that is off, and a replica of the record that may be old. */
class Node {
  readonly skew: number;
  holding = new Holding();
  incarnation = 0;
  seen: { revision: number; value: Allotment } = { revision: 0, value: EMPTY };
  pending: Pending | undefined;
  readonly #name: string;

  constructor(name: string, skew: number) {
    this.#name = name;
    this.skew = skew;
  }

  get holder(): string {
    return `${this.#name}.${this.incarnation}`;
  }

  clock(now: number): number {
    return now + this.skew;
  }
}

const STEPS = ['ask', 'arrive', 'answer', 'lose', 'see', 'renew', 'crash', 'give', 'wait', 'end'] as const;
const SKEWS = [0, 500, -500, 250, -499];

interface Step {
  readonly what: (typeof STEPS)[number];
  readonly node: number;
  readonly amount: number;
}

class World {
  readonly record = new Register();
  readonly nodes: Node[];
  readonly total: number;
  now = START;
  /** Writes of crashed nodes, which may arrive yet. */
  readonly orphans: Pending[] = [];

  constructor(total: number, nodes: number) {
    this.total = total;
    this.nodes = Array.from({ length: nodes }, (_, at) => new Node(`n${at}`, SKEWS[at % SKEWS.length] ?? 0));
  }

  step({ what, node: at, amount }: Step): void {
    const node = this.nodes[at % this.nodes.length] as Node;
    this.#do[what](node, amount);
    this.check();
  }

  usable(node: Node): number {
    return node.holding.usable('publish', this.total, node.clock(this.now));
  }

  check(): void {
    const used = this.nodes.reduce((sum, node) => sum + this.usable(node), 0);
    const bound = this.total + this.nodes.length * advanceOf(this.total);
    assert.ok(used <= bound, `${used} of ${bound}`);
    const holdings = Object.values(this.record.value.slices);
    const recorded = holdings.reduce((sum, { amounts }) => sum + (amounts.publish ?? 0), 0);
    assert.ok(recorded <= this.total, `${recorded} recorded of ${this.total}`);
  }

  ask(node: Node, amount: number): Ask {
    return {
      holder: node.holder,
      totals: { publish: this.total },
      wants: { publish: amount },
      needs: {},
      uses: {},
      bursts: {},
      free: {},
      dayBytes: 0,
      dayMissing: 0,
      dayUnused: 0,
      dayTotal: 0,
      day: 0,
      now: node.clock(this.now),
    };
  }

  readonly #do: Readonly<Record<Step['what'], (node: Node, amount: number) => void>> = {
    ask: (node, amount) => {
      if (node.pending !== undefined) return;
      const { record, slice } = allot(node.seen.value, this.ask(node, amount), TIMES);
      node.holding.asks(slice);
      node.pending = {
        over: node.seen.revision,
        value: record,
        holding: node.holding,
        arrived: false,
        won: false,
      };
    },
    arrive: (node) => this.#arrive(node.pending ?? this.orphans.shift()),
    answer: (node) => {
      const { pending } = node;
      if (pending === undefined || !pending.arrived) return;
      node.holding.outcome(pending.won ? 'stored' : 'refused');
      if (pending.won) node.seen = { revision: pending.over + 1, value: pending.value };
      node.pending = undefined;
    },
    // The answer does not come: the write may have arrived, or may arrive later.
    lose: (node) => {
      const { pending } = node;
      if (pending === undefined) return;
      node.holding.outcome('unknown');
      if (!pending.arrived) this.orphans.push(pending);
      node.pending = undefined;
    },
    see: (node) => {
      node.seen = { revision: this.record.revision, value: this.record.value };
    },
    renew: (node, amount) => {
      for (const what of ['see', 'ask', 'arrive', 'answer'] as const) this.#do[what](node, amount);
    },
    crash: (node) => {
      if (node.pending !== undefined && !node.pending.arrived) this.orphans.push(node.pending);
      node.pending = undefined;
      node.holding = new Holding();
      node.incarnation++;
    },
    give: (node) => {
      if (node.pending !== undefined) return;
      node.holding.drop();
      const { revision, value } = node.seen;
      const back = { over: revision, value: giveBack(value, node.holder, 0, 0), holding: node.holding };
      this.orphans.push({ ...back, arrived: false, won: false });
    },
    wait: (_node, amount) => {
      this.now += amount * 7;
    },
    // To the end of a lease by some clock, or a little past it.
    end: (node, amount) => {
      this.now = Math.max(this.now, node.holding.until - 500 + 3 * amount);
    },
  };

  #arrive(pending: Pending | undefined): void {
    if (pending === undefined || pending.arrived) return;
    pending.arrived = true;
    pending.won = this.record.write(pending.over, pending.value);
  }
}

const steps = fc.array(
  fc.record({ what: fc.constantFrom(...STEPS), node: fc.nat(3), amount: fc.integer({ min: 0, max: 400 }) }),
  { minLength: 100, maxLength: 200 },
);

test('total + nodes × advance, under loss, delay, reordering, crashes and clocks that differ', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 4 }),
      steps,
      (total, nodes, list) => {
        const world = new World(total, nodes);
        for (const step of list) world.step(step);
      },
    ),
    { numRuns: 400 },
  );
});

/** All nodes ask, one after the other, and know of each other. */
function round(world: World, wants: readonly number[]): number[] {
  for (const [at, amount] of wants.entries())
    for (const what of ['see', 'ask', 'arrive', 'answer'] as const) world.step({ what, node: at, amount });
  return world.nodes.map((node) => world.usable(node));
}

test('two rounds give each what it wants, or an equal share where there is not enough', () => {
  const world = new World(1000, 4);
  round(world, [5000, 5000, 5000, 5000]);
  assert.deepEqual(round(world, [5000, 5000, 5000, 5000]), [250, 250, 250, 250]);
  round(world, [5000, 100, 100, 5000]);
  assert.deepEqual(round(world, [5000, 100, 100, 5000]), [400, 100, 100, 400]);
  round(world, [0, 0, 600, 0]);
  assert.deepEqual(round(world, [0, 0, 600, 0]), [100, 100, 700, 100]);
});

test('what a crashed node held is free when its lease and the skew are over, not before', () => {
  const world = new World(1000, 2);
  round(world, [1000, 0]);
  assert.equal(round(world, [1000, 0])[0], 1000);
  world.step({ what: 'crash', node: 0, amount: 0 });
  const late = () => {
    for (const what of ['see', 'ask', 'arrive', 'answer'] as const)
      world.step({ what, node: 1, amount: 1000 });
    return world.usable(world.nodes[1] as Node);
  };
  world.now += TIMES.leaseMs - 1000;
  assert.equal(late(), 10);
  world.now += 2000 + TIMES.skewMs;
  assert.equal(late(), 1000);
});

test('bytes of a day are taken once, given back by who has not used them, and begin anew with the day', () => {
  const ask = (holder: string, dayBytes: number, day = 7): Ask => ({
    holder,
    totals: {},
    wants: {},
    needs: {},
    uses: {},
    bursts: {},
    free: {},
    dayBytes,
    dayMissing: 0,
    dayUnused: 0,
    dayTotal: 100,
    day,
    now: START,
  });
  const first = allot(EMPTY, ask('a', 70), TIMES);
  const second = allot(first.record, ask('b', 70), TIMES);
  assert.deepEqual([first.dayBytes, second.dayBytes], [70, 30]);
  const back = giveBack(second.record, 'a', 7, 50);
  assert.equal(allot(back, ask('b', 70), TIMES).dayBytes, 50);
  assert.equal(allot(back, ask('b', 70, 8), TIMES).dayBytes, 70);
});

test('connections that are open are not given up, and never counted twice', () => {
  const ask: Ask = {
    ...new World(10, 1).ask(new Node('a', 0), 0),
    totals: { connections: 10 },
    wants: {},
    uses: { connections: 8 },
  };
  const mine = allot(EMPTY, ask, TIMES);
  const greedy = { ...ask, holder: 'b', wants: { connections: 100 }, uses: { connections: 5 } };
  const theirs = allot(mine.record, greedy, TIMES);
  assert.deepEqual([mine.slice.amounts.connections, theirs.slice.amounts.connections], [10, 0]);
  const again = allot(theirs.record, ask, TIMES);
  assert.equal(again.slice.amounts.connections, 8);
});

test('what a node gives up it stops using before the write, which others may see before its answer', () => {
  const world = new World(1000, 2);
  round(world, [1000, 0]);
  round(world, [1000, 0]);
  world.step({ what: 'renew', node: 1, amount: 1000 });
  for (const what of ['see', 'ask', 'arrive'] as const) world.step({ what, node: 0, amount: 1000 });
  world.step({ what: 'renew', node: 1, amount: 1000 });
  assert.deepEqual(
    world.nodes.map((node) => world.usable(node)),
    [500, 500],
  );
});

interface Member {
  readonly holder: string;
  uses: number;
  waiting: number;
}

/** One node looks at the record, and takes and gives up what it may. */
function turn(record: Allotment, { holder, uses, waiting }: Member, total: number): Allotment {
  const needs = uses + waiting;
  const ask: Ask = {
    holder,
    totals: { connections: total },
    uses: { connections: uses },
    needs: { connections: Math.min(total, needs) },
    wants: { connections: Math.ceil(needs * 1.25) },
    bursts: {},
    free: {},
    dayBytes: 0,
    dayMissing: 0,
    dayUnused: 0,
    dayTotal: 0,
    day: 0,
    now: START,
  };
  return allot(record, ask, TIMES).record;
}

test('while the total has room, whoever waits gets it within three rounds, and nobody loses an open connection', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 300 }),
      fc.array(fc.record({ uses: fc.nat(100), waiting: fc.nat(100) }), { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(5), { maxLength: 20 }),
      (total, drawn, order) => {
        let free = total;
        const members = drawn.map(({ uses, waiting }, at): Member => {
          const open = Math.min(uses, free);
          free -= open;
          return { holder: `n${at}`, uses: open, waiting };
        });
        let record = EMPTY;
        const held = ({ holder }: Member) => record.slices[holder]?.amounts.connections ?? 0;
        // What is open was granted before anybody began to wait.
        for (const member of members) record = turn(record, { ...member, waiting: 0 }, total);
        for (const member of members) record = turn(record, { ...member, waiting: 0 }, total);
        for (let round = 0; round < 3; round++) {
          // In any order, some of them more often, each once at least.
          const some = order.map((at) => members[at % members.length] as Member);
          for (const member of [...some, ...members]) {
            record = turn(record, member, total);
            const sum = members.reduce((all, one) => all + held(one), 0);
            assert.ok(sum <= total, `${sum} of ${total}`);
          }
        }
        const wanted = members.reduce((all, { waiting }) => all + waiting, 0);
        const got = members.reduce((all, member) => {
          assert.ok(held(member) >= member.uses, `${member.holder} has ${held(member)} for ${member.uses}`);
          return all + Math.min(member.waiting, held(member) - member.uses);
        }, 0);
        assert.equal(got, Math.min(wanted, free));
      },
    ),
    { numRuns: 300 },
  );
});

test('a burst is had once, by whichever nodes the shares go to', () => {
  const ask = (holder: string, needs: number, free: number): Ask => ({
    holder,
    totals: { publish: 100 },
    uses: {},
    needs: { publish: needs },
    wants: { publish: needs },
    bursts: { publish: 1000 },
    free: { publish: free },
    dayBytes: 0,
    dayMissing: 0,
    dayUnused: 0,
    dayTotal: 0,
    day: 0,
    now: START,
  });
  const first = allot(EMPTY, ask('a', 100, 0), TIMES);
  assert.deepEqual([first.slice.amounts.publish, first.credit.publish], [100, 1000]);
  const newcomer = allot(first.record, ask('b', 100, 0), TIMES);
  assert.deepEqual([newcomer.slice.amounts.publish, newcomer.credit.publish], [0, undefined]);
  // 800 are left of the burst of a, whose share holds 500 then: 300 are for b.
  const shrunk = allot(newcomer.record, ask('a', 100, 800), TIMES);
  const grown = allot(shrunk.record, ask('b', 100, 0), TIMES);
  assert.deepEqual([grown.slice.amounts.publish, grown.credit.publish], [50, 300]);
  assert.equal(allot(grown.record, ask('b', 100, 0), TIMES).credit.publish, undefined);
});
