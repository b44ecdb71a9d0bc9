/** Brokers with different settings on one real NATS server: loud, and a room is never durable here and live there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { freePorts } from '../../support/port.ts';

const TOKEN = 'an-admin-token-that-only-this-test-uses';
let nats: NatsCluster;

before(async () => {
  nats = await NatsCluster.start(1);
});
after(() => nats.close());

function start(prefix: string, rooms: object[], more: { admin?: string; env?: Record<string, string> } = {}) {
  const config = {
    nats: { url: nats.urls, prefix, shards: 1, streamBytes: '64MiB' },
    cluster: { heartbeatMs: '200ms', missed: 3 },
    rooms,
  };
  const admin = more.admin && { CARILLON_ADMIN_LISTEN: more.admin };
  return startBroker({ config, env: { CARILLON_ADMIN_TOKEN: TOKEN, ...admin, ...more.env } });
}

const DURABLE = { match: 'chat:*', history: { count: 1000, bytes: '1MiB', age: '1h' } };
const REST = { match: '**' };

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

interface Health {
  readonly code: number;
  readonly checks: Readonly<Record<string, { readonly ok: boolean; readonly detail: string }>>;
}

/** undefined: nobody answers yet. */
async function ready(admin: string): Promise<Health | undefined> {
  const answer = await fetch(`${admin}/readyz`).catch(() => undefined);
  if (answer === undefined) return undefined;
  const { checks } = (await answer.json()) as Health;
  return { code: answer.status, checks };
}

async function stopAll(brokers: readonly RunningBroker[]) {
  await Promise.all(brokers.map((broker) => broker.kill()));
}

test('another retention is told by both, by its name, and both serve', async () => {
  const prefix = newPrefix();
  const one = await start(prefix, [DURABLE, REST]);
  // As many events as before, so that the streams fit both.
  const two = await start(prefix, [{ ...DURABLE, history: { ...DURABLE.history, bytes: '2MiB' } }, REST]);
  try {
    for (const broker of [one, two]) {
      const line = await until(async () => broker.logs.find((text) => text.includes('different settings')));
      const { setting, here, there, node } = JSON.parse(line);
      assert.equal(setting, 'rooms[chat:*].history');
      assert.match(`${here} ${there}`, /1048576 bytes.*2097152 bytes|2097152 bytes.*1048576 bytes/);
      assert.ok(node.length > 0);
      const health = await ready(broker.adminUrl);
      assert.equal(health?.code, 200);
      assert.equal(health?.checks['settings']?.ok, false);
      assert.match(
        health?.checks['settings']?.detail ?? '',
        /rooms\[chat:\*\]\.history is .* here and .* on /,
      );
      const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
      assert.match(metrics, /^carillon_cluster_settings_differing 1$/m);
      assert.match(metrics, /^carillon_cluster_clock_skew_seconds 0(\.\d+)?$/m);
    }
    const headers = { Authorization: `Bearer ${TOKEN}` };
    const stats = await (await fetch(`${one.adminUrl}/admin/v1/stats`, { headers })).json();
    assert.equal(stats.node.settings[0].setting, 'rooms[chat:*].history');
  } finally {
    await stopAll([one, two]);
  }
});

test('a change-over from live to durable: the new brokers wait for the old ones, and nothing is lost', async () => {
  const prefix = newPrefix();
  const old = await Promise.all([start(prefix, [REST]), start(prefix, [REST])]);
  const ports = await freePorts(2);
  const admins = ports.map((port) => `127.0.0.1:${port}`);
  const starting = admins.map((admin) => start(prefix, [DURABLE, REST], { admin }));
  for (const admin of admins) {
    const health = await until(async () => {
      const found = await ready(`http://${admin}`);
      const { ok, detail = '' } = found?.checks['settings'] ?? {};
      // Before that it has heard that they differ, and not yet in what.
      return ok === false && /durable on one node.*live on the other: rooms/.test(detail) ? found : undefined;
    });
    assert.equal(health.code, 503);
  }
  for (const broker of old) assert.equal((await ready(broker.adminUrl))?.code, 200);
  await Promise.all(old.map((broker) => broker.stop()));
  const fresh = await Promise.all(starting);
  try {
    const line = JSON.parse(fresh[0]?.logs.find((text) => text.includes('would be durable')) ?? '{}');
    assert.equal(line.level, 'error');
    await publishesArrive(fresh);
  } finally {
    await stopAll(fresh);
  }
});

/** A rolling restart with another retention, while one publishes and one listens: each acknowledged event arrives once. */
test('another retention by a rolling restart: nothing acknowledged is lost', async () => {
  const prefix = newPrefix();
  const wider = { ...DURABLE, history: { ...DURABLE.history, bytes: '2MiB' } };
  let brokers = await Promise.all([start(prefix, [DURABLE, REST]), start(prefix, [DURABLE, REST])]);
  const acked: string[] = [];
  const publish = async (count: number) => {
    for (let at = 0; at < count; at++) {
      const msgId = `m${acked.length}`;
      await published(brokers[acked.length % brokers.length] as RunningBroker, msgId);
      acked.push(msgId);
    }
  };
  await publish(10);
  for (let round = 0; round < 2; round++) {
    const [first, second] = brokers as [RunningBroker, RunningBroker];
    const next = await start(prefix, [wider, REST]);
    await publish(5);
    brokers = [second, next];
    await first.stop();
    await publish(5);
  }
  try {
    const member = await connect(brokers[0] as RunningBroker);
    const found = await heard(member, { type: 'join', room: 'chat:a', since: { last: 1000 } }, acked.length);
    assert.deepEqual(found, acked);
    member.terminate();
  } finally {
    await stopAll(brokers);
  }
});

async function connect(broker: RunningBroker): Promise<WebSocket> {
  const socket = new WebSocket(broker.url, 'chat.v1', {
    headers: { Authorization: `Bearer ${await broker.token()}` },
  });
  await once(socket, 'open');
  return socket;
}

async function published(broker: RunningBroker, msgId: string): Promise<void> {
  const socket = await connect(broker);
  const acknowledged = new Promise<void>((resolve) =>
    socket.on('message', (data) => {
      if ([JSON.parse(String(data))].flat().some(({ type }) => type === 'ack')) resolve();
    }),
  );
  socket.send(JSON.stringify({ type: 'pub', room: 'chat:a', msgId, payload: msgId }));
  await acknowledged;
  socket.terminate();
}

function heard(socket: WebSocket, frame: object, count: number): Promise<string[]> {
  const found: string[] = [];
  const all = new Promise<string[]>((resolve) =>
    socket.on('message', (data) => {
      for (const { type, payload } of [JSON.parse(String(data))].flat())
        if (type === 'event') found.push(payload);
      if (found.length >= count) resolve(found);
    }),
  );
  socket.send(JSON.stringify(frame));
  return all;
}

async function publishesArrive(brokers: readonly RunningBroker[]): Promise<void> {
  for (const [at, broker] of brokers.entries()) await published(broker, `n${at}`);
  const member = await connect(brokers[0] as RunningBroker);
  const found = await heard(member, { type: 'join', room: 'chat:a', since: { last: 10 } }, brokers.length);
  assert.deepEqual(
    found,
    brokers.map((_, at) => `n${at}`),
  );
  member.terminate();
}
