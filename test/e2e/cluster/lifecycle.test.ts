/** The record of sessions over several real brokers on a real NATS server: each event once, whatever dies. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstream } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { type Pod, startPods } from '../../../loadtest/chaos/pods.ts';
import type { LifecycleEvent } from '../../../src/broker/lifecycle/event.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Client, settled } from '../conformance/client.ts';

const GRACE_MS = 2000;
const LIFE = { enabled: true, graceMs: GRACE_MS, bytes: '16MiB' };

describe('lifecycle events of three brokers', () => {
  let nats: NatsCluster;
  let pods: Pod[];
  let reader: NatsConnection;
  const clients: Client[] = [];

  before(async () => {
    nats = await NatsCluster.start(1);
    const config = {
      nats: { url: nats.urls, shards: 1, streamBytes: '64MiB', cursorBytes: '4MiB' },
      cluster: { heartbeatMs: 300, missed: 3 },
      drain: { windowMs: '500ms', deadlineMs: '5s' },
      lifecycle: LIFE,
    };
    pods = await startPods({ count: 3, natsUrls: nats.urls, config });
    reader = await connect({ servers: [...nats.urls] });
  });

  after(async () => {
    for (const { socket } of clients) socket.terminate();
    await Promise.all(pods.map((pod) => pod.close()));
    await reader?.close();
    await nats?.close();
  });

  /** All that the stream has of these users, in its order; with undefined: of rooms. */
  async function recorded(choose: (event: LifecycleEvent) => boolean): Promise<LifecycleEvent[]> {
    const stream = await jetstream(reader).streams.get('CARILLON_LIFECYCLE');
    const { state } = await stream.info();
    const events: LifecycleEvent[] = [];
    if (state.messages === 0) return events;
    const consumer = await stream.getConsumer();
    for await (const message of await consumer.fetch({ max_messages: state.messages, expires: 5000 })) {
      const event = message.json<LifecycleEvent>();
      if (!choose(event)) continue;
      assert.equal(message.headers?.get('Nats-Msg-Id'), event.id);
      events.push(event);
    }
    return events;
  }

  const names = (events: readonly LifecycleEvent[]) =>
    events.map(({ event, room, generation }) => [event, room, generation].filter((part) => part).join(' '));

  async function client(pod: Pod, sub: string): Promise<Client> {
    const made = await Client.connect(pod.url, { token: await pod.broker.token({ sub }) });
    clients.push(made);
    return made;
  }

  async function resume(pod: Pod, from: Client): Promise<Client> {
    const ticket = from.tickets.at(-1)?.ticket ?? from.info.ticket;
    const made = await Client.connect(pod.url, { ticket });
    clients.push(made);
    return made;
  }

  test('a session from its first connection to its end, and its room', async () => {
    const [a] = pods as [Pod];
    const ann = await client(a, 'ann');
    await ann.join('talk');
    await ann.ask({ type: 'leave', room: 'talk' }, 'left');
    await ann.join('talk');
    await ann.close();
    await settled(async () => {
      const events = await recorded(({ user }) => user === 'ann');
      assert.deepEqual(names(events), [
        'connected 1',
        'joined talk 1',
        'left talk 1',
        'joined talk 1',
        'left talk 1',
        'expired 1',
      ]);
      assert.equal(new Set(events.map(({ id }) => id)).size, 6);
      const { session } = ann.info;
      assert.deepEqual(events.map(({ id }) => id).slice(0, 2), [
        `${session}:1:connected`,
        `${session}:1:joined:talk`,
      ]);
      assert.equal(events.at(-1)?.code, 1005);
      assert.ok(events.every(({ inferred }) => inferred === undefined));
    }, 15_000);
    const rooms = await recorded(({ room, session }) => room === 'talk' && session === undefined);
    assert.deepEqual(names(rooms), ['occupied talk', 'vacated talk', 'occupied talk', 'vacated talk']);
  });

  test('taken over by another broker: replaced, resumed, and nothing is left', async () => {
    const [a, b] = pods as [Pod, Pod];
    const bob = await client(a, 'bob');
    await bob.join('shared');
    const next = await resume(b, bob);
    assert.equal((await bob.closed).code, 4008);
    await next.join('shared');
    await sleep(GRACE_MS + 2500);
    assert.deepEqual(names(await recorded(({ user }) => user === 'bob')).sort(), [
      'connected 1',
      'joined shared 1',
      'joined shared 2',
      'replaced 1',
      'resumed 2',
    ]);
    assert.deepEqual(
      names(await recorded(({ room, session }) => room === 'shared' && session === undefined)),
      ['occupied shared'],
    );
  });

  test('the same room on all brokers at once is occupied once and vacated once', async () => {
    for (let round = 0; round < 5; round++) {
      const room = `crowd-${round}`;
      const all = await Promise.all(pods.map((pod, at) => client(pod, `c${round}-${at}`)));
      await Promise.all(all.map((one) => one.join(room)));
      await Promise.all(all.map((one) => one.ask({ type: 'leave', room }, 'left')));
      await settled(async () => {
        const events = await recorded((event) => event.room === room && event.session === undefined);
        assert.deepEqual([...new Set(names(events))].sort(), [`occupied ${room}`, `vacated ${room}`]);
        const inOrder = names(events.sort((one, other) => one.at - other.at));
        assert.ok(
          inOrder.every((name, at) => name.startsWith(at % 2 === 0 ? 'occupied' : 'vacated')),
          `${inOrder}`,
        );
      });
    }
  });

  test('a broker killed: the ends of its sessions come once, marked as inferred', async () => {
    const [, , c] = pods as [Pod, Pod, Pod];
    const gone = await Promise.all(Array.from({ length: 20 }, (_, at) => client(c, `k${at}`)));
    for (const one of gone) await one.join('dead');
    const [first] = gone as [Client];
    // Whose former connection is still within its grace when the node of the newer one dies.
    const moved = await client(pods[0] as Pod, 'moved');
    await moved.join('moving');
    await (await resume(c, moved)).join('moving');
    await moved.closed;
    const ofMoved = ({ user }: LifecycleEvent) => user === 'moved';
    await settled(async () => assert.equal((await recorded(ofMoved)).length, 5));
    await c.kill();
    const back = await resume(pods[0] as Pod, first);
    await back.join('dead');
    const ends = ({ user, event }: LifecycleEvent) =>
      user?.startsWith('k') === true && (event === 'left' || event === 'expired');
    await settled(async () => {
      assert.equal((await recorded(ends)).length, 2 * 19);
    }, 30_000);
    await c.start();
    await sleep(GRACE_MS + 2000);
    const events = await recorded(ends);
    assert.equal(events.length, 2 * 19, 'once');
    assert.ok(events.every(({ inferred, node }) => inferred === true && node === 'pod-3'));
    assert.ok(!events.some(({ user }) => user === 'k0'), 'who came back has not left');
    const expired = (await recorded(ofMoved)).filter(({ event }) => event === 'expired');
    assert.deepEqual(names(expired), ['expired 2'], 'the newest connection alone');
    await back.close();
    await settled(async () => {
      const rooms = await recorded(({ room, session }) => room === 'dead' && session === undefined);
      // Who came back was the first again, on nodes that knew of nobody else.
      assert.deepEqual(names(rooms), ['occupied dead', 'occupied dead', 'vacated dead']);
    }, 15_000);
  });

  test('a rolling restart with clients that come back: resumed, and nobody has left or expired', async () => {
    const count = 30;
    const users = new Set<string | undefined>();
    let all = await Promise.all(
      Array.from({ length: count }, (_, at) => {
        users.add(`r${at}`);
        return client(pods[at % 3] as Pod, `r${at}`);
      }),
    );
    for (const one of all) await one.join('rolling');
    for (const [at, pod] of pods.entries()) {
      const other = pods[(at + 1) % 3] as Pod;
      const name = pod.name;
      const draining = pod.drain();
      all = await Promise.all(
        all.map(async (one) => {
          if (one.info['serverId' as keyof typeof one.info] !== name) return one;
          const frames = await one.until('drain');
          await one.closed;
          const { ticket } = frames.at(-1) as { ticket: string };
          const next = await Client.connect(other.url, { ticket });
          clients.push(next);
          await next.join('rolling');
          return next;
        }),
      );
      await draining;
      await pod.start();
    }
    await sleep(GRACE_MS + 3000);
    const events = await recorded(({ user }) => users.has(user));
    const of = (kind: string) => events.filter(({ event }) => event === kind).length;
    assert.equal(of('connected'), count);
    assert.ok(of('resumed') >= count, `${of('resumed')}`);
    assert.deepEqual([of('left'), of('expired')], [0, 0]);
    const rooms = await recorded(({ room, session }) => room === 'rolling' && session === undefined);
    assert.deepEqual(names(rooms), ['occupied rolling']);
    await Promise.all(all.map((one) => one.close()));
    await settled(async () => {
      const ends = (await recorded(({ user, event }) => users.has(user) && event === 'expired')).length;
      assert.equal(ends, count);
    }, 15_000);
  });
});
