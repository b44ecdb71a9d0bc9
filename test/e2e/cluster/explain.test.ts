/** What became of a message is asked of all brokers; who does not answer is named, and nothing is claimed for it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Explained } from '../../../src/broker/fate/verdict.ts';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Client } from '../conformance/client.ts';

type Question = Readonly<Record<string, string | number | undefined>>;

const ADMIN = 'an-admin-token-that-only-this-test-uses';

describe('explain over two brokers', () => {
  const brokers: RunningBroker[] = [];
  const clients: Client[] = [];
  let nats: NatsCluster;

  before(async () => {
    nats = await NatsCluster.start(1);
    const start = (serverId: string) =>
      startBroker({
        env: { CARILLON_ADMIN_TOKEN: ADMIN },
        config: {
          node: { serverId },
          rooms: [{ match: 'live:**' }, { match: '**', history: { count: 100 } }],
          nats: { url: nats.urls, shards: 2, streamBytes: '64MiB' },
          cluster: { heartbeatMs: '500ms' },
        },
      });
    brokers.push(...(await Promise.all(['pod-1', 'pod-2'].map(start))));
  });

  after(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await Promise.all(brokers.map((broker) => broker.stop()));
    await nats?.close();
  });

  async function client(pod: number, sub: string): Promise<Client> {
    const broker = brokers[pod] as RunningBroker;
    const made = await Client.connect(broker.url, { token: await broker.token({ sub }) });
    clients.push(made);
    return made;
  }

  async function explain(question: Question): Promise<Explained> {
    const [broker] = brokers as [RunningBroker];
    const query = new URLSearchParams(Object.entries(question).map(([name, value]) => [name, String(value)]));
    const headers = { authorization: `Bearer ${ADMIN}` };
    const response = await fetch(`${broker.adminUrl}/admin/v1/explain?${query}`, { headers });
    assert.equal(response.status, 200);
    return (await response.json()) as Explained;
  }

  const told = ({ sessions }: Explained) =>
    sessions.map(({ node, fate, closed }) => [node, fate, closed?.code]).sort();

  test('sessions of both, over and not, in durable and live rooms', async () => {
    for (const room of ['two:1', 'live:1']) {
      const [ann, here, there, gone] = [
        await client(0, 'ann'),
        await client(0, `bob-${room}`),
        await client(1, `bob-${room}`),
        await client(1, `bob-${room}`),
      ];
      await Promise.all([here, there, gone].map((each) => each.join(room)));
      await gone.close();
      await ann.pub(room, 1, { msgId: `m-${room}` });
      await Promise.all([here, there].map((each) => each.until('event')));
      const said = await explain({ room, user: `bob-${room}`, msgId: `m-${room}` });
      assert.equal(said.verdict, 'handed');
      assert.deepEqual(told(said), [
        ['pod-1', 'handed', undefined],
        ['pod-2', 'handed', undefined],
        ['pod-2', 'left', 1005],
      ]);
      assert.deepEqual(said.nodes.map(({ node, passed }) => [node, passed?.at !== undefined]).sort(), [
        ['pod-1', true],
        ['pod-2', true],
      ]);
    }
  });

  test('refused on the other; of one that does not answer nothing is claimed', async () => {
    const [, other] = brokers as [RunningBroker, RunningBroker];
    const barred = await Client.connect(other.url, { token: await other.token({ sub: 'eve', rooms: [] }) });
    clients.push(barred);
    await barred.refused({ type: 'pub', room: 'two:2', payload: 1, msgId: 'no' }, 'forbidden');
    const said = await explain({ room: 'two:2', user: 'nobody', msgId: 'no' });
    assert.deepEqual(
      [said.verdict, said.refused.map(({ node, code }) => [node, code])],
      ['refused', [['pod-2', 'forbidden']]],
    );
    const { seq } = await (await client(0, 'ann')).pub('two:2', 1);
    assert.equal((await explain({ room: 'two:2', user: 'nobody', seq })).verdict, 'not_connected');
    process.kill(other.pid, 'SIGSTOP');
    const partial = await explain({ room: 'two:2', user: 'nobody', seq });
    process.kill(other.pid, 'SIGCONT');
    assert.deepEqual([partial.verdict, partial.missing], ['unknown', ['pod-2']]);
  });
});
