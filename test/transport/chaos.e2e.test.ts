/**
 * Everything at once for ten seconds: clients that come and go in every way, well-formed and not, fast and slow.
 * Afterwards the broker has nobody, nothing, and still works. A failure prints the seed that repeats the clients' part.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RunningBroker, withBroker } from '../support/broker.ts';
import { closeFrame, frame, handshakeText, OPCODE, RawSocket } from '../support/raw-socket.ts';
import { Rng } from '../support/rng.ts';
import { pause } from './support/spawn.ts';

const CHAOS_MS = 10_000;
const CLIENTS = 40;
/** History of the few rooms, 4 MiB at most of each, and a heap that is in no hurry to shrink. */
const GROWN_MIB = 150;
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const ROOMS = ['a', 'b', 'live:a', 'live:b', 'chat:1'];

interface Chaos {
  readonly rng: Rng;
  readonly port: number;
  readonly token: string;
}

type Act = (client: RawSocket, chaos: Chaos) => void | Promise<void>;

const say = (client: RawSocket, value: unknown) => client.say(JSON.stringify(value));
const room = ({ rng }: Chaos) => rng.pick(ROOMS);

/** What a client does once it is in. */
const ACTS: readonly Act[] = [
  (client, chaos) => say(client, { type: 'join', room: room(chaos), presence: chaos.rng.chance(0.3) }),
  (client, chaos) => say(client, { type: 'join', room: room(chaos), since: { last: chaos.rng.below(300) } }),
  (client, chaos) => say(client, { type: 'leave', room: room(chaos) }),
  (client, chaos) => say(client, { type: 'history', room: room(chaos), id: 1, limit: 50 }),
  (client, chaos) => say(client, publish(chaos, 10)),
  (client, chaos) =>
    say(
      client,
      Array.from({ length: chaos.rng.below(100) }, () => publish(chaos, 100)),
    ),
  (client, chaos) => {
    for (let at = chaos.rng.below(20); at > 0; at--) say(client, publish(chaos, 20_000));
  },
  (client, { rng }) => client.send(Buffer.from(Array.from({ length: rng.below(300) }, () => rng.below(256)))),
  (client, { rng }) => client.send(frame({ claim: rng.below(70_000), payload: 'half a frame' })),
  (client, { rng }) => client.send(frame({ payload: 'x'.repeat(rng.below(300_000)) })),
  (client, { rng }) =>
    client.send(frame({ opcode: rng.below(16), rsv: rng.pick([0, 0, 0x40]), payload: 'x' })),
  (client) => client.send(Buffer.concat(Array.from({ length: 700 }, () => frame({ opcode: OPCODE.ping })))),
  (client) => client.send(Buffer.concat(Array.from({ length: 2000 }, () => frame({ payload: '{}' })))),
  (client) => client.send(closeFrame(1000)),
  (client) => void client.socket.pause(),
  (client) => void client.socket.resume(),
  (client) => void client.socket.end(),
  (_client, { rng }) => pause(rng.below(30)),
];

function publish(chaos: Chaos, bytes: number): object {
  return {
    type: 'pub',
    room: room(chaos),
    payload: 'x'.repeat(chaos.rng.below(bytes)),
    echo: chaos.rng.chance(0.7),
    ephemeral: chaos.rng.chance(0.2),
    ...(chaos.rng.chance(0.5) && { msgId: String(chaos.rng.below(1000)) }),
  };
}

/** One life of one client. Whatever the broker does to it is fine. */
async function live(chaos: Chaos): Promise<void> {
  const { rng, port, token } = chaos;
  const client = await RawSocket.open(port);
  const text = handshakeText({
    headers: {
      Authorization: rng.chance(0.9) ? `Bearer ${token}` : 'Bearer forged',
      Connection: rng.chance(0.9) ? 'Upgrade' : 'close',
      'Sec-WebSocket-Protocol': rng.pick(['chat.v1', 'chat.v1.msgpack']),
    },
  });
  client.send(rng.chance(0.95) ? text : text.slice(0, rng.below(text.length)));
  if (rng.chance(0.05)) return client.reset();
  await pause(rng.below(20));
  for (let acts = rng.below(12); acts > 0 && client.ending === 'open'; acts--)
    await rng.pick(ACTS)(client, chaos);
  await pause(rng.below(50));
  if (rng.chance(0.5)) client.reset();
  else client.destroy();
}

async function figures(broker: RunningBroker): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith('carillon_'));
  return new Map(lines.map((line) => [line.slice(9, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
}

/** MiB resident. */
const memory = (now: ReadonlyMap<string, number>) => {
  const bytes = now.get('process_memory_bytes{kind="resident"}');
  assert.ok(bytes !== undefined && bytes > 0, `${bytes} bytes`);
  return Math.round(bytes / 1024 / 1024);
};

test(`ten seconds of chaos, seed ${SEED}`, async () => {
  await withBroker({}, async (broker) => {
    const token = await broker.token();
    const port = Number(new URL(broker.url).port);
    const before = memory(await figures(broker));
    const until = performance.now() + CHAOS_MS;
    const lives = Array.from({ length: CLIENTS }, async (_, at) => {
      const chaos = { rng: new Rng(SEED + at), port, token };
      let lived = 0;
      for (; performance.now() < until; lived++) await live(chaos);
      return lived;
    });
    const lived = (await Promise.all(lives)).reduce((sum, each) => sum + each, 0);
    assert.ok(lived > 100, `${lived} lives`);
    const grown = memory(await assertSound(broker)) - before;
    assert.ok(grown < GROWN_MIB, `${grown} MiB more than before`);
    await assertServes(port, token);
    const mistakes = broker.logs.filter((line) => /"level":(50|60|"error"|"fatal")/.test(line));
    assert.deepEqual(mistakes, []);
  });
});

/** Nobody is left, and what is kept is history within its limits. */
async function assertSound(broker: RunningBroker): Promise<ReadonlyMap<string, number>> {
  const empty = ['connections', 'rooms', 'memberships'];
  let now = await figures(broker);
  const deadline = performance.now() + 5000;
  while (empty.some((name) => now.get(name) !== 0) && performance.now() < deadline) {
    await pause(100);
    now = await figures(broker);
  }
  for (const name of empty) assert.equal(now.get(name), 0, name);
  assert.equal(now.get('errors_total{code="internal"}'), 0);
  assert.equal(now.get('upgrades_total{outcome="internal"}'), 0);
  const published = now.get('published_total') ?? 0;
  assert.ok(published > 100, `${published} published`);
  const descriptors = now.get('process_open_fds') ?? 0;
  // Clients that were ended and have reset since are gone; a few may linger.
  assert.ok(descriptors < 60, `${descriptors} descriptors`);
  return now;
}

async function assertServes(port: number, token: string): Promise<void> {
  const client = await RawSocket.upgraded(port, { headers: { Authorization: `Bearer ${token}` } });
  assert.equal((await client.json())['type'], 'server_info');
  say(client, { type: 'join', room: 'after' });
  assert.equal((await client.json())['type'], 'joined');
  say(client, { type: 'pub', room: 'after', payload: 'all well', id: 1 });
  assert.equal((await client.json())['payload'], 'all well');
  assert.equal((await client.json())['type'], 'ack');
  client.destroy();
}
