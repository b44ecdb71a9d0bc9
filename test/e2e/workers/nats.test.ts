/** With NATS each worker is a node of the cluster, and the supervisor has no part in their rooms. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { type Client, fresh, metrics } from '../conformance/client.ts';
import { ADMIN_TOKEN, admin, connectTo, pidOf, ready } from './support.ts';

describe('two workers on NATS', () => {
  let nats: NatsCluster;
  let broker: RunningBroker;
  const clients: Client[] = [];

  before(async () => {
    nats = await NatsCluster.start(1);
    broker = await startBroker({
      config: {
        workers: 2,
        supervisor: { restartMinMs: 50 },
        node: { serverId: 'pod-1' },
        nats: { url: nats.urls, shards: 1, streamBytes: '64MiB', cursorBytes: '4MiB' },
        admin: { token: ADMIN_TOKEN },
      },
    });
  });

  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    const exit = await broker.stop();
    await nats.close();
    assert.deepEqual(exit, { code: 0, signal: null }, broker.logs.slice(-20).join('\n'));
  });

  async function client(worker: number): Promise<Client> {
    const made = await connectTo(broker, worker, { sub: fresh('user') });
    clients.push(made);
    return made;
  }

  test('events go from one to the other, and a worker that was killed is the same node again', async () => {
    const [ann, bob] = [await client(1), await client(2)];
    assert.deepEqual([ann.info.serverId, bob.info.serverId], ['pod-1-w1', 'pod-1-w2']);
    const room = fresh();
    await ann.join(room);
    await bob.join(room);
    const { seq } = await bob.pub(room, 'before');
    assert.equal((await ann.expect('event')).seq, seq);
    const pid = pidOf(broker, 2);
    process.kill(pid, 'SIGKILL');
    await bob.closed;
    const during = await ann.pub(room, 'during');
    await ready(broker);
    const back = await client(2);
    assert.notEqual(pidOf(broker, 2), pid);
    await back.join(room, { since: { epoch: during.epoch, seq } });
    assert.equal((await back.expect('event')).seq, during.seq);
  });

  test('one admin port for both nodes; the supervisor has no bus of its own', async () => {
    const stats = (await admin(broker, 'stats')) as { nodes: { node: string }[] };
    assert.deepEqual(stats.nodes.map(({ node }) => node).sort(), ['pod-1-w1', 'pod-1-w2']);
    const samples = await metrics(broker);
    assert.equal(samples.get('carillon_bus_state{bus="nats"}'), 2);
    assert.ok(![...samples.keys()].some((name) => name.includes('bus="local"')));
  });
});
