/** Members who lose their connection while NATS is away, over nodes on a real NATS server. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { PresenceUpdateFrame } from '../../../src/protocol/frames.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import type { SimSocket } from '../../support/sim.ts';
import { type Joined, nodes, until } from '../sessions/nodes.ts';

const GRACE_MS = 5000;
const DRAIN_GRACE_MS = 15_000;
const ROOM = 'r';

describe('graces while a node is cut off', () => {
  let nats: NatsCluster;
  before(async () => {
    nats = await NatsCluster.start(1);
  });
  after(() => nats.close());

  const changes = (socket: SimSocket) =>
    socket.received.filter((frame): frame is PresenceUpdateFrame => frame.type === 'presence');
  const leaves = (socket: SimSocket) => changes(socket).flatMap(({ left }) => left ?? []);

  /** The clock of a node goes on. */
  function pass({ sim }: Joined, ms: number): void {
    for (let left = ms; left > 0; left -= 1000) {
      sim.pass(Math.min(left, 1000));
      sim.hub.tick();
      sim.turn();
    }
  }

  test('C4.8.3 who comes back elsewhere has never left; who does not, leaves after presence.drainGraceMs', async () => {
    const all = await nodes(nats, 2, { presence: { drainGraceMs: DRAIN_GRACE_MS } });
    const [a, b] = all as [Joined, Joined];
    const turn = () => {
      for (const { sim } of all) sim.turn();
    };
    try {
      const watcher = a.sim.connect('watcher');
      watcher.write({ type: 'join', room: ROOM, presence: true });
      await until(() => {
        turn();
        return watcher.received.some(({ type }) => type === 'joined');
      });
      const [ann, bob] = [a.sim.connect('ann'), a.sim.connect('bob')];
      for (const socket of [ann, bob]) socket.write({ type: 'join', room: ROOM });
      await until(() => {
        turn();
        return changes(watcher).flatMap(({ joined }) => joined ?? []).length === 2;
      });
      const { ticket } = ann.received[0] as { ticket?: string };

      await nats.server(0).kill();
      await until(() => all.every(({ cluster }) => !cluster.connected));
      for (const socket of [ann, bob]) socket.end(1006);
      const back = b.sim.connect('ann', {}, ticket);
      back.write({ type: 'join', room: ROOM });
      turn();
      pass(a, GRACE_MS + 2000);
      assert.deepEqual(leaves(watcher), [], 'while nobody can know');
      assert.deepEqual([a.sim.tally.presenceKept, a.sim.tally.presenceNames], [2, 0]);

      await nats.up();
      await until(() => {
        turn();
        return all.every(({ cluster }) => cluster.connected);
      });
      watcher.write({ type: 'presence', room: ROOM, id: 1 });
      await until(() => {
        turn();
        return changes(watcher).some(({ id }) => id === 1);
      });
      await until(() => {
        turn();
        pass(a, 100);
        return leaves(watcher).length > 0;
      });
      assert.deepEqual(leaves(watcher), ['bob']);
      assert.equal(changes(watcher).at(-1)?.count, 2);
      pass(a, 1000);
      assert.deepEqual([a.sim.tally.presenceKept, a.sim.tally.presenceNames], [0, 1]);

      await nats.server(0).kill();
      await until(() => all.every(({ cluster }) => !cluster.connected));
      const eve = a.sim.connect('eve');
      eve.write({ type: 'join', room: ROOM });
      turn();
      eve.end(1006);
      pass(a, DRAIN_GRACE_MS - 1000);
      assert.deepEqual(leaves(watcher), ['bob']);
      pass(a, 3000);
      assert.deepEqual(leaves(watcher), ['bob', 'eve']);
    } finally {
      for (const { close, sim } of all) {
        sim.hub.close();
        await close();
      }
    }
  });
});
