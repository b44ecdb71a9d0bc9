/** Who is in a room, over three brokers: joins and leaves on any of them, one that dies, all of them restarted. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type Pod, startPods } from '../../../loadtest/chaos/pods.ts';
import { type Client, connect, type Presence, type Room } from '../../../src/client/index.ts';
import { record } from '../../client/scripted.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

const GRACE_MS = 3000;
const DRAIN_GRACE_MS = 6000;

describe('presence over three brokers', () => {
  const clients: Client[] = [];
  let nats: NatsCluster;
  let pods: Pod[] = [];

  before(async () => {
    nats = await NatsCluster.start(1);
    const config = {
      nats: { url: nats.urls },
      presence: { graceMs: `${GRACE_MS}ms`, drainGraceMs: `${DRAIN_GRACE_MS}ms` },
      drain: { windowMs: '500ms' },
      cluster: { heartbeatMs: '1s', missed: 3 },
    };
    pods = await startPods({ count: 3, natsUrls: nats.urls, config });
  });

  after(async () => {
    for (const client of clients) client.close();
    await Promise.all(pods.map((pod) => pod.close()));
    await nats?.close();
  });

  const pod = (at: number): Pod => pods[at] as Pod;
  const running = (): Pod[] => pods.filter(({ serving }) => serving);

  /** First to `pods[home]`, then to whichever runs. */
  async function client(user: string, home: number, info?: object): Promise<Client> {
    let turn = 0;
    class Turning extends WebSocket {
      constructor(_url: string, protocols: string[]) {
        const others = running();
        super(turn++ === 0 ? pod(home).url : (others[turn % others.length] as Pod).url, protocols);
      }
    }
    const made = connect(pod(home).url, {
      token: await pod(home).broker.token({ sub: user, ...(info && { info }) }),
      webSocket: Turning,
      reconnect: { minMs: 50, maxMs: 400 },
    });
    clients.push(made);
    await made.whenOpen();
    return made;
  }

  async function watch(user: string, home: number, room: string): Promise<[Room, Presence[]]> {
    const made = (await client(user, home)).join(room, { presence: true });
    const heard = record<Presence>((listener) => made.on('presence', listener));
    await made.whenJoined();
    return [made, heard];
  }

  const users = (room: Room): string[] => [...room.members.keys()].sort();
  const leaves = (heard: readonly Presence[]): string[] => heard.flatMap(({ left }) => left).sort();

  /** A client that never comes back. */
  async function mortal(user: string, home: number, room: string): Promise<WebSocket> {
    const token = await pod(home).broker.token({ sub: user });
    const socket = new WebSocket(pod(home).url, ['chat.v1', `bearer.${token}`]);
    const joined = new Promise((resolve) => {
      socket.on('message', (data) => String(data).includes('"joined"') && resolve(undefined));
    });
    socket.on('error', () => undefined);
    socket.once('open', () => socket.send(JSON.stringify({ type: 'join', room })));
    await joined;
    return socket;
  }

  test('C4.8 a watcher hears of members of all nodes; a user on several is one; a query asks all', async () => {
    const ann = await client('ann', 1, { name: 'Ann' });
    ann.join('one');
    const [room, heard] = await watch('watcher', 0, 'one');
    await until(() => users(room).length === 2, 'ann, who was there before');
    assert.deepEqual(room.members.get('ann')?.info, { name: 'Ann' });
    const bob = await client('bob', 2);
    bob.join('one');
    await until(() => users(room).includes('bob'), 'bob');
    const elsewhere = await client('ann', 2, { name: 'Ann' });
    const second = elsewhere.join('one');
    await second.whenJoined();
    await until(
      async () => (await bob.presence('one')).members.find(({ user }) => user === 'ann')?.connections === 2,
      'both of ann',
    );
    assert.deepEqual((await elsewhere.presence('one')).count, 3);
    ann.close();
    await bob.presence('one');
    await second.leave();
    await until(() => leaves(heard).length === 1, 'ann has left both');
    assert.deepEqual(leaves(heard), ['ann']);
    assert.deepEqual(users(room), ['bob', 'watcher']);
  });

  test('C4.8.1 C4.8.4 a newcomer gets the whole in joined, without partial, from a node that nobody had watched on', async () => {
    for (const [at, user] of ['u1', 'u2', 'u3'].entries()) (await client(user, at)).join('whole');
    await sleep(500);
    const newcomer = (await client('new', 2)).join('whole', { presence: true });
    const joined = await newcomer.whenJoined();
    assert.deepEqual(
      [joined.mode, joined.count, joined.partial, joined.members?.map(({ user }) => user).sort()],
      ['full', 4, undefined, ['new', 'u1', 'u2', 'u3']],
    );
  });

  test('C4.8.3 a node dies: who does not come back leaves once, within the silence and the grace', async () => {
    const [room, heard] = await watch('seer', 0, 'kill');
    const [other, heardToo] = await watch('seer2', 2, 'kill');
    const back = ['b1', 'b2', 'b3', 'b4'];
    for (const user of back) (await client(user, 1)).join('kill', { presence: true });
    const gone = ['g1', 'g2', 'g3'];
    for (const user of gone) await mortal(user, 1, 'kill');
    await until(() => users(room).length === 9 && users(other).length === 9, 'all nine');
    await pod(1).kill();
    const at = performance.now();
    await until(() => leaves(heard).length >= 3 && leaves(heardToo).length >= 3, 'the leaves');
    const ms = performance.now() - at;
    assert.ok(ms < 3000 + GRACE_MS + 1500, `known after ${Math.round(ms)} ms`);
    await sleep(1500);
    assert.deepEqual(leaves(heard), gone);
    assert.deepEqual(leaves(heardToo), gone);
    assert.deepEqual(users(room), [...back, 'seer', 'seer2']);
    await pod(1).start();
  });

  test('C4.8.3 a client that loses its connection and comes back elsewhere has never left', async () => {
    const [room, heard] = await watch('eye', 0, 'flap');
    const socket = await mortal('m', 1, 'flap');
    const flapping = await client('f', 1);
    await flapping.join('flap').whenJoined();
    await until(() => users(room).length === 3, 'both');
    socket.terminate();
    await mortal('m', 2, 'flap');
    await sleep(GRACE_MS + 1500);
    assert.deepEqual(leaves(heard), []);
    assert.deepEqual(users(room), ['eye', 'f', 'm']);
  });

  test('C4.8.3 a node that goes away answers for whom it has sent away until they are back, or their grace is over', async () => {
    const socket = await mortal('away', 1, 'between');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const drained = pod(1).drain();
    await closed;
    const since = performance.now();
    // Longer than the node needs to end where nobody is kept.
    await sleep(1000);
    const [room] = await watch('late', 0, 'between');
    assert.deepEqual(users(room), ['away', 'late']);
    await drained;
    await until(() => users(room).length === 1, 'the end of the grace');
    assert.ok(performance.now() - since > DRAIN_GRACE_MS - 1500, 'of whom a drain has sent away');
    await pod(1).start();
    await pod(1).ready(20_000);
  });

  test('every node is restarted in turn: nobody is seen leaving', async () => {
    const watchers = await Promise.all([0, 1, 2].map((home) => watch(`w${home}`, home, 'roll')));
    const names = Array.from({ length: 30 }, (_, at) => `r${at}`);
    for (const [at, user] of names.entries()) (await client(user, at % 3)).join('roll');
    await until(() => watchers.every(([room]) => users(room).length === 33), 'everybody');
    for (const one of pods) {
      await one.drain();
      await one.start();
      await one.ready(20_000);
      await sleep(1000);
    }
    await sleep(GRACE_MS + 1500);
    for (const [room, heard] of watchers) {
      assert.deepEqual(leaves(heard), []);
      assert.equal(users(room).length, 33);
    }
  });
});

/** Throws when it does not hold within 15 s. */
async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within 15 s`);
    await sleep(10);
  }
}
