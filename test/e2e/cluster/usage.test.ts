/** The ledger of two brokers against what real clients have sent and received; and what a crash takes from it. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

const ADMIN = 'an-admin-token-that-only-this-test-uses';

interface Counts {
  readonly tenant: string;
  readonly messagesIn: number;
  readonly deliveries: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly payloadBytes: number;
  readonly durableBytes: number;
  readonly connectionMinutes: number;
}

interface Answer {
  readonly usage: readonly (Counts & { readonly at: number })[];
  readonly totals: readonly Counts[];
  readonly missing: readonly string[];
}

interface Frame {
  readonly type: string;
  readonly code?: string;
  readonly used?: number;
}

/** Counts what passes, as the wire has it. */
class Counting {
  readonly socket: WebSocket;
  sent = 0;
  received = 0;
  events = 0;
  readonly frames: Frame[] = [];
  readonly openedAt: number;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    this.openedAt = Date.now();
    socket.on('message', (data: Buffer) => {
      this.received += data.byteLength;
      const message: Frame | Frame[] = JSON.parse(data.toString());
      for (const frame of [message].flat()) {
        this.frames.push(frame);
        if (frame.type === 'event') this.events++;
      }
    });
  }

  static async connect(broker: RunningBroker, sub: string, tenant: string): Promise<Counting> {
    const token = await broker.token({ sub, tenant });
    const socket = new WebSocket(broker.url, 'chat.v1', { headers: { authorization: `Bearer ${token}` } });
    const counting = new Counting(socket);
    await new Promise((opened, failed) => {
      socket.once('open', opened);
      socket.once('error', failed);
    });
    return counting;
  }

  async send(frame: object, answer: string): Promise<void> {
    const before = this.frames.filter(({ type }) => type === answer).length;
    const text = JSON.stringify(frame);
    this.sent += Buffer.byteLength(text);
    this.socket.send(text);
    await until(
      () => this.frames.filter(({ type }) => type === answer).length > before,
      `${answer} for ${text}`,
    );
  }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, what);
    await sleep(5);
  }
}

/** Until it has stayed the same for half a second. */
async function quiet(count: () => number): Promise<void> {
  for (let before = -1; before !== count(); await sleep(500)) before = count();
}

