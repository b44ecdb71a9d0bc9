/** Rooms with a capacity, over nodes on a real NATS server. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { responsible } from '../../../src/broker/hash.ts';
import type { ErrorFrame, JoinedFrame } from '../../../src/protocol/frames.ts';
import { compilePattern } from '../../../src/protocol/room.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { SimNode, type SimSocket } from '../../support/sim.ts';
import { type Joined, nodes, until } from './nodes.ts';

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
      for (const { sim } of all) sim.turn();
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

  test('C7.5.1 the counting node goes: another counts what is there', async () => {
    await withNodes(3, async (all) => {
      const room = ['a', 'b', 'c', 'd', 'e', 'f'].find(
        (name) => responsible(['n0', 'n1', 'n2'], `default\0${name}`) === 'n2',
      );
      assert.ok(room !== undefined);
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
