/** The calls of one node are about all of them, and name those that do not answer. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { SignJWT } from 'jose';
import { WebSocket } from 'ws';
import { type Client, connect } from '../../../src/client/index.ts';
import { until } from '../../client/scripted.ts';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { settled } from '../conformance/client.ts';

const TOKEN = 'an-admin-token-that-only-this-test-uses';

describe('the API of two brokers', () => {
  const clients: Client[] = [];
  const brokers: RunningBroker[] = [];
  let nats: NatsCluster;

  before(async () => {
    nats = await NatsCluster.start(1);
    const start = (serverId: string) =>
      startBroker({
        env: { CARILLON_ADMIN_TOKEN: TOKEN },
        config: {
          node: { serverId },
          nats: { url: nats.urls, shards: 2, streamBytes: '64MiB' },
          cluster: { heartbeatMs: '500ms', missed: 3 },
        },
      });
    brokers.push(...(await Promise.all(['pod-1', 'pod-2'].map(start))));
  });

  after(async () => {
    for (const client of clients) client.close();
    await Promise.all(brokers.map((broker) => broker.stop()));
    await nats?.close();
  });

  async function client(pod: number, sub: string): Promise<Client> {
    const broker = brokers[pod] as RunningBroker;
    const made = connect(broker.url, { token: await broker.token({ sub }), webSocket: WebSocket });
    clients.push(made);
    await made.whenOpen();
    return made;
  }

  interface Body {
    readonly kicked?: number;
    readonly missing?: readonly string[];
    readonly partial?: true;
    readonly connections?: readonly { readonly user: string; readonly node: string }[];
    readonly rooms?: readonly { readonly room: string; readonly members: number; readonly nodes: number }[];
    readonly count?: number;
    readonly disconnected?: number;
    readonly accepted?: number;
    readonly cluster?: { readonly connections: number };
    readonly draining?: readonly string[];
    readonly nodes?: readonly object[];
  }

  async function call(method: string, path: string, body?: object): Promise<Body> {
    const [broker] = brokers as [RunningBroker];
    const base = path.startsWith('/admin') ? broker.adminUrl : broker.httpUrl;
    const response = await fetch(base + path, {
      method,
      headers: { authorization: `Bearer ${TOKEN}` },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    assert.equal(response.status, 200, `${method} ${path}`);
    return (await response.json()) as Body;
  }

  test('C4.6.1 a message to sessions finds them on both nodes', async () => {
    const [ann, bob, cid] = [await client(0, 'ann-m'), await client(1, 'bob-m'), await client(1, 'cid-m')];
    const got: string[] = [];
    for (const each of [ann, bob, cid]) each.on('message', ({ room }) => got.push(`${each.session} ${room}`));
    const sessions = [ann.session, bob.session];
    const answer = await call('POST', '/api/v1/broadcast', { tenant: 'default', sessions, payload: 1 });
    assert.deepEqual([answer.accepted, answer.missing], [2, []]);
    await until(() => got.length === 2);
    assert.deepEqual(got.sort(), sessions.map((session) => `${session} @!`).sort());
    for (const each of [ann, bob, cid]) each.close();
  });

  test('connections, rooms, presence and kicks are of both nodes', async () => {
    const [ann, bob] = [await client(0, 'ann'), await client(1, 'bob')];
    await Promise.all([ann, bob].map((each) => each.join('both:1').whenJoined()));
    const { connections } = await call('GET', '/admin/v1/connections?limit=10');
    assert.deepEqual(connections?.map(({ user, node }) => `${user} ${node}`).sort(), [
      'ann pod-1',
      'bob pod-2',
    ]);
    const { rooms } = await call('GET', '/admin/v1/rooms');
    assert.deepEqual(
      rooms?.map(({ room, members, nodes }) => ({ room, members, nodes })),
      [{ room: 'both:1', members: 2, nodes: 2 }],
    );
    assert.equal((await call('GET', '/admin/v1/stats')).cluster?.connections, 2);
    const presence = await call('GET', '/api/v1/rooms/both:1/presence?tenant=default');
    assert.deepEqual([presence.count, presence.partial], [2, undefined]);
    assert.equal((await call('POST', '/admin/v1/kick', { user: 'bob' })).kicked, 1);
    await until(() => bob.state.name === 'closed');
    assert.equal(ann.state.name, 'open');
  });

  test('a room is closed on both, and a user of the other node is disconnected', async () => {
    const [cat, dan] = [await client(0, 'cat'), await client(1, 'dan')];
    const joined = [cat, dan].map((each) => each.join('shut:1'));
    await Promise.all(joined.map((room) => room.whenJoined()));
    await call('POST', '/admin/v1/rooms/shut:1/close', { tenant: 'default' });
    await until(() => joined.every((room) => room.state === 'left'));
    assert.equal((await call('POST', '/api/v1/users/dan/disconnect', { tenant: 'default' })).disconnected, 1);
    await until(() => dan.state.name === 'closed');
  });

  test('a node that does not answer is named, and the rest is answered', async () => {
    const [, other] = brokers as [RunningBroker, RunningBroker];
    process.kill(other.pid, 'SIGSTOP');
    const kicked = await call('POST', '/admin/v1/kick', { user: 'nobody' });
    assert.deepEqual([kicked.kicked, kicked.missing], [0, ['pod-2']]);
    process.kill(other.pid, 'SIGCONT');
  });

  test('the other node is drained from here', async () => {
    const eva = await client(1, 'eva');
    // It was silent for a while, and may have been taken for dead.
    await settled(async () => assert.equal((await call('GET', '/admin/v1/stats')).nodes?.length, 2));
    assert.deepEqual((await call('POST', '/admin/v1/drain', { node: 'pod-2' })).draining, ['pod-2']);
    await until(() => eva.state.name !== 'open');
  });
});

test('brokers on NATS share a key for tickets that nobody has configured', async () => {
  const nats = await NatsCluster.start(1);
  const start = (own: string) =>
    startBroker({
      config: {
        // The first secret would make the key for tickets: it is another one on each of them.
        auth: { keys: [{ kid: own, alg: 'HS256', secret: own.repeat(40) }] },
        nats: { url: nats.urls, shards: 2, streamBytes: '64MiB' },
      },
    });
  const [one, other] = await Promise.all([start('a'), start('b')]);
  const token = await new SignJWT({ sub: 'ann' })
    .setProtectedHeader({ alg: 'HS256', kid: 'a' })
    .setIssuedAt()
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode('a'.repeat(40)));
  const first = connect(one.url, { token, webSocket: WebSocket });
  const info = await first.whenOpen();
  const second = connect(other.url, { ticket: first.ticket as string, token: '', webSocket: WebSocket });
  const resumed = await second.whenOpen();
  assert.deepEqual([resumed.session, resumed.resumed, resumed.user], [info.session, true, 'ann']);
  for (const client of [first, second]) client.close();
  await Promise.all([one.stop(), other.stop()]);
  await nats.close();
});
