/** A tenant's limits over several brokers on a real NATS server: in all they give out what the tenant may have. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

const PODS = 4;
const LEASE_MS = 2000;
const SKEW_MS = 200;
const RATE = 1000;
const CONNECTIONS = 100;

let nats: NatsCluster;
const brokers: RunningBroker[] = [];

before(async () => {
  nats = await NatsCluster.start(1);
  const config = {
    nats: { url: nats.urls, prefix: newPrefix(), shards: 1, streamBytes: '64MiB' },
    cluster: { leaseMs: LEASE_MS, skewMs: SKEW_MS },
    tenants: {
      rated: { publish: { perSecond: RATE, burst: RATE } },
      crowded: { connections: CONNECTIONS },
    },
  };
  brokers.push(...(await Promise.all(Array.from({ length: PODS }, () => startBroker({ config })))));
});

after(async () => {
  await Promise.all(brokers.map((broker) => broker.kill()));
  await nats.close();
});

/** undefined: refused with 429. */
async function connect(broker: RunningBroker, tenant: string, sub: string): Promise<WebSocket | undefined> {
  const token = await broker.token({ sub, tenant });
  const socket = new WebSocket(broker.url, 'chat.v1', { headers: { Authorization: `Bearer ${token}` } });
  const outcome = await Promise.race([
    once(socket, 'open').then(() => 101),
    once(socket, 'unexpected-response').then(([, response]) => response.statusCode as number),
  ]);
  if (outcome === 101) return socket;
  assert.equal(outcome, 429);
  socket.on('error', () => undefined);
  socket.terminate();
  return undefined;
}

test('four brokers offered ten times the rate of a tenant accept it, within the stated bound', async () => {
  const sockets = await Promise.all(brokers.map((broker, at) => connect(broker, 'rated', `u${at}`)));
  let accepted = 0;
  let refused = 0;
  for (const socket of sockets) {
    socket?.on('message', (data) => {
      for (const frame of [JSON.parse(String(data))].flat()) {
        if (frame.type === 'ack') accepted++;
        if (frame.type === 'error' && frame.code === 'rate_limited') refused++;
      }
    });
  }
  const batch = JSON.stringify(
    Array.from({ length: 125 }, () => ({ type: 'pub', room: 'live:a', payload: 1 })),
  );
  const begun = performance.now();
  for (let at = 0; at < 5 * 20; at++) {
    for (const socket of sockets) socket?.send(batch);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const seconds = (performance.now() - begun) / 1000;
  await new Promise((resolve) => setTimeout(resolve, 300));
  const bound = (RATE + PODS * (RATE / 100)) * (seconds + 0.3) + RATE;
  assert.ok(accepted <= bound, `${accepted} in ${seconds} s, bound ${bound}`);
  assert.ok(accepted >= RATE * (seconds - 1) * 0.8, `only ${accepted} in ${seconds} s`);
  assert.ok(refused > accepted, `${refused} refused`);
  for (const socket of sockets) socket?.terminate();
});

test('connections over four brokers; those of a killed one are free after the lease', async () => {
  const open = brokers.map(() => 0);
  const fill = async (from: number, most: number) => {
    for (let tries = 0; tries < most; tries++) {
      for (let at = from; at < PODS; at++) {
        const socket = await connect(brokers[at] as RunningBroker, 'crowded', `u${at}-${tries}`);
        if (socket !== undefined) open[at] = (open[at] ?? 0) + 1;
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await fill(0, 100);
  const total = open.reduce((sum, count) => sum + count, 0);
  assert.ok(total <= CONNECTIONS + PODS && total >= CONNECTIONS - PODS, `${open}`);
  const [dead = 0] = open;
  await brokers[0]?.kill();
  open[0] = 0;
  await fill(1, 3);
  const atOnce = open.reduce((sum, count) => sum + count, 0);
  assert.ok(atOnce <= CONNECTIONS - dead + PODS, `${open} before the lease was over, ${dead} had died`);
  await new Promise((resolve) => setTimeout(resolve, LEASE_MS + SKEW_MS + 500));
  await fill(1, dead);
  const later = open.reduce((sum, count) => sum + count, 0);
  assert.ok(later >= CONNECTIONS - PODS && later <= CONNECTIONS + PODS, `${open}, ${dead} had died`);
});
