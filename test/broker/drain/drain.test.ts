/** Slots, tickets and the deadline, with a clock of the test's own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { NodeInfo, NodeStatus } from '../../../src/broker/cluster.ts';
import { Drain, type DrainPlan } from '../../../src/broker/drain/drain.ts';
import type { Session } from '../../../src/broker/session.ts';
import type { ServerFrame } from '../../../src/protocol/frames.ts';

const PLAN: DrainPlan = {
  reason: 'deploy',
  deadlineMs: 20_000,
  windowMs: 4000,
  perSecond: 100,
  loopLagMs: 50,
  awayMs: 1000,
  roundMs: 2000,
};
const CALM: NodeStatus = {
  connections: 0,
  acceptsPerSecond: 0,
  acceptsMax: 100,
  spare: 100_000,
  loopLagMs: 1,
  draining: false,
};

interface Leaver {
  readonly frames: ServerFrame[];
  endedAt?: number;
  endedWith?: string;
}

/** Sessions, other nodes and time, as far as a drain sees them. */
class World {
  now = 0;
  done = 0;
  statuses: NodeStatus[] = [];
  readonly leavers: Leaver[] = [];
  readonly drain: Drain;
  /** What a session does once it is closed. */
  ended: (id: string) => void = () => {};
  #timers: { readonly at: number; readonly task: () => void }[] = [];
  readonly #sessions = new Map<string, Session>();

  constructor(count: number, plan: Partial<DrainPlan>, statuses: readonly NodeStatus[] = [], early = 0) {
    this.statuses = [...statuses];
    for (let at = 0; at < count; at++) this.#sessions.set(`s${at}`, this.#session(`s${at}`));
    this.drain = new Drain(
      { ...PLAN, ...plan },
      {
        sessions: this.#sessions,
        cluster: { node: 'self', nodes: () => [this.#node('self', CALM), ...this.#others()] },
        ticketOf: ({ id }) => `ticket of ${id}`,
        random: () => 0.5,
        ticks: () => this.now,
        after: (ms, task) => void this.#timers.push({ at: this.now + Math.max(0, ms - early), task }),
        done: () => void this.done++,
      },
    );
  }

  session(at: number): Session {
    return this.#sessions.get(`s${at}`) as Session;
  }

  after(ms: number, task: () => void): void {
    this.#timers.push({ at: this.now + ms, task });
  }

  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      this.#timers.sort((a, b) => a.at - b.at);
      const [first] = this.#timers;
      if (first === undefined || first.at > until) break;
      this.#timers.shift();
      this.now = first.at;
      first.task();
    }
    this.now = until;
  }

  #others(): NodeInfo[] {
    return this.statuses.map((status, at) => this.#node(`n${at}`, status));
  }

  #node(node: string, status: NodeStatus): NodeInfo {
    return { node, incarnation: node, startedAt: 0, status };
  }

  #session(id: string): Session {
    const leaver: Leaver = { frames: [] };
    this.leavers.push(leaver);
    const session = {
      id,
      ended: false,
      publishing: 0,
      send: (frame: ServerFrame) => void leaver.frames.push(frame),
      end: (why: string) => {
        if (session.ended) return;
        session.ended = true;
        leaver.endedAt = this.now;
        leaver.endedWith = why;
        this.#sessions.delete(id);
        this.ended(id);
      },
    };
    return session as unknown as Session;
  }
}

const ended = (world: World) => world.leavers.filter(({ endedAt }) => endedAt !== undefined);

test('each gets one drain with a ticket and a slot, and is closed in it; done runs once', () => {
  const world = new World(300, {});
  world.pass(20_000);
  for (const [at, { frames, endedAt, endedWith }] of world.leavers.entries()) {
    const [frame, ...more] = frames;
    assert.ok(frame?.type === 'drain' && more.length === 0);
    assert.equal(frame.ticket, `ticket of s${at}`);
    assert.equal(endedWith, 'drain');
    assert.ok((endedAt ?? 0) >= frame.retryAfterMs);
  }
  assert.ok(Math.max(...world.leavers.map(({ endedAt }) => endedAt ?? 0)) <= 3000, '100 a second');
  assert.equal(world.done, 1);
  assert.deepEqual([world.drain.progress.state, world.drain.progress.left], ['drained', 0]);
});

test('with nobody there it is over at once', () => {
  assert.equal(new World(0, {}).done, 1);
});

test('the pace follows the heartbeats', () => {
  const world = new World(3000, { deadlineMs: 600_000 }, [CALM, CALM]);
  const in2s = () => {
    const before = ended(world).length;
    // The next round begins after it.
    world.pass(world.now === 0 ? 1999 : 2000);
    return ended(world).length - before;
  };
  const paces = Array.from({ length: 9 }, in2s);
  assert.deepEqual(paces, [25, 37, 56, 85, 126, 190, 285, 400, 400]);
  assert.equal(world.drain.progress.limit, 'accepts');
  world.statuses = [CALM, { ...CALM, loopLagMs: 200 }];
  assert.equal(in2s(), 200);
  const { limit, limitedBy, survivors } = world.drain.progress;
  assert.deepEqual([limit, limitedBy, survivors], ['lag', 'n1', 2]);
});

test('in time for the deadline where the others can take it, though the pace is not found yet', () => {
  const world = new World(1200, { roundMs: 600 }, [CALM, CALM]);
  world.pass(15_000);
  assert.ok(ended(world).length === 1200, `${ended(world).length} of 1200`);
  assert.ok(ended(world).every(({ endedWith }) => endedWith === 'drain'));
});

