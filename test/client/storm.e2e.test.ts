/** A thousand clients whose connections are cut all the time, while publishes go on (issue: exactly once, in order). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type Client, connect, type WebSocketConstructor } from '../../src/client/index.ts';
import { type RunningBroker, startBroker } from '../support/broker.ts';
import { Rng } from '../support/rng.ts';

const CLIENTS = 1000;
const ROOMS = 50;
const PUBLISHERS = 10;
const PER_SECOND = 500;
const SECONDS = 10;
/** Connections cut per second. */
const CUTS = 100;
const SETTLE_MS = 20_000;
/** Short waits: the test is about what is delivered, and ten seconds are few. */
const reconnect = { minMs: 100, maxMs: 2000 };

/** Knows its sockets, so that the test can pull the plug without the client being asked. */
class Cable {
  readonly sockets = new Set<WebSocket>();
  readonly webSocket: WebSocketConstructor;

  constructor() {
    const { sockets } = this;
    this.webSocket = class extends WebSocket {
      constructor(url: string | URL, protocols?: string | string[]) {
        super(url, protocols);
        sockets.add(this);
        this.once('close', () => sockets.delete(this));
      }
    };
  }

  cut(rng: Rng): void {
    rng.pick([...this.sockets]).terminate();
  }
}

interface Listener {
  readonly client: Client;
  readonly room: string;
  readonly heard: number[];
  readonly problems: string[];
}

async function listeners(broker: RunningBroker, cable: Cable): Promise<Listener[]> {
  const made: Listener[] = [];
  for (let n = 0; n < CLIENTS; n++) {
    const client = connect(broker.url, {
      token: await broker.token({ sub: `listener-${n}` }),
      webSocket: cable.webSocket,
      reconnect,
      encoding: n % 2 === 0 ? 'json' : 'msgpack',
    });
    const room = `storm:${n % ROOMS}`;
    const heard: number[] = [];
    const problems: string[] = [];
    const joined = client.join<number>(room);
    joined.on('event', ({ payload }) => heard.push(payload));
    joined.on('gap', ({ from, to, reason }) => problems.push(`gap ${from}-${to} ${reason}`));
    joined.on('error', ({ message }) => problems.push(message));
    made.push({ client, room, heard, problems });
    if (n % 50 === 49) await client.whenOpen();
  }
  await Promise.all(made.map(({ client, room }) => client.join(room).whenJoined()));
  return made;
}

test('1,000 clients cut off at random: every event once, in order, for each of them', async (t) => {
  const broker = await startBroker({
    config: { rooms: [{ match: '**', history: { count: 10_000, age: '10m', bytes: '16MiB' } }] },
  });
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  t.diagnostic(`SEED=${seed}`);
  const rng = new Rng(seed);
  const cable = new Cable();
  const all = await listeners(broker, cable);
  const publishers: Client[] = [];
  for (let n = 0; n < PUBLISHERS; n++) {
    const token = await broker.token({ sub: `publisher-${n}` });
    const encoding = n % 2 === 0 ? 'json' : 'msgpack';
    publishers.push(connect(broker.url, { token, webSocket: cable.webSocket, reconnect, encoding }));
  }
  t.after(async () => {
    for (const client of [...publishers, ...all.map((each) => each.client)]) client.close();
    await broker.kill();
  });
  let reconnects = 0;
  for (const client of [...publishers, ...all.map((each) => each.client)])
    client.on('reconnect', () => reconnects++);

  const acks: Promise<unknown>[] = [];
  const tickMs = 20;
  const startedAt = performance.now();
  for (let tick = 0; tick < (SECONDS * 1000) / tickMs; tick++) {
    for (let n = 0; n < (PER_SECOND * tickMs) / 1000; n++) {
      const number = acks.length;
      const room = number % ROOMS;
      acks.push((publishers[room % PUBLISHERS] as Client).publish(`storm:${room}`, number));
    }
    for (let n = 0; n < (CUTS * tickMs) / 1000; n++) cable.cut(rng);
    await sleep(Math.max(0, startedAt + (tick + 1) * tickMs - performance.now()));
  }
  await Promise.all(acks);
  const expected = (room: string) =>
    Array.from({ length: acks.length / ROOMS }, (_, n) => n * ROOMS + Number(room.slice('storm:'.length)));
  const settledBy = performance.now() + SETTLE_MS;
  const short = () => all.filter(({ room, heard }) => heard.length < expected(room).length).length;
  while (short() > 0 && performance.now() < settledBy) await sleep(50);
  t.diagnostic(
    `${acks.length} publishes, ${reconnects} reconnects, settled in ${Math.round(performance.now() - startedAt)} ms`,
  );
  for (const { room, heard, problems } of all) {
    assert.deepEqual(problems, []);
    assert.deepEqual(heard, expected(room));
  }
  assert.ok(reconnects > SECONDS * CUTS * 0.5, 'the connections were really cut');
});
