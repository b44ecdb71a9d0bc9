/** A limit that has room admits, whichever of several brokers on a real NATS server the client comes to. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

const LEASE_MS = 2000;
const SKEW_MS = 200;
const TOKEN = 'an-admin-token-that-only-this-test-uses';

let nats: NatsCluster;
const brokers: RunningBroker[] = [];
const sockets: WebSocket[] = [];

before(async () => {
  nats = await NatsCluster.start(1);
  const config = {
    nats: { url: nats.urls, prefix: newPrefix(), shards: 1, streamBytes: '64MiB' },
    cluster: { leaseMs: LEASE_MS, skewMs: SKEW_MS },
    tenants: {
      ...Object.fromEntries(
        ['twenty', 'single', 'moving', 'burst', 'dying', 'lowered'].map((name) => [
          name,
          { connections: 20 },
        ]),
      ),
      members: { membersPerRoom: 20 },
      user: { connectionsPerUser: 5 },
      rated: { publish: { perSecond: 400, burst: 400 } },
      daily: { bytesPerDay: '1MiB' },
    },
  };
  brokers.push(
    ...(await Promise.all(
      Array.from({ length: 3 }, () => startBroker({ config, env: { CARILLON_ADMIN_TOKEN: TOKEN } })),
    )),
  );
});

after(async () => {
  for (const socket of sockets) socket.terminate();
  await Promise.all(brokers.map((broker) => broker.kill()));
  await nats.close();
});

function pod(at: number): RunningBroker {
  return brokers[at % brokers.length] as RunningBroker;
}

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly reason: string;
  readonly limit: number;
  readonly used: number;
}

async function connect(at: number, tenant: string, sub: string): Promise<WebSocket | Refusal> {
  const token = await pod(at).token({ sub, tenant });
  const socket = new WebSocket(pod(at).url, 'chat.v1', { headers: { Authorization: `Bearer ${token}` } });
  socket.on('error', () => undefined);
  sockets.push(socket);
  return new Promise((resolve) => {
    socket.once('open', () => resolve(socket));
    socket.once('unexpected-response', (_request, response) => {
      let body = '';
      response.on('data', (data) => {
        body += String(data);
      });
      response.on('end', () => resolve({ status: response.statusCode, ...JSON.parse(body) }));
    });
  });
}

function opened(outcomes: readonly (WebSocket | Refusal)[]): WebSocket[] {
  return outcomes.filter((outcome) => outcome instanceof WebSocket);
}

function refused(outcomes: readonly (WebSocket | Refusal)[]): Refusal[] {
  return outcomes.filter((outcome): outcome is Refusal => !(outcome instanceof WebSocket));
}

/** One after the other, each to the next of so many brokers. */
async function inTurn(count: number, tenant: string, pods: readonly number[]) {
  const outcomes: (WebSocket | Refusal)[] = [];
  for (let at = 0; at < count; at++)
    outcomes.push(await connect(pods[at % pods.length] as number, tenant, `u${at}`));
  return outcomes;
}

interface Answer {
  readonly type: string;
  readonly code?: string;
  readonly limit?: number;
  readonly retryAfterMs?: number;
}

/** Frames of some kinds, until `count` have come. */
function answers(socket: WebSocket, count: number, kinds: readonly string[]): Promise<Answer[]> {
  const found: Answer[] = [];
  return new Promise((resolve) => {
    socket.on('message', (data) => {
      for (const frame of [JSON.parse(String(data))].flat())
        if (kinds.includes(frame.type)) found.push(frame);
      if (found.length >= count) resolve(found);
    });
  });
}

test('C7.3.3 of 60 clients, one after the other over two brokers, a tenant of 20 gets 20', async () => {
  const outcomes = await inTurn(60, 'twenty', [0, 1]);
  const count = opened(outcomes).length;
  assert.ok(count >= 18 && count <= 22, `${count}`);
  for (const { status, code, reason, limit, used } of refused(outcomes)) {
    assert.deepEqual([status, code, limit], [429, 'quota_exceeded', 20]);
    assert.equal(reason, 'the tenant may have 20 connections');
    assert.ok(used >= 16 && used <= 22, `${used}`);
  }
});

test('60 at once over three brokers', async () => {
  const outcomes = await Promise.all(Array.from({ length: 60 }, (_, at) => connect(at, 'burst', `u${at}`)));
  const count = opened(outcomes).length;
  assert.ok(count >= 18 && count <= 23, `${count}`);
});

test('one broker with all the clients gets all, and another one what becomes free', async () => {
  const first = await inTurn(30, 'single', [0]);
  assert.equal(opened(first).length, 20);
  const [one, two, ...rest] = opened(first);
  assert.ok(rest.length > 0);
  for (const socket of [one, two]) {
    socket?.close();
    await once(socket as WebSocket, 'close');
  }
  const moved = await inTurn(4, 'single', [1]);
  assert.ok(opened(moved).length >= 2, `${opened(moved).length}`);
  assert.ok(opened(moved).length <= 3, `${opened(moved).length}`);
});

