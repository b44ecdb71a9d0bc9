/** Two brokers on a three-node NATS cluster are one to their clients; then both are hurt under load. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { chaos } from '../../../loadtest/chaos/chaos.ts';
import { type Pod, startPods } from '../../../loadtest/chaos/pods.ts';
import { markdown } from '../../../loadtest/chaos/report.ts';
import {
  type Client,
  connect,
  type Gap,
  type JoinedFrame,
  type Room,
  type RoomEvent,
} from '../../../src/client/index.ts';
import { record, until } from '../../client/scripted.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

describe('two brokers', () => {
  const clients: Client[] = [];
  let nats: NatsCluster;
  let a: Pod;
  let b: Pod;

  before(async () => {
    nats = await NatsCluster.start(3);
    const config = {
      nats: { url: nats.urls, shards: 2, streamBytes: '64MiB' },
      rooms: [
        { match: 'typing:live', ephemeral: {} },
        { match: 'typing:*', history: {}, ephemeral: {} },
        { match: '**', history: {} },
      ],
    };
    [a, b] = (await startPods({ count: 2, natsUrls: nats.urls, config })) as [Pod, Pod];
  });

  after(async () => {
    for (const client of clients) client.close();
    await Promise.all([a, b].map((pod) => pod?.close()));
    await nats?.close();
  });

  /** A client whose attempts to connect go to these brokers in turn. */
  async function client(user: string, ...pods: readonly Pod[]): Promise<Client> {
    let turn = 0;
    class Turning extends WebSocket {
      constructor(_url: string, protocols: string[]) {
        super((pods[turn++ % pods.length] as Pod).url, protocols);
      }
    }
    const made = connect(a.url, {
      token: await b.broker.token({ sub: user }),
      webSocket: Turning,
      reconnect: { minMs: 50, maxMs: 200 },
    });
    clients.push(made);
    await made.whenOpen();
    return made;
  }

  const heard = (room: Room) => record<RoomEvent>((listener) => room.on('event', listener));

  test('what is published on one is received on both: the same events at the same places', async () => {
    const [ann, bob] = [await client('ann', a), await client('bob', b)];
    assert.deepEqual([ann.info?.serverId, bob.info?.serverId], ['pod-1', 'pod-2']);
    const [atA, atB] = [ann.join('shared'), bob.join('shared')];
    const joins = await Promise.all([atA.whenJoined(), atB.whenJoined()]);
    assert.equal(joins[0].epoch, joins[1].epoch);
    const [onA, onB] = [heard(atA), heard(atB)];
    const acks = [];
    for (const n of [1, 2, 3]) {
      acks.push(await ann.publish('shared', { n, by: 'ann' }));
      acks.push(await bob.publish('shared', { n, by: 'bob' }));
    }
    await until(() => onA.length === 6 && onB.length === 6, 'six events on both');
    assert.deepEqual(onA, onB);
    assert.deepEqual(
      onB.map(({ seq }) => seq),
      acks.map(({ seq }) => seq),
    );
    // C5.3: the chain of prev begins at the position of the join.
    assert.deepEqual(
      onB.map(({ prev }) => prev),
      [joins[1].seq, ...acks.map(({ seq }) => seq).slice(0, -1)],
    );
    assert.deepEqual(new Set(acks.map(({ epoch }) => epoch)), new Set([joins[0].epoch]));
    assert.deepEqual(
      onA.map(({ from }) => from),
      ['ann', 'bob', 'ann', 'bob', 'ann', 'bob'],
    );
  });

  test('C3.9.4.1 signals are thinned out before the bus: the other broker gets as few, and for how long they hold', async () => {
    const [ann, bob] = [await client('ann', a), await client('bob', b)];
    for (const name of ['typing:live', 'typing:kept']) {
      const atB = heard(await joinedTo(bob, name));
      const options = { ephemeral: true, key: 'typing' };
      await Promise.all(Array.from({ length: 10 }, (_, n) => ann.publish(name, n, options)));
      await until(() => atB.length === 2, 'two of ten');
      assert.deepEqual(
        atB.map(({ payload, expireMs }) => [payload, expireMs]),
        [
          [0, 5000],
          [9, 5000],
        ],
      );
    }
  });

  async function joinedTo(who: Client, name: string): Promise<Room> {
    const room = who.join(name);
    await room.whenJoined();
    return room;
  }

  test('many publishers on both at once: one order for everybody', async () => {
    const all = await Promise.all(
      ['ann', 'bob', 'cid', 'dan'].map((user, at) => client(user, at % 2 ? b : a)),
    );
    const rooms = all.map((one) => one.join<string>('busy'));
    await Promise.all(rooms.map((room) => room.whenJoined()));
    const logs = rooms.map((room) => heard(room as Room));
    const sent = all.flatMap((one, who) =>
      Array.from({ length: 50 }, (_, n) => one.publish('busy', `${who}-${n}`)),
    );
    await Promise.all(sent);
    await until(() => logs.every(({ length }) => length === 200), 'all events everywhere');
    for (const log of logs) assert.deepEqual(log, logs[0]);
  });

  test('history is the same on both, page by page', async () => {
    const [ann, bob] = [await client('ann', a), await client('bob', b)];
    const acks = [];
    for (let n = 0; n < 10; n++) acks.push(await ann.publish('past', n));
    const pages = await Promise.all([ann, bob].map((one) => one.history('past', { limit: 100 })));
    assert.deepEqual(pages[0], pages[1]);
    assert.deepEqual(
      pages[1]?.events.map(({ payload, seq }) => [payload, seq]),
      acks.map(({ seq }, n) => [n, seq]),
    );
    const page = await bob.history('past', { after: acks[2]?.seq as number, limit: 4 });
    assert.deepEqual([page.events.map(({ payload }) => payload), page.more], [[3, 4, 5, 6], true]);
    const older = await bob.history('past', { before: acks[3]?.seq as number });
    assert.deepEqual([older.events.map(({ payload }) => payload), older.more], [[0, 1, 2], false]);
  });

  test('the same msgId on the other broker is the same message', async () => {
    const [one, other] = [await client('eve', a), await client('eve', b)];
    const first = await one.publish('once', 'x', { msgId: 'm' });
    const again = await other.publish('once', 'x', { msgId: 'm' });
    assert.deepEqual(again, { ...first, duplicate: true });
    assert.deepEqual((await other.history('once')).events.length, 1);
    const bob = await client('bob', b);
    assert.equal((await bob.publish('once', 'x', { msgId: 'm' })).duplicate, false);
  });

  test('a client of a broker that is killed goes on at the other one, and misses nothing', async () => {
    const [ann, bob] = [await client('ann', a, b), await client('bob', b)];
    const room = ann.join<number>('onward');
    const joins = record<JoinedFrame>((listener) => room.on('joined', listener));
    const gaps = record<Gap>((listener) => room.on('gap', listener));
    const events = record<RoomEvent<number>>((listener) => room.on('event', listener));
    await room.whenJoined();
    for (let n = 0; n < 5; n++) await bob.publish('onward', n);
    await until(() => events.length === 5, 'the first events');
    const killed = a.kill();
    for (let n = 5; n < 10; n++) await bob.publish('onward', n);
    await killed;
    await until(() => ann.info?.serverId === 'pod-2' && events.length === 10, 'the others');
    await bob.publish('onward', 10);
    await until(() => events.length === 11, 'what is live again');
    assert.deepEqual(
      events.map(({ payload }) => payload),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    );
    const at = [joins[0]?.seq, ...events.map(({ seq }) => seq)];
    assert.deepEqual(
      events.map(({ prev }) => prev),
      at.slice(0, -1),
    );
    assert.deepEqual(
      joins.map(({ recovered }) => recovered),
      ['fresh', 'full'],
    );
    assert.equal(joins[1]?.epoch, joins[0]?.epoch);
    assert.deepEqual(gaps, []);
    await a.start();
    const late = await client('late', a);
    assert.equal((await late.history('onward')).events.length, 11);
  });
});

test('under load: kill -9 of the NATS node that a broker is attached to, then of a broker', async (context) => {
  const options = {
    seed: randomInt(2 ** 31),
    seconds: 14,
    brokers: 2,
    rate: 300,
    rooms: 20,
    clients: 6,
    publishers: 3,
    fanout: 3,
    faults: ['nats-attached', 'broker-kill'],
    say: (text: string) => context.diagnostic(text),
  } as const;
  const report = await chaos(options);
  for (const line of markdown(options, report).split('\n')) context.diagnostic(line);
  assert.deepEqual(report.verdict.examples, []);
  assert.ok(report.passed, 'no gaps, no refusals');
  assert.ok(report.reconnects > 0, 'the faults were felt');
});
