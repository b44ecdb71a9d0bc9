/** A broker of several real processes, and clients of particular ones. */
import assert from 'node:assert/strict';
import type { RunningBroker } from '../../support/broker.ts';
import type { NatsCluster } from '../../support/nats/cluster.ts';
import { Client, type Encoding, settled } from '../conformance/client.ts';

export const ADMIN_TOKEN = 'an-admin-token-of-32-characters-0';

/** The `nats` section of a broker on a server of these tests. */
export function natsOf({ urls }: NatsCluster): object {
  return { url: urls, shards: 1, streamBytes: '64MiB', cursorBytes: '4MiB' };
}

export interface Wanted {
  readonly sub: string;
  readonly tenant?: string;
  readonly encoding?: Encoding;
  readonly ticket?: string;
}

/** Connects until the kernel has given the connection to this worker. */
export async function connectTo(broker: RunningBroker, worker: number, wanted: Wanted): Promise<Client> {
  const { encoding, ticket, ...claims } = wanted;
  let credential: { token: string } | { ticket: string } =
    ticket === undefined ? { token: await broker.token(claims) } : { ticket };
  for (let tries = 0; tries < 100; tries++) {
    const client = await Client.connect(broker.url, credential, encoding);
    if (workerOf(client) === worker) return client;
    await client.close();
    // A ticket is good once.
    if (ticket !== undefined) credential = { ticket: client.info.ticket };
  }
  assert.fail(`no connection came to worker ${worker}`);
}

/** The name of the node ends in it. */
export function workerOf(client: Client): number {
  return workerNamed(client.info.serverId);
}

export function workerNamed(serverId = ''): number {
  const [, number] = /-w(\d+)$/.exec(serverId) ?? [];
  assert.ok(number !== undefined, `${serverId} is the name of a worker`);
  return Number(number);
}

/** The process of a worker, as the supervisor has said last. */
export function pidOf(broker: RunningBroker, worker: number): number {
  const line = broker.logs.findLast(
    (one) => one.includes('a worker listens') && one.includes(`"worker":${worker},`),
  );
  assert.ok(line !== undefined, `worker ${worker} has listened`);
  return Number(JSON.parse(line).pid);
}

export async function readiness(
  broker: RunningBroker,
): Promise<{ code: number; status: string; checks: object }> {
  const answer = await fetch(`${broker.adminUrl}/readyz`);
  return { code: answer.status, ...((await answer.json()) as { status: string; checks: object }) };
}

export async function ready(broker: RunningBroker): Promise<void> {
  await settled(async () => {
    const { checks } = await readiness(broker);
    assert.ok(
      Object.values(checks).every(({ ok }) => ok),
      JSON.stringify(checks),
    );
  }, 20_000);
}

/** The admin API answers for all nodes. */
export async function admin(broker: RunningBroker, path: string, body?: object): Promise<unknown> {
  const answer = await fetch(`${broker.adminUrl}/admin/v1/${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { Authorization: `Bearer ${ADMIN_TOKEN}`, 'Content-Type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return JSON.parse(text);
}