test('clients that move from one broker to another, all of them, get in there', async () => {
  const before = opened(await inTurn(20, 'moving', [0]));
  assert.equal(before.length, 20);
  await Promise.all(
    before.map(async (socket) => {
      const closed = once(socket, 'close');
      socket.close();
      await closed;
    }),
  );
  const count = opened(await inTurn(20, 'moving', [1])).length;
  assert.equal(count, 20);
});

test('members of a room, and connections of a user, over three brokers: exactly as many as may', async () => {
  const members = opened(
    await Promise.all(Array.from({ length: 30 }, (_, at) => connect(at, 'members', `u${at}`))),
  );
  const joins = await Promise.all(
    members.map(async (socket) => {
      const heard = answers(socket, 1, ['joined', 'error']);
      socket.send(JSON.stringify({ type: 'join', room: 'live:a' }));
      return (await heard)[0];
    }),
  );
  assert.equal(joins.filter((frame) => frame?.type === 'joined').length, 20);
  for (const frame of joins)
    if (frame?.type === 'error') assert.deepEqual([frame.code, frame.limit], ['room_full', 20]);
  const outcomes = await Promise.all(Array.from({ length: 20 }, (_, at) => connect(at, 'user', 'ann')));
  assert.equal(opened(outcomes).length, 5);
  for (const { limit } of refused(outcomes)) assert.equal(limit, 5);
});

/** Publishes all of them; what is refused, again when the broker says. Gives the refusals. */
async function publishAll(socket: WebSocket, payloads: readonly string[]): Promise<Answer[]> {
  const refusals: Answer[] = [];
  let left = payloads;
  for (let tries = 0; left.length > 0; tries++) {
    assert.ok(tries < 4, `${left.length} are refused still: ${JSON.stringify(refusals.at(-1))}`);
    const heard = answers(socket, left.length, ['ack', 'error']);
    for (const payload of left) socket.send(JSON.stringify({ type: 'pub', room: 'live:a', payload }));
    const errors = (await heard).filter(({ type }) => type === 'error');
    refusals.push(...errors);
    left = left.slice(left.length - errors.length);
    if (left.length > 0) await new Promise((resolve) => setTimeout(resolve, errors[0]?.retryAfterMs));
  }
  return refusals;
}

test('what is within the rate and the bytes of a day is taken, on each broker, after 250 ms at the latest', async () => {
  const large = 'x'.repeat(10_000);
  for (const [tenant, limit, payloads] of [
    ['rated', 400, Array.from({ length: 60 }, () => '1')],
    ['daily', 1_048_576, Array.from({ length: 5 }, () => large)],
  ] as const)
    for (const at of [0, 1]) {
      const client = (await connect(at, tenant, `u${at}`)) as WebSocket;
      for (const refusal of await publishAll(client, payloads)) {
        assert.equal(refusal.limit, limit);
        assert.ok((refusal.retryAfterMs ?? 0) <= 250, `${refusal.retryAfterMs}`);
      }
    }
});

test('a tenant whose limit is lowered while connected lets nobody in beyond it, and in again below it', async () => {
  const before = await inTurn(20, 'lowered', [0, 1]);
  assert.ok(opened(before).length >= 18);
  const set = await fetch(`${pod(0).adminUrl}/admin/v1/tenants/lowered`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${TOKEN}` },
    body: JSON.stringify({ connections: 10 }),
  });
  assert.ok(set.ok, `${set.status}`);
  const over = await inTurn(4, 'lowered', [0, 1]);
  assert.deepEqual(
    refused(over).map(({ status, limit }) => [status, limit]),
    Array.from({ length: 4 }, () => [429, 10]),
  );
  await Promise.all(
    opened(before)
      .slice(0, 15)
      .map(async (socket) => {
        const closed = once(socket, 'close');
        socket.close();
        await closed;
      }),
  );
  const again = opened(await inTurn(8, 'lowered', [0, 1])).length;
  assert.ok(again >= 4 && again <= 7, `${again}`);
});

test('what a broker held that was killed is free after its lease', async () => {
  const before = await inTurn(20, 'dying', [2, 0]);
  const dead = opened(before).filter((_, at) => at % 2 === 0).length;
  await brokers[2]?.kill();
  const atOnce = opened(await inTurn(3, 'dying', [0, 1])).length;
  assert.ok(atOnce <= 2, `${atOnce} before the lease was over`);
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS + SKEW_MS + 300));
  const later = opened(await inTurn(dead, 'dying', [0, 1])).length;
  assert.ok(later + atOnce >= dead - 1, `${later} of ${dead}`);
});
