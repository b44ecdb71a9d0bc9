/** Who is the newest, among nodes on a real NATS server. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ServerInfoFrame } from '../../../src/protocol/frames.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { type SimOptions, SimSocket } from '../../support/sim.ts';
import { heard, type Joined, nodes, until } from './nodes.ts';

function info(socket: SimSocket): ServerInfoFrame & { ticket: string } {
  const [first] = socket.take();
  assert.equal(first?.type, 'server_info');
  return first as ServerInfoFrame & { ticket: string };
}

const identity = (user: string) => ({ user, tenant: 'default', rooms: [] });

describe('sessions of several nodes', () => {
  let nats: NatsCluster;
  before(async () => {
    nats = await NatsCluster.start(1);
  });
  after(() => nats.close());

  async function withNodes(count: number, options: SimOptions, body: (all: Joined[]) => Promise<void>) {
    const all = await nodes(nats, count, options);
    try {
      await body(all);
    } finally {
      for (const { close, sim } of all) {
        sim.hub.close();
        await close();
      }
    }
  }

  test('C1.9.1 a session that comes back on another node ends its old connection there with 4008', async () => {
    await withNodes(2, {}, async ([a, b]) => {
      assert.ok(a && b);
      const old = a.sim.connect('ann');
      old.write({ type: 'join', room: 'r' });
      a.sim.settle();
      const { ticket, session } = info(old);
      const next = b.sim.connect('ann', {}, ticket);
      next.write({ type: 'join', room: 'r' });
      b.sim.settle();
      await until(() => old.closedWith !== undefined);
      assert.deepEqual([old.closedWith, next.closedWith], [4008, undefined]);
      assert.deepEqual([a.sim.hub.size, b.sim.hub.size], [0, 1]);
      assert.equal(b.sim.hub.view.sessions.get(session)?.generation, 2);
      assert.deepEqual(
        b.sim.hub.view.room('default', 'r')?.members.map(({ user }) => user),
        ['ann'],
      );
      assert.throws(() => a.sim.connect('ann', {}, ticket), /used already/, 'the ticket, where it was made');
    });
  });

  test('C4.1 why a node ended the connection is told wherever the session goes on', async () => {
    await withNodes(2, {}, async ([a, b]) => {
      assert.ok(a && b);
      const old = a.sim.connect('ann');
      const { ticket, session } = info(old);
      a.sim.hub.view.sessions.get(session)?.end('slow_consumer', 'reads too slowly');
      await until(() => a.sim.hub.size === 0);
      await heard([a, b]);
      const { last, resumed } = info(b.sim.connect('ann', {}, ticket));
      assert.equal(resumed, true);
      assert.deepEqual([last?.code, last?.reason], [4102, 'reads too slowly']);
    });
  });

  test('C4.1 what the transport ended a connection for is told as well', async () => {
    await withNodes(2, {}, async ([a, b]) => {
      assert.ok(a && b);
      const old = a.sim.connect('ann');
      const { ticket } = info(old);
      old.end(4101, 'more than limits.inboundQueueBytes is waiting');
      await until(() => a.sim.hub.size === 0);
      await heard([a, b]);
      const { last } = info(b.sim.connect('ann', {}, ticket));
      assert.deepEqual([last?.code, last?.reason], [4101, 'more than limits.inboundQueueBytes is waiting']);
    });
  });

  test('C1.9.1 one ticket on two nodes at once: both agree which connection stays', async () => {
    await withNodes(3, {}, async ([a, b, c]) => {
      assert.ok(a && b && c);
      const { ticket } = info(a.sim.connect('ann'));
      const [onB, onC] = [b.sim.connect('ann', {}, ticket), c.sim.connect('ann', {}, ticket)];
      await heard([b, c]);
      await until(() => [onB, onC].filter(({ closedWith }) => closedWith !== undefined).length === 1);
      // The same generation at the same millisecond: the greater name.
      assert.deepEqual([onB.closedWith, onC.closedWith], [4008, undefined]);
      const later = info(c.sim.connect('ann', {}, info(onC).ticket)).session;
      assert.equal(c.sim.hub.view.sessions.get(later)?.generation, 3);
      // Behind the times: its node is told that there is a newer one, although it is the last to connect.
      b.sim.now += 60_000;
      const stale = new SimSocket('json', (data) => JSON.parse(data as string));
      b.sim.attach(stale, identity('ann'), { session: later, generation: 1 });
      await heard([b, c]);
      await until(() => stale.closedWith === 4008);
      assert.equal(c.sim.hub.size, 1);
    });
  });

  test('the late close of an old socket takes nothing from the one that came after it', async () => {
    await withNodes(1, {}, async ([a]) => {
      assert.ok(a);
      const old = a.sim.connect('ann');
      const closeLate = old.peer?.closed.bind(old.peer) as (code: number) => void;
      old.peer = undefined;
      old.write({ type: 'join', room: 'r' });
      const { ticket } = info(old);
      const next = a.sim.connect('ann', {}, ticket);
      next.write({ type: 'join', room: 'r' });
      a.sim.settle();
      const second = info(next).ticket;
      next.end(1001);
      closeLate(1006);
      assert.throws(() => a.sim.connect('ann', {}, ticket), /used already/);
      assert.equal(info(a.sim.connect('ann', {}, second)).last?.code, 1001);
    });
  });

  test('C7.3.1 onDuplicate replace: the newest connection of a user stays, wherever it is', async () => {
    await withNodes(3, { tenants: { onDuplicate: 'replace' } }, async (all) => {
      const sockets: SimSocket[] = [];
      for (const { sim } of all) {
        sockets.push(sim.connect('ann'));
        await heard(all);
      }
      await until(() => sockets.filter(({ closedWith }) => closedWith === undefined).length === 1);
      assert.deepEqual(
        sockets.map(({ closedWith }) => closedWith),
        [4008, 4008, undefined],
        'a clock that stands still does not hide what was heard before',
      );
      const atOnce = all.map(({ sim }) => sim.connect('bob'));
      await heard(all);
      await until(() => atOnce.filter(({ closedWith }) => closedWith === undefined).length === 1);
      assert.equal(sockets[2]?.closedWith, undefined, 'another user');
    });
  });

  test('C7.3.1 onDuplicate reject: the second is refused on every node, and of two at once one gets in', async () => {
    await withNodes(3, { tenants: { onDuplicate: 'reject' } }, async (all) => {
      const [a, b, c] = all as [Joined, Joined, Joined];
      const first = a.sim.connect('ann');
      const inquiry = b.sim.hub.inquire(identity('ann'));
      assert.equal(await inquiry?.others, 1);
      const refusal = b.sim.hub.admit(identity('ann'), undefined, 1);
      assert.equal(refusal?.code, 'duplicate_session');
      inquiry?.over();
      const { ticket } = info(first);
      const verdict = b.sim.hub.openTicket(ticket);
      assert.ok(verdict.ok);
      const resumed = b.sim.hub.inquire(verdict.identity, verdict.resumes);
      assert.equal(await resumed?.others, 0, 'its own old connection is no other');
      resumed?.over();
      for (let round = 0; round < 20; round++) {
        const asked = all.map(({ sim }) => sim.hub.inquire(identity(`eve${round}`)));
        const others = await Promise.all(asked.map((one) => one?.others));
        assert.equal(others.filter((count) => count === 0).length, 1, `${others}`);
        for (const one of asked) one?.over();
      }
      assert.equal(await c.sim.hub.inquire(identity('eve0'))?.others, 0, 'nothing is left behind');
    });
  });

  test('C7.3.1 connections of one user are counted on all nodes; a node that does not answer counts as none', async () => {
    await withNodes(2, { tenants: { connectionsPerUser: 2 } }, async ([a, b]) => {
      assert.ok(a && b);
      a.sim.connect('ann');
      a.sim.connect('ann');
      const others = await b.sim.hub.inquire(identity('ann'))?.others;
      assert.equal(others, 2);
      const refusal = b.sim.hub.admit(identity('ann'), undefined, others);
      assert.deepEqual([refusal?.code, refusal?.limit, refusal?.used], ['quota_exceeded', 2, 2]);
      a.sim.hub.close();
      assert.equal(await b.sim.hub.inquire(identity('ann'))?.others, 0);
    });
  });

  test('tenants without such policies ask nobody and tell nobody', async () => {
    await withNodes(2, {}, async ([a, b]) => {
      assert.ok(a && b);
      const before = a.cluster.figures();
      for (let at = 0; at < 50; at++) {
        assert.equal(a.sim.hub.inquire(identity('ann')), undefined);
        a.sim.connect('ann');
      }
      a.sim.turn();
      assert.deepEqual(a.cluster.figures().tells, before.tells);
      assert.deepEqual(a.cluster.figures().asks, before.asks);
    });
  });
});
