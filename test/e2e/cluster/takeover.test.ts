/** Limits on a user's connections over two real brokers: refused in HTTP, before the upgrade. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { type Pod, startPods } from '../../../loadtest/chaos/pods.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Client } from '../conformance/client.ts';

describe('users of two brokers', () => {
  let nats: NatsCluster;
  let pods: [Pod, Pod];
  const sockets: WebSocket[] = [];

  before(async () => {
    nats = await NatsCluster.start(1);
    const config = {
      nats: { url: nats.urls, shards: 1, streamBytes: '64MiB', cursorBytes: '4MiB' },
      tenants: { single: { onDuplicate: 'reject' }, newest: { onDuplicate: 'replace' } },
    };
    pods = (await startPods({ count: 2, natsUrls: nats.urls, config })) as [Pod, Pod];
  });

  after(async () => {
    for (const socket of sockets) socket.terminate();
    await Promise.all(pods.map((pod) => pod.close()));
    await nats.close();
  });

  /** 101, or the status and code of a refusal. */
  async function connect(pod: Pod, credential: string): Promise<string> {
    const socket = new WebSocket(pod.url, ['chat.v1', credential]);
    socket.on('error', () => undefined);
    sockets.push(socket);
    return Promise.race([
      once(socket, 'open').then(() => '101'),
      once(socket, 'unexpected-response').then(async ([, response]) => {
        const [body] = await once(response, 'data');
        return `${response.statusCode} ${JSON.parse(String(body)).code}`;
      }),
    ]);
  }

  const bearer = async (sub: string, tenant: string) =>
    `bearer.${await pods[0].broker.token({ sub, tenant })}`;

  test('C7.3.1 reject: with a new token, with a known one, and at once on both', async () => {
    const [a, b] = pods;
    const ann = await bearer('ann', 'single');
    assert.equal(await connect(a, ann), '101');
    for (const pod of [b, b, a]) assert.equal(await connect(pod, ann), '429 duplicate_session');
    for (let round = 0; round < 10; round++) {
      const token = await bearer(`eve${round}`, 'single');
      const outcomes = await Promise.all([connect(a, token), connect(b, token)]);
      assert.deepEqual(outcomes.sort(), ['101', '429 duplicate_session']);
    }
  });

  test('C7.3.1 a client that leaves while its node asks holds no place', async () => {
    const [a, b] = pods;
    const token = await bearer('gone', 'single');
    for (let round = 0; round < 50; round++) {
      const socket = new WebSocket(b.url, ['chat.v1', token]);
      socket.on('error', () => undefined);
      setTimeout(() => socket.terminate(), round % 5);
      await new Promise((closed) => socket.once('close', closed));
    }
    for (let tries = 0; (await connect(a, token)) !== '101'; tries++) assert.ok(tries < 100);
  });

  test('C1.9.1 a ticket is no second connection', async () => {
    const [a, b] = pods;
    const first = await Client.connect(a.url, {
      token: await a.broker.token({ sub: 'bob', tenant: 'single' }),
    });
    assert.equal(await connect(b, `ticket.${first.info.ticket}`), '101');
    assert.equal((await first.closed).code, 4008);
  });

  test('C7.3.1 replace: the newest connection stays', async () => {
    const [a, b] = pods;
    const first = await Client.connect(a.url, {
      token: await a.broker.token({ sub: 'bob', tenant: 'newest' }),
    });
    assert.equal(await connect(b, await bearer('bob', 'newest')), '101');
    assert.equal((await first.closed).code, 4008);
  });
});
