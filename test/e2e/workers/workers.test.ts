/** One broker of three processes: to its clients it is one. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { connect, type Client as Program } from '../../../src/client/index.ts';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Client, fresh, metrics, settled } from '../conformance/client.ts';
import {
  ADMIN_TOKEN,
  admin,
  connectTo,
  natsOf,
  pidOf,
  readiness,
  ready,
  workerNamed,
  workerOf,
} from './support.ts';

describe('three workers', () => {
  let nats: NatsCluster;
  let broker: RunningBroker;
  const clients: Client[] = [];
  const programs: Program[] = [];

  before(async () => {
    nats = await NatsCluster.start(1);
    broker = await startBroker({
      config: {
        workers: 3,
        node: { serverId: 'pod-1' },
        nats: natsOf(nats),
        supervisor: { restartMinMs: 100, stuckMs: 3000 },
        lifecycle: { enabled: true },
        presence: { graceMs: 100, drainGraceMs: 100 },
        tenants: { single: { onDuplicate: 'reject' } },
        admin: { token: ADMIN_TOKEN },
      },
    });
  });

  after(async () => {
    for (const one of programs) one.close();
    await Promise.all(clients.map((client) => client.close()));
    const exit = await broker.stop();
    await nats.close();
    assert.deepEqual(exit, { code: 0, signal: null }, broker.logs.slice(-20).join('\n'));
  });

  async function client(worker: number, sub = fresh('user'), extra: object = {}): Promise<Client> {
    const made = await connectTo(broker, worker, { sub, ...extra });
    clients.push(made);
    return made;
  }

  test('the kernel spreads connections over all of them, and each has a name of its own', async () => {
    const found = new Set<number>();
    const token = await broker.token({ sub: 'many' });
    for (let tries = 0; tries < 60 && found.size < 3; tries++) {
      const one = await Client.connect(broker.url, { token }, 'json');
      found.add(workerOf(one));
      await one.close();
    }
    assert.deepEqual([...found].sort(), [1, 2, 3]);
  });

  test('C4.1 clients of different workers see the same events in the same order', async () => {
    const three = [await client(1), await client(2), await client(3, 'msg', { encoding: 'msgpack' })];
    const room = fresh();
    for (const one of three) await one.join(room);
    const each = 60;
    await Promise.all(
      three.map(async (one, at) => {
        for (let n = 0; n < each; n++) one.send({ type: 'pub', room, payload: `${at}:${n}` });
      }),
    );
    const seen = await Promise.all(
      three.map(async (one) => {
        const events = [];
        while (events.length < 3 * each) {
          const frame = await one.next();
          if (frame.type === 'event') events.push(frame);
        }
        return events;
      }),
    );
    const [first = []] = seen;
    for (const events of seen) {
      assert.deepEqual(
        events.map(({ seq, prev, payload }) => [seq, prev, payload]),
        first.map(({ seq, prev, payload }) => [seq, prev, payload]),
      );
      for (const [at, event] of events.entries())
        if (at > 0) assert.equal(event.prev, events[at - 1]?.seq, 'nothing between them');
    }
    for (const at of [0, 1, 2]) {
      const own = first
        .map(({ payload }) => String(payload))
        .filter((payload) => payload.startsWith(`${at}:`));
      assert.deepEqual(
        own,
        Array.from({ length: each }, (_, n) => `${at}:${n}`),
        'in the order of their publisher',
      );
    }
  });

  test('C5.1 history and a resume on another worker lack nothing', async () => {
    const [ann, bob] = [await client(1), await client(2)];
    const room = fresh();
    const { epoch, seq } = await ann.join(room);
    const seqs: number[] = [];
    for (let n = 0; n < 20; n++) seqs.push((await bob.pub(room, n)).seq);
    await ann.close();
    const back = await client(3);
    const joined = await back.join(room, { since: { epoch, seq: seqs[4] } });
    assert.deepEqual([joined.recovered, joined.epoch, joined.replay], ['full', epoch, 15]);
    const events = (await back.until('caught_up')).flatMap((frame) =>
      frame.type === 'event' ? [frame] : [],
    );
    assert.deepEqual(
      events.map((event) => event.seq),
      seqs.slice(5),
    );
    const page = await back.history(room, { limit: 100 });
    assert.deepEqual(
      page.events.map((event) => event.seq),
      seqs,
    );
    assert.ok(seq < (seqs[0] as number));
  });

  test('C3.9.3 a publish that is repeated on another worker is stored once', async () => {
    const [here, there] = [await client(1, 'same'), await client(2, 'same')];
    const room = fresh();
    const first = await here.pub(room, 1, { msgId: 'm1' });
    const again = await there.pub(room, 1, { msgId: 'm1' });
    assert.deepEqual([again.seq, again.duplicate], [first.seq, true]);
  });

  test('C6.1 who is in a room is known on every worker', async () => {
    const [ann, bob] = [await client(1, 'ann'), await client(2, 'bob')];
    const room = fresh();
    await ann.join(room, { presence: true });
    await bob.join(room, { presence: true });
    await settled(async () => {
      const frame = await ann.ask({ type: 'presence', room });
      assert.deepEqual(frame.members?.map(({ user }) => user).sort(), ['ann', 'bob']);
    });
  });

  test('C7.3.1 a user’s second connection is refused, whichever worker it comes to', async () => {
    const token = await broker.token({ sub: 'only', tenant: 'single' });
    const first = await Client.connect(broker.url, { token }, 'json');
    clients.push(first);
    for (let tries = 0; tries < 8; tries++) {
      const status = await fetchUpgrade(broker.httpUrl, token);
      assert.equal(status, 429);
    }
  });

  test('C1.9.1 a ticket continues the session on another worker', async () => {
    const ann = await client(1, 'wanderer');
    const { ticket, session } = ann.info;
    const back = await client(2, 'wanderer', { ticket });
    assert.deepEqual([back.info.session, back.info.resumed], [session, true]);
  });

  test('the admin API answers for all workers on the one admin port, and what it does holds on all', async () => {
    const [ann, bob] = [await client(1, 'kicked'), await client(2, 'kicked')];
    const stats = (await admin(broker, 'stats')) as { nodes: { node: string }[] };
    assert.deepEqual(stats.nodes.map(({ node }) => node.slice(-3)).sort(), ['-w1', '-w2', '-w3']);
    await admin(broker, 'kick', { user: 'kicked' });
    for (const one of [ann, bob]) assert.equal((await one.closed).code, 4009);
    await admin(broker, 'bans', { user: 'banned', tenant: 'default' });
    const token = await broker.token({ sub: 'banned' });
    for (let tries = 0; tries < 6; tries++)
      await settled(async () => assert.equal(await fetchUpgrade(broker.httpUrl, token), 403));
    const refused = await fetch(`${broker.adminUrl}/admin/v1/stats`);
    assert.equal(refused.status, 401);
    assert.equal((await fetch(`${broker.adminUrl}/nowhere`)).status, 404);
  });

  test('metrics are sums over the workers, beside what the supervisor has', async () => {
    const before = await metrics(broker);
    const three = [await client(1), await client(2), await client(3)];
    const room = fresh();
    for (const one of three) await one.join(room);
    for (const one of three) await one.pub(room, 'counted');
    const grown = (samples: ReadonlyMap<string, number>, name: string) =>
      (samples.get(name) ?? Number.NaN) - (before.get(name) ?? Number.NaN);
    await settled(async () => {
      const samples = await metrics(broker);
      assert.equal(grown(samples, 'carillon_published_total'), 3);
      assert.equal(grown(samples, 'carillon_deliveries_total'), 9);
      assert.equal(grown(samples, 'carillon_publish_deliver_seconds_count'), 9);
      assert.equal(samples.get('carillon_workers{state="ready"}'), 3);
      assert.equal(samples.get('carillon_cluster_nodes'), 3, 'not a sum');
    });
    const names = [...(await (await fetch(`${broker.adminUrl}/metrics`)).text()).matchAll(/^# TYPE (\S+)/gm)];
    assert.equal(new Set(names.map(([, name]) => name)).size, names.length, 'each metric once');
  });

  test('a killed worker takes nothing with it but its connections, and comes back', async () => {
    const room = fresh();
    const [ann, bob] = [await client(2, 'survivor'), await client(1, 'victim')];
    await ann.join(room);
    const { epoch } = await bob.join(room);
    const first = await bob.pub(room, 'before');
    const published = (await metrics(broker)).get('carillon_published_total') ?? Number.NaN;
    const pid = pidOf(broker, 1);
    process.kill(pid, 'SIGKILL');
    assert.equal((await bob.closed).code, 1006);
    const during = await ann.pub(room, 'during');
    assert.equal((await readiness(broker)).code, 200, 'two of three serve');
    await settled(() => assert.notEqual(pidOf(broker, 1), pid), 20_000);
    await ready(broker);
    const back = await client(1, 'victim');
    assert.equal((await back.join(room, { since: { epoch, seq: first.seq } })).recovered, 'full');
    const event = await back.expect('event');
    assert.deepEqual([event.seq, event.prev, event.payload], [during.seq, first.seq, 'during']);
    const samples = await metrics(broker);
    assert.ok((samples.get('carillon_worker_ends_total{cause="signal"}') ?? 0) >= 1);
    assert.ok((samples.get('carillon_published_total') ?? 0) >= published, 'a counter never falls');
  });

  test('programs whose workers are killed under them get every event once, in order, and publish each once', async () => {
    const room = fresh();
    const [writer, reader] = [await program('writer'), await program('reader')];
    const reading = reader.join(room);
    await reading.whenJoined();
    const seen: number[] = [];
    const gaps: unknown[] = [];
    reading.on('event', ({ payload }) => seen.push(payload as number));
    reading.on('gap', (gap) => gaps.push(gap));
    const count = 150;
    const acks: number[] = [];
    for (let n = 0; n < count; n++) {
      acks.push((await writer.publish(room, n)).seq as number);
      if (n === 50) process.kill(pidOf(broker, workerNamed(reader.info?.serverId)), 'SIGKILL');
      if (n === 100) process.kill(pidOf(broker, workerNamed(writer.info?.serverId)), 'SIGKILL');
    }
    await settled(() => assert.equal(seen.length, count), 20_000);
    assert.deepEqual(
      seen,
      Array.from({ length: count }, (_, n) => n),
    );
    assert.deepEqual(gaps, []);
    assert.deepEqual(
      acks,
      [...new Set(acks)].sort((a, b) => a - b),
      'each at a place of its own',
    );
    await ready(broker);
  });

  async function program(sub: string): Promise<Program> {
    const made = connect(broker.url, {
      token: await broker.token({ sub }),
      webSocket: WebSocket,
      reconnect: { minMs: 20, maxMs: 200 },
    });
    programs.push(made);
    await made.whenOpen();
    return made;
  }

  test('a worker that stands still is killed and started again', async () => {
    const pid = pidOf(broker, 3);
    process.kill(pid, 'SIGSTOP');
    await settled(async () => {
      const samples = await metrics(broker);
      assert.equal(samples.get('carillon_worker_ends_total{cause="stuck"}'), 1);
    }, 15_000);
    await settled(() => assert.notEqual(pidOf(broker, 3), pid), 20_000);
    await ready(broker);
    await client(3);
  });

  test('what a worker logs has its number, and lines are whole', () => {
    const audited = broker.logs.find((line) => line.includes('/admin/v1/kick'));
    assert.ok(audited !== undefined, 'a call of the API is logged by the worker that served it');
    assert.ok(JSON.parse(audited).worker >= 1);
    const lines = broker.logs.filter((line) => line.includes('"level":'));
    for (const line of lines) assert.doesNotThrow(() => JSON.parse(line), line);
  });
});

/** The status of a handshake. */
async function fetchUpgrade(url: string, token: string): Promise<number> {
  const { request } = await import('node:http');
  return new Promise((resolve, reject) => {
    const made = request(`${url}/connect`, {
      headers: {
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        'Sec-WebSocket-Protocol': 'chat.v1',
        Authorization: `Bearer ${token}`,
      },
    });
    made.on('upgrade', (_response, socket) => {
      socket.destroy();
      resolve(101);
    });
    made.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    made.on('error', reject);
    made.end();
  });
}