async function usageOf(broker: RunningBroker, tenant: string, more = ''): Promise<Answer> {
  const from = new Date(Date.now() - 600_000).toISOString();
  const response = await fetch(`${broker.adminUrl}/admin/v1/usage?tenant=${tenant}&from=${from}${more}`, {
    headers: { authorization: `Bearer ${ADMIN}` },
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}

async function total(broker: RunningBroker, tenant: string): Promise<Counts> {
  const [counts] = (await usageOf(broker, tenant)).totals;
  assert.ok(counts, `usage of ${tenant}`);
  return counts;
}

const sum = (values: readonly number[]) => values.reduce((all, each) => all + each, 0);

describe('the ledger of two brokers', async () => {
  const nats = await NatsCluster.start(1);
  const prefix = newPrefix();
  const running: RunningBroker[] = [];
  const start = async (serverId: string) => {
    const broker = await startBroker({
      env: { CARILLON_ADMIN_TOKEN: ADMIN },
      config: {
        node: { serverId },
        nats: { url: nats.urls, prefix, shards: 1, streamBytes: '64MiB' },
        rooms: [{ match: 'live:**' }, { match: '**', history: {} }],
        usage: { flushMs: '1s' },
        cluster: { heartbeatMs: '500ms', missed: 3 },
      },
    });
    running.push(broker);
    return broker;
  };
  let [one, other] = await Promise.all([start('pod-1'), start('pod-2')]);
  after(async () => {
    await Promise.all(running.map((broker) => broker.stop()));
    await nats.close();
  });

  test('is what their clients have sent and received', async () => {
    const clients = await Promise.all([
      Counting.connect(one, 'ann', 'acme'),
      Counting.connect(other, 'bob', 'acme'),
      Counting.connect(other, 'cat', 'acme'),
    ]);
    const [ann, bob, cat] = clients as [Counting, Counting, Counting];
    for (const client of clients) await client.send({ type: 'join', room: 'a', presence: true }, 'joined');
    await cat.send({ type: 'join', room: 'live:1' }, 'joined');
    for (let at = 0; at < 20; at++) await ann.send({ type: 'pub', room: 'a', payload: `grüße ${at}` }, 'ack');
    await bob.send({ type: 'pub', room: 'live:1', payload: { n: 1 } }, 'ack');
    await bob.send({ type: 'pub', room: 'a' }, 'error');
    await until(() => sum(clients.map(({ events }) => events)) === 61, 'every event');
    await ann.send({ type: 'ping' }, 'pong');
    // Who joined is told in batches, and by the other broker: nothing may come between the two counts.
    await quiet(() => sum(clients.map(({ received }) => received)));

    for (const broker of [one, other]) {
      const counts = await total(broker, 'acme');
      const minutes = sum(clients.map(({ openedAt }) => Date.now() - openedAt)) / 60_000;
      assert.equal(counts.messagesIn, 21);
      assert.equal(counts.deliveries, 61);
      assert.equal(counts.bytesIn, sum(clients.map(({ sent }) => sent)));
      assert.equal(counts.bytesOut, sum(clients.map(({ received }) => received)));
      const durable = sum(Array.from({ length: 20 }, (_, at) => Buffer.byteLength(`"grüße ${at}"`)));
      assert.deepEqual([counts.durableBytes, counts.payloadBytes], [durable, durable + '{"n":1}'.length]);
      assert.ok(
        Math.abs(counts.connectionMinutes - minutes) < 0.05,
        `${counts.connectionMinutes} of ${minutes}`,
      );
    }
    for (const { socket } of clients) socket.close();
  });

  test('a backend that publishes is counted, tenants are apart, and a wrong question is refused', async () => {
    const publish = await fetch(`${one.httpUrl}/api/v1/publish`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ADMIN}` },
      body: JSON.stringify({ tenant: 'backends', room: 'a', payload: 'x' }),
    });
    assert.equal(publish.status, 200);
    assert.equal((await total(other, 'backends')).messagesIn, 1);
    const ask = (query: string) =>
      fetch(`${one.adminUrl}/admin/v1/usage?${query}`, { headers: { authorization: `Bearer ${ADMIN}` } });
    assert.equal((await ask('from=5&to=4')).status, 400);
    assert.equal((await ask('from=yesterday')).status, 400);
    assert.equal((await ask('step=century')).status, 400);
    const whole = (await (await ask('step=day')).json()) as Answer;
    assert.deepEqual(whole.totals.map(({ tenant }) => tenant).sort(), ['acme', 'backends']);
    assert.equal((await fetch(`${one.adminUrl}/admin/v1/usage`)).status, 401);
  });

  test('a killed broker takes no more with it than usage.flushMs, a stopped one nothing', async () => {
    const ann = await Counting.connect(other, 'ann', 'crash');
    for (let at = 0; at < 10; at++) await ann.send({ type: 'pub', room: 'a', payload: at }, 'ack');
    // Stored by then: a second for the flush, a second for the tick.
    await sleep(2500);
    await other.kill();
    assert.equal((await total(one, 'crash')).messagesIn, 10);

    other = await start('pod-2');
    const bob = await Counting.connect(other, 'bob', 'crash');
    for (let at = 0; at < 5; at++) await bob.send({ type: 'pub', room: 'a', payload: at }, 'ack');
    await other.stop();
    assert.equal((await total(one, 'crash')).messagesIn, 15);
    await one.kill();
    one = await start('pod-1');
    const counts = await total(one, 'crash');
    assert.deepEqual([counts.messagesIn, counts.deliveries], [15, 0]);
    assert.equal((await total(one, 'acme')).messagesIn, 21);
  });

  test('a broker that does not answer is named, and what it has stored is counted', async () => {
    const late = await start('pod-3');
    const ann = await Counting.connect(late, 'ann', 'hung');
    await ann.send({ type: 'pub', room: 'a', payload: 1 }, 'ack');
    await sleep(2500);
    process.kill(late.pid, 'SIGSTOP');
    const { totals, missing } = await usageOf(one, 'hung');
    process.kill(late.pid, 'SIGCONT');
    assert.deepEqual(missing, ['pod-3']);
    assert.equal(totals[0]?.messagesIn, 1);
  });
});

test('one broker with state.dir: the ledger and bytesPerDay go on after kill -9', async (context) => {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-usage-'));
  context.after(() => rm(dir, { recursive: true, force: true }));
  const start = () =>
    startBroker({
      env: { CARILLON_ADMIN_TOKEN: ADMIN },
      config: {
        state: { dir },
        usage: { flushMs: '1s' },
        tenants: { default: { bytesPerDay: 1000 } },
      },
    });
  const first = await start();
  const ann = await Counting.connect(first, 'ann', 'acme');
  await ann.send({ type: 'pub', room: 'a', payload: 'x'.repeat(898) }, 'ack');
  assert.equal((await total(first, 'acme')).payloadBytes, 900);
  await first.kill();

  const second = await start();
  context.after(() => second.stop().then(() => undefined));
  const bob = await Counting.connect(second, 'bob', 'acme');
  await bob.send({ type: 'pub', room: 'a', payload: 'x'.repeat(99) }, 'error');
  const refused = bob.frames.find(({ type }) => type === 'error');
  assert.deepEqual([refused?.code, refused?.used], ['quota_exceeded', 900]);
  await bob.send({ type: 'pub', room: 'a', payload: 'x'.repeat(98) }, 'ack');
  assert.equal((await total(second, 'acme')).payloadBytes, 1000);
});
