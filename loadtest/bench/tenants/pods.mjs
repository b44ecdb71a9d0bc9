/** Four brokers on one NATS server that share a tenant's limits, and clients that want more than there is. */
import { randomBytes } from 'node:crypto';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { withBus } from '../../support/buses.mjs';
import { LoadSocket } from '../../support/socket.mjs';
import { sleep } from '../../support/stats.mjs';
import { mint } from '../../support/token.mjs';

export const PODS = 4;
export const RATE = 1000;
export const BURST = 2000;
export const CONNECTIONS = 500;
export const LEASE_MS = 10_000;
export const SKEW_MS = 1000;
const OFFERED = 10 * RATE;
const BATCH = 25;
const TENANT = 'metered';

/** What each broker may give out before it has borrowed anything, and so the bound: total + 1 % of it per broker. */
export const boundOf = (total) => total + PODS * Math.ceil(total / 100);

async function open(pod, sub, on = {}) {
  const token = await mint(sub, { tenant: TENANT });
  const address = { ...pod.listen, path: '/connect', protocol: 'chat.v1', token };
  const socket = new LoadSocket(address, { closed: () => undefined, ...on });
  await socket.open();
  return socket;
}

/** Each second: what was accepted at each broker, and refused at all. */
class Publishers {
  seconds = [];
  refused = 0;
  accepted = 0;
  other = 0;
  #sockets;
  #running = true;

  static async start(pods) {
    const self = new Publishers();
    self.#sockets = await Promise.all(
      pods.map(async (pod, at) => {
        const socket = await open(pod, `publisher-${at}`);
        socket.walker.wants = true;
        socket.onFrame((payload) => self.#count(JSON.parse(payload), at));
        return socket;
      }),
    );
    void self.#offer();
    return self;
  }

  #count(message, pod) {
    for (const frame of [message].flat())
      if (frame.type === 'ack') {
        this.accepted++;
        const second = Math.floor((performance.now() - this.begun) / 1000);
        this.seconds[second] ??= Array(PODS).fill(0);
        this.seconds[second][pod]++;
      } else if (frame.code === 'rate_limited') this.refused++;
      else if (frame.type === 'error') this.other++;
  }

  async #offer() {
    this.begun = performance.now();
    const frames = Array.from({ length: BATCH }, () => ({ type: 'pub', room: 'live:a', payload: 1 }));
    const batch = JSON.stringify(frames);
    let sent = 0;
    while (this.#running) {
      const due = ((performance.now() - this.begun) / 1000) * OFFERED;
      // The dead one's share goes to the others.
      for (; sent < due; sent += BATCH) {
        const alive = this.#sockets.filter((socket) => socket !== undefined);
        alive[(sent / BATCH) % alive.length].send(batch);
      }
      await sleep(5);
    }
    this.offered = sent;
    this.took = (performance.now() - this.begun) / 1000;
  }

  lose(pod) {
    this.#sockets[pod]?.end();
    this.#sockets[pod] = undefined;
  }

  async stop() {
    this.#running = false;
    await sleep(500);
    for (const socket of this.#sockets) socket?.end();
  }
}

/** Writes of leases so far: the sequence of the stream that they are in. */
async function writes(manager, prefix) {
  const { state } = await manager.streams.info(`${prefix.toUpperCase()}_STATE`);
  return state.last_seq;
}

/** Tries at each broker in turn until `tries` of each are through; sockets by broker. */
async function crowd(pods, held, tries, name) {
  for (let at = 0; at < tries; at++)
    await Promise.all(
      pods.map(async (pod, n) => {
        if (pod === undefined) return;
        try {
          held[n].push(await open(pod, `${name}-${n}-${at}`));
        } catch (error) {
          if (!error.message.includes('429')) throw error;
        }
      }),
    );
}

const countOf = (held) => held.reduce((sum, { length }) => sum + length, 0);
/** With the publishers that are left, who are of the tenant too. */
const allOf = (held) => countOf(held) + PODS - 1;

async function rate(pods, manager, prefix, seconds) {
  const before = await writes(manager, prefix);
  const publishers = await Publishers.start(pods);
  await sleep(seconds * 1000);
  await publishers.stop();
  const { accepted, refused, other, took, offered } = publishers;
  const leases = (await writes(manager, prefix)) - before;
  return { accepted, refused, other, took, offered, leases, seconds: publishers.seconds };
}

async function crowding(pods, held) {
  const begun = performance.now();
  await crowd(pods, held, (10 * CONNECTIONS) / PODS, 'crowd');
  return {
    accepted: held.map(({ length }) => length),
    attempts: 10 * CONNECTIONS,
    took: (performance.now() - begun) / 1000,
  };
}

/** kill -9 of a broker that holds leases of both kinds: how long until the others reach the full limits again. */
async function death(pods, held) {
  const publishers = await Publishers.start(pods);
  await sleep(6000);
  const dead = pods[0];
  const lost = held[0].length;
  process.kill(dead.pid, 'SIGKILL');
  await dead.exited;
  const killed = performance.now();
  publishers.lose(0);
  held[0] = [];
  const alive = [undefined, ...pods.slice(1)];
  const timeline = [];
  let full;
  while (performance.now() - killed < LEASE_MS + SKEW_MS + 8000) {
    await crowd(alive, held, 5, `late-${timeline.length}`);
    const at = performance.now() - killed;
    timeline.push({ at, connections: allOf(held) });
    if (full === undefined && allOf(held) >= CONNECTIONS) full = at;
    await sleep(200);
  }
  const second = Math.floor((killed - publishers.begun) / 1000);
  await publishers.stop();
  const rates = publishers.seconds.map((each) => each.reduce((sum, count) => sum + count, 0));
  const back = rates.findIndex((count, at) => at > second + 1 && count >= RATE * 0.97);
  return {
    lost,
    full,
    peak: Math.max(...timeline.map(({ connections }) => connections)),
    before: rates.slice(second - 4, second),
    after: rates.slice(second + 1),
    rateBack: back < 0 ? undefined : publishers.begun + back * 1000 - killed,
    accepted: publishers.accepted,
    took: publishers.took,
  };
}

export function quotas({ seconds, main }) {
  const prefix = `bench${randomBytes(4).toString('hex')}`;
  const config = {
    nats: { prefix, shards: 1, streamBytes: '64MiB', cursorBytes: '1MiB', url: 'nats://127.0.0.1:1' },
    cluster: { leaseMs: LEASE_MS, skewMs: SKEW_MS },
    tenants: { [TENANT]: { connections: CONNECTIONS, publish: { perSecond: RATE, burst: BURST } } },
  };
  return withBus('nats', config, async (start, urls) => {
    const pods = [];
    for (let at = 0; at < PODS; at++) pods.push(await start({ main, env: { CARILLON_LIMITS: 'on' } }));
    const connection = await connect({ servers: urls });
    const manager = await jetstreamManager(connection);
    const rated = await rate(pods, manager, prefix, seconds);
    const held = pods.map(() => []);
    const crowded = await crowding(pods, held);
    // Room for the publishers, who are of the tenant too: their places are taken from the crowd.
    for (const sockets of held) for (const socket of sockets.splice(0, 3)) socket.end();
    await sleep(1500);
    const died = await death(pods, held);
    for (const socket of held.flat()) socket.end();
    await connection.close();
    return { rated, crowded, died };
  });
}
