/** Rooms with a capacity, over nodes on a real NATS server. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { responsible } from '../../../src/broker/hash.ts';
import type { ErrorFrame, JoinedFrame } from '../../../src/protocol/frames.ts';
import { compilePattern } from '../../../src/protocol/room.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Rng } from '../../support/rng.ts';
import { SimNode, type SimSocket } from '../../support/sim.ts';
import { heard, type Joined, nodes, until } from './nodes.ts';

const CAPACITY = 10;
const ROOMS = [
  {
    match: '**',
    matches: compilePattern('**'),
    overflow: 'skip' as const,
    capacity: CAPACITY,
    description: 'ten of us',
  },
];

/** What came of a join. */
function outcome(socket: SimSocket): JoinedFrame | ErrorFrame | undefined {
  return socket.received.find((frame) => frame.type === 'joined' || frame.type === 'error') as
    | JoinedFrame
    | ErrorFrame
    | undefined;
}

const joins = (sockets: readonly SimSocket[]) =>
  sockets.filter((socket) => outcome(socket)?.type === 'joined').length;

function turn(all: readonly Joined[]): void {
  for (const { sim } of all) sim.turn();
}

describe('places in rooms', () => {
  let nats: NatsCluster;
  before(async () => {
    nats = await NatsCluster.start(1);
  });
  after(() => nats.close());

  async function withNodes(count: number, body: (all: Joined[]) => Promise<void>) {
    const all = await nodes(nats, count, { rooms: ROOMS });
    try {
      await body(all);
    } finally {
      for (const { close, sim } of all) {
        sim.hub.close();
        await close();
      }
    }
  }

  async function crowd(all: readonly Joined[], each: number, room: string): Promise<SimSocket[]> {
    const sockets = all.flatMap(({ sim }) => Array.from({ length: each }, (_, at) => sim.connect(`u${at}`)));
    for (const socket of sockets) socket.write({ type: 'join', room });
    await decided(all, sockets);
    return sockets;
  }

  function decided(all: readonly Joined[], sockets: readonly SimSocket[]): Promise<void> {
    return until(() => {
      turn(all);
      return sockets.every((socket) => outcome(socket) !== undefined);
    });
  }

  test('C7.5.1 C4.2.1 joins on all nodes at once: exactly as many as the room has places', async () => {
    await withNodes(3, async (all) => {
      for (const room of ['a', 'b', 'c', 'd']) {
        const sockets = await crowd(all, 8, room);
        assert.equal(joins(sockets), CAPACITY, room);
        const refused = sockets.map(outcome).find((frame) => frame?.type === 'error') as ErrorFrame;
        assert.deepEqual(
          [refused.code, refused.limit, refused.used, refused.retry],
          ['room_full', CAPACITY, CAPACITY, true],
        );
        assert.ok((refused.retryAfterMs ?? 0) > 0);
        const joined = sockets.map(outcome).find((frame) => frame?.type === 'joined') as JoinedFrame;
        assert.deepEqual([joined.description, joined.limits], ['ten of us', { capacity: CAPACITY }]);
      }
    });
  });

  test('C7.5.1 a place that becomes free is had on another node', async () => {
    await withNodes(2, async (all) => {
      const [a, b] = all as [Joined, Joined];
      const sockets = await crowd([a], CAPACITY, 'r');
      assert.equal(joins(sockets), CAPACITY);
      for (let round = 0; round < 5; round++) {
        const [late] = await crowd([b], 1, 'r');
        assert.equal(outcome(late as SimSocket)?.type, 'error');
        (sockets.shift() as SimSocket).end(1000);
        let next: SimSocket | undefined;
        await until(() => {
          for (const { sim } of all) sim.turn();
          if (next === undefined || outcome(next)?.type === 'error') {
            next = b.sim.connect('eve');
            next.write({ type: 'join', room: 'r' });
          }
          return outcome(next)?.type === 'joined';
        });
        sockets.push(next as SimSocket);
      }
      assert.equal(
        [a, b].reduce((sum, { sim }) => sum + sim.tally.memberships, 0),
        CAPACITY,
      );
    });
  });

  /** A room that n2 counts. */
  function countedElsewhere(): string {
    const room = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].find(
      (name) => responsible(['n0', 'n1', 'n2'], `default\0${name}`) === 'n2',
    );
    assert.ok(room !== undefined);
    return room;
  }

  test('C7.5.1 who leaves while another of the node waits for an answer makes no place twice', async () => {
    await withNodes(3, async (all) => {
      const [a, b] = all as [Joined, Joined];
      const room = countedElsewhere();
      const [first] = await crowd([a], 5, room);
      const late = a.sim.connect('late');
      late.write({ type: 'join', room });
      // Reaches the counting node after the question, and leaves before its answer.
      first?.write({ type: 'leave', room });
      await decided(all, [late]);
      assert.equal(joins([late]), 1);
      assert.equal(joins(await crowd([b], CAPACITY, room)), CAPACITY - 5);
    });
  });

  test('C7.5.1 a place told with a join that is then refused is free', async () => {
    await withNodes(3, async (all) => {
      const [a, b] = all as [Joined, Joined];
      const room = countedElsewhere();
      const [first, second] = await crowd([a], 2, room);
      const others = await crowd([b], CAPACITY - 2, room);
      const late = a.sim.connect('late');
      late.write({ type: 'join', room });
      first?.write({ type: 'leave', room });
      second?.write({ type: 'leave', room });
      await decided(all, [late]);
      assert.equal(outcome(late)?.type, 'error');
      others[0]?.write({ type: 'leave', room });
      assert.equal(await joinsUntilFull(all, b, room), 3);
    });
  });

  /** How many more get in on the node; answers that are on their way are waited for. */
  async function joinsUntilFull(all: readonly Joined[], at: Joined, room: string): Promise<number> {
    await heard([...all]);
    const sockets = Array.from({ length: CAPACITY }, (_, n) => at.sim.connect(`more${n}`));
    for (const socket of sockets) socket.write({ type: 'join', room });
    await decided(all, sockets);
    return joins(sockets);
  }

  interface Visitor {
    readonly socket: SimSocket;
    asks: boolean;
    in: boolean;
  }

  /** Joins or leaves, unless it waits for an answer. */
  function step(visitor: Visitor, room: string): void {
    if (visitor.asks) return;
    visitor.asks = !visitor.in;
    visitor.socket.write({ type: visitor.in ? 'leave' : 'join', room });
  }

  function note(visitor: Visitor): void {
    for (const { type } of visitor.socket.take()) {
      if (type === 'joined' || type === 'left') visitor.in = type === 'joined';
      if (type === 'joined' || type === 'error') visitor.asks = false;
    }
  }

  test('C7.5.1 members come and go on three nodes: never more than the capacity', async () => {
    await withNodes(3, async (all) => {
      const random = new Rng(1);
      const visitors: Visitor[] = all.flatMap(({ sim }) =>
        Array.from({ length: 10 }, (_, at) => ({ socket: sim.connect(`m${at}`), asks: false, in: false })),
      );
      for (let steps = 0; steps < 6000; steps++) {
        step(random.pick(visitors), 'r');
        if (random.chance(0.3)) turn(all);
        if (random.chance(0.3)) await new Promise(setImmediate);
        visitors.forEach(note);
        const there = visitors.filter((visitor) => visitor.in).length;
        assert.ok(there <= CAPACITY, `${there} members after ${steps} steps`);
      }
      for (const { socket } of visitors) socket.end(1000);
      await heard(all);
      assert.equal(await joinsUntilFull(all, all[0] as Joined, 'r'), CAPACITY);
    });
  });

  test('C7.5.1 C1.9.1 a session that goes on elsewhere finds its place, though its old connection hangs', async () => {
    await withNodes(3, async (all) => {
      const [a, b] = all as [Joined, Joined];
      const room = countedElsewhere();
      const old = a.sim.connect('ann');
      const { ticket } = old.received[0] as { ticket?: string };
      old.write({ type: 'join', room });
      await decided(all, [old]);
      await crowd([a], CAPACITY - 1, room);
      const next = b.sim.connect('ann', {}, ticket);
      // Told now; the join comes when the client has its first frame.
      b.sim.turn();
      next.write({ type: 'join', room });
      await decided(all, [next]);
      assert.deepEqual([outcome(next)?.type, old.closedWith], ['joined', 4008]);
      assert.equal(joins(await crowd([b], 1, room)), 0);
    });
  });

  test('C7.5.1 the counting node goes: another counts what is there', async () => {
    await withNodes(3, async (all) => {
      const room = countedElsewhere();
      const left = all.slice(0, 2);
      await crowd(left, 3, room);
      const [, , gone] = all as [Joined, Joined, Joined];
      await gone.cluster.close();
      await until(() => left.every(({ cluster }) => cluster.nodes().length === 2));
      const sockets = await crowd(left, 5, room);
      assert.equal(joins(sockets), CAPACITY - 6);
    });
  });

  test('a node alone decides at once, and the smaller of both limits holds', () => {
    const node = new SimNode({ rooms: ROOMS, tenants: { membersPerRoom: 1 } });
    const [ann, bob] = [node.connect('ann'), node.connect('bob')];
    for (const socket of [ann, bob]) socket.write({ type: 'join', room: 'r' });
    assert.deepEqual([outcome(ann)?.type, outcome(bob)?.type], ['joined', 'error']);
    ann.write({ type: 'leave', room: 'r' });
    bob.received.length = 0;
    bob.write({ type: 'join', room: 'r' });
    assert.deepEqual((outcome(bob) as JoinedFrame).limits, { capacity: 1 });
  });
});