test('another node that drains takes half, as long as it has connections', () => {
  const draining = { ...CALM, draining: true, connections: 7 };
  const both = new World(50, {}, [CALM, draining]);
  both.pass(1999);
  assert.equal(ended(both).length, 6);
  const other = new World(50, {}, [CALM, { ...draining, connections: 0 }]);
  other.pass(1999);
  assert.equal(ended(other).length, 12);
});

test('who has no slot when the last window begins is closed within it, with 4100', () => {
  const world = new World(1000, {}, [{ ...CALM, loopLagMs: 400 }]);
  world.pass(15_000 - 1);
  const early = ended(world).length;
  assert.ok(early < 100, `${early}`);
  assert.ok(ended(world).every(({ endedWith }) => endedWith === 'drain'));
  world.pass(2000);
  const half = ended(world).length;
  assert.ok(half > 400 && half < 650, `${half}: spread`);
  world.pass(2001);
  assert.equal(ended(world).length, 1000);
  assert.equal(ended(world).filter(({ endedWith }) => endedWith === 'overloaded').length, 1000 - early);
  assert.equal(world.done, 1);
});

test('a publish that waits for the bus is answered before its connection is closed, within a second', () => {
  const world = new World(2, {});
  world.session(0).publishing = 1;
  world.session(1).publishing = 1;
  world.pass(500);
  assert.equal(ended(world).length, 0);
  world.session(0).publishing = 0;
  world.pass(20);
  assert.equal(ended(world).length, 1);
  world.pass(600);
  assert.equal(ended(world).length, 2, 'the bus does not answer');
  assert.equal(world.done, 1);
});

test('a nearer deadline is kept, a farther one is not taken', () => {
  const world = new World(1000, {}, [{ ...CALM, loopLagMs: 400 }]);
  world.drain.hasten(60_000);
  assert.equal(world.drain.progress.deadlineMs, 20_000);
  world.pass(1000);
  world.drain.hasten(8000);
  world.pass(8000);
  assert.equal(world.done, 1);
});

test('in a hurry everybody without a slot gets one within the moment', () => {
  const world = new World(1000, { deadlineMs: 600_000 }, [CALM]);
  world.drain.hurry(300);
  world.pass(300);
  assert.ok(ended(world).length >= 950, `${ended(world).length}`);
  world.pass(2000);
  assert.equal(world.done, 1);
  assert.ok(ended(world).every(({ endedWith }) => endedWith === 'drain'));
});

const statuses = fc.array(
  fc.record({
    connections: fc.nat(10),
    acceptsPerSecond: fc.nat(300),
    acceptsMax: fc.integer({ min: 1, max: 300 }),
    spare: fc.nat(1000),
    loopLagMs: fc.nat(200),
    draining: fc.boolean(),
  }),
  { maxLength: 4 },
);

test('whatever the others tell: all are gone by the deadline, each once, none faster than allowed', () => {
  fc.assert(
    fc.property(
      fc.array(statuses, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: 0, max: 600 }),
      fc.integer({ min: 500, max: 30_000 }),
      (heard, count, deadlineMs) => {
        // Timers of Node fire a fraction of a millisecond early now and then.
        const world = new World(count, { deadlineMs, windowMs: deadlineMs / 5 }, heard[0], 0.4);
        for (let at = 0; world.now < deadlineMs; at++) {
          const slotted = () => world.leavers.filter(({ frames }) => frames.length > 0).length;
          const before = slotted();
          world.statuses = [...(heard[at % heard.length] ?? [])];
          world.pass(Math.min(1000, deadlineMs - world.now));
          const others = world.statuses.filter(({ draining }) => !draining);
          if (others.length === 0 || world.drain.progress.limit === 'alone') continue;
          const most = Math.max(100, ...heard.flat().map(({ acceptsMax }) => acceptsMax)) * 4;
          assert.ok(slotted() - before <= Math.max(most * 4, count / 5), `${slotted() - before}`);
        }
        assert.equal(ended(world).length, count);
        assert.equal(world.done, 1);
      },
    ),
    { numRuns: 100 },
  );
});

/** Clients that come back one after another, by a path that takes so many a second; `stray` of them never do. */
function byPath(world: World, perSecond: number, stray = 0): { readonly awayMs: number[] } {
  const awayMs: number[] = [];
  let free = 0;
  let at = 0;
  world.ended = (id) => {
    if ((at++ * stray) % 1 >= 1 - stray) return;
    const closed = world.now;
    free = Math.max(free, closed) + 1000 / perSecond;
    world.after(free - closed, () => {
      awayMs.push(world.now - closed);
      world.drain.back(id);
    });
  };
  return { awayMs };
}

const LONG = { deadlineMs: 600_000, roundMs: 1000, perSecond: 500 };
const WIDE: NodeStatus = { ...CALM, acceptsMax: 500 };

test('a path that takes fewer than the survivors would sets the pace: nobody is away for long', () => {
  for (const perSecond of [40, 80, 200, 400]) {
    const count = 30 * perSecond;
    const world = new World(count, LONG, [WIDE, WIDE]);
    const { awayMs } = byPath(world, perSecond);
    let limits = '';
    while (world.done === 0) {
      world.pass(1000);
      limits += ` ${world.drain.progress.limit}`;
    }
    const ideal = (count / perSecond) * 1000;
    assert.ok(world.now < 1.2 * ideal + 5000, `${perSecond}: ${world.now} ms, at best ${ideal}`);
    assert.ok(Math.max(...awayMs) < 5000, `${perSecond}: away for ${Math.max(...awayMs)} ms`);
    assert.match(limits, / away/);
  }
});

test('clients that never come back do not slow the others down', () => {
  const world = new World(3000, LONG, [WIDE, WIDE]);
  byPath(world, 100_000, 0.3);
  while (world.done === 0) world.pass(1000);
  assert.ok(world.now < 10_000, `${world.now} ms`);
});
