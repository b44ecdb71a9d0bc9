/** What is left of a broker of two processes when one of them is killed under load. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { type Client, type Frame, fresh, settled } from '../conformance/client.ts';
import { connectTo, natsOf, pidOf, ready } from './support.ts';

const PUBLISHERS = 4;
/** In flight at once, of each publisher. */
const WINDOW = 50;
const ROOMS = ['load:a', 'load:b'];
const HISTORY = 20_000;

/** What a publisher knows of what it has sent, by msgId. */
interface Publisher {
  readonly client: Client;
  readonly user: string;
  readonly room: string;
  readonly sent: string[];
  readonly acked: Map<string, number>;
  over: boolean;
}

/** Publishes without a pause, `WINDOW` at a time, until told to stop or cut off. */
async function publish(publisher: Publisher): Promise<void> {
  const { client, room, sent, acked } = publisher;
  const name = fresh('p');
  try {
    while (!publisher.over) {
      for (let n = 0; n < WINDOW; n++) {
        const msgId = `${name}-${sent.length}`;
        sent.push(msgId);
        client.send({ type: 'pub', room, payload: msgId, msgId, id: msgId });
      }
      for (let left = WINDOW; left > 0; ) {
        const frame = await client.next();
        assert.equal(frame.type, 'ack', JSON.stringify(frame));
        acked.set(String(frame.id), frame.seq);
        left--;
      }
    }
  } catch (error) {
    // Of a client whose worker is gone; what it had been told before counts.
    if (!/^closed with/.test((error as Error).message)) throw error;
  }
}

async function whole(client: Client, room: string): Promise<Map<string, number>> {
  const stored = new Map<string, number>();
  for (let before: number | undefined; ; ) {
    const page = await client.history(room, { limit: 100, ...(before !== undefined && { before }) });
    for (const { payload, seq } of page.events) stored.set(String(payload), seq);
    before = page.events[0]?.seq;
    if (!page.more) return stored;
  }
}

/** The events of a reader in the order they came: each names the one before it. */
function assertChain(events: readonly Frame[]): void {
  for (const [at, event] of events.entries())
    if (at > 0) assert.equal(event.prev, events[at - 1]?.seq, 'nothing between them, nothing twice');
}

/** Of what has no ack nobody knows; repeated, it is there once whatever had become of it. */
async function repeat(
  broker: RunningBroker,
  { user, room, sent, acked }: Publisher,
  stored: ReadonlyMap<string, number>,
): Promise<void> {
  const again = await connectTo(broker, 2, { sub: user });
  for (const msgId of sent.filter((one) => !acked.has(one))) {
    const { seq, duplicate } = await again.pub(room, msgId, { msgId });
    assert.equal(duplicate === true, stored.has(msgId), msgId);
    if (duplicate) assert.equal(seq, stored.get(msgId));
  }
}

test('C5.1 C3.9.3 kill -9 under load: what was acknowledged is there once, and what was not can be repeated', {
  timeout: 90_000,
}, async (context) => {
  const nats = await NatsCluster.start(1);
  context.after(() => nats.close());
  const broker = await startBroker({
    config: {
      workers: 2,
      nats: natsOf(nats),
      supervisor: { restartMinMs: 50 },
      rooms: [{ match: 'load:*', history: { count: HISTORY, bytes: '64MiB', age: '1h' } }],
      limits: { rates: false },
    },
  });
  context.after(() => broker.kill());
  const readers: Client[] = [];
  const publishers: Publisher[] = [];
  for (const [at, room] of ROOMS.entries()) {
    const reader = await connectTo(broker, 1, { sub: `reader-${at}` });
    await reader.join(room);
    readers.push(reader);
  }
  for (let n = 0; n < PUBLISHERS; n++) {
    const user = `publisher-${n}`;
    const client = await connectTo(broker, 1 + (n % 2), { sub: user });
    const room = ROOMS[Math.floor(n / 2)] as string;
    publishers.push({ client, user, room, sent: [], acked: new Map(), over: false });
  }
  const running = publishers.map(publish);
  const [, hurt] = publishers as [Publisher, Publisher];
  await settled(() => assert.ok(hurt.acked.size > 5 * WINDOW, 'it publishes'), 20_000);
  const pid = pidOf(broker, 2);
  process.kill(pid, 'SIGKILL');
  assert.equal((await hurt.client.closed).code, 1006);
  const others = publishers.filter((_, at) => at % 2 === 0);
  const marks = others.map(({ acked }) => acked.size);
  await settled(() => {
    for (const [at, { acked }] of others.entries())
      assert.ok(acked.size > (marks[at] ?? 0) + 2 * WINDOW, 'it goes on');
  }, 20_000);
  for (const publisher of publishers) publisher.over = true;
  await Promise.all(running);
  await ready(broker);

  const back = await connectTo(broker, 2, { sub: 'back' });
  for (const [at, room] of ROOMS.entries()) {
    const here = publishers.filter((publisher) => publisher.room === room);
    const stored = await whole(back, room);
    for (const { acked } of here)
      for (const [msgId, seq] of acked) assert.equal(stored.get(msgId), seq, `${msgId} was acknowledged`);
    for (const publisher of here) await repeat(broker, publisher, stored);
    const all = await whole(back, room);
    assert.deepEqual([...all.keys()].sort(), here.flatMap(({ sent }) => sent).sort());
    const reader = readers[at] as Client;
    const last = Math.max(...all.values());
    const events = (await reader.until('event', { seq: last })).filter(({ type }) => type === 'event');
    assertChain(events);
    assert.deepEqual(events.map(({ payload }) => String(payload)).sort(), [...all.keys()].sort());
  }
  assert.deepEqual(await broker.stop(), { code: 0, signal: null }, broker.logs.slice(-20).join('\n'));
});
