/**
 * `npm run cluster`: three nats-servers, two brokers and a round robin in front, on this machine. Kill any of the
 * processes named below and watch what happens, here and on the page.
 */
import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { SignJWT } from 'jose';
import { NatsCluster } from '../../test/support/nats/cluster.ts';
import { createBalancer } from './balancer.ts';
import { Broker } from './brokers.ts';

const secret = randomBytes(32).toString('base64url');
const started = Date.now();

function say(text: string): void {
  process.stdout.write(`${((Date.now() - started) / 1000).toFixed(1).padStart(7)} s  ${text}\n`);
}

function mint(sub: string): Promise<string> {
  return new SignJWT({ rooms: [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }] })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuedAt()
    .setSubject(sub)
    .setExpirationTime('24h')
    .sign(new TextEncoder().encode(secret));
}

/** The page asks for its token here, since the brokers run with a real key and give none away. */
function intercept(head: string): Promise<string> | undefined {
  const asked = /^GET \/dev\/token\?sub=([^ &]{1,400}) HTTP\/1\.1\r\n/.exec(head)?.[1];
  if (asked === undefined) return undefined;
  return mint(decodeURIComponent(asked)).then((token) => {
    const body = JSON.stringify({ token });
    return `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
  });
}

async function watchNats(nats: NatsCluster, stopping: () => boolean): Promise<void> {
  const down = new Set<string>();
  while (!stopping()) {
    await sleep(300);
    for (const server of nats.servers) {
      if (server.running || down.has(server.name) || stopping()) continue;
      down.add(server.name);
      say(`${server.name} died; it is started again in 2 s`);
      void sleep(2000)
        .then(() => (stopping() ? undefined : server.start().then(() => server.ready())))
        .then(() => say(`${server.name} is back, pid ${server.pid}`))
        .catch((error: unknown) => say(`${server.name} does not come back: ${error}`))
        .finally(() => down.delete(server.name));
    }
  }
}

say('starting three nats-servers (the first time they are fetched and built: that takes a few minutes)');
const nats = await NatsCluster.start(3);
for (const server of nats.servers) say(`${server.name} is up: ${server.url}, pid ${server.pid}`);
const env = {
  CARILLON_NATS_URL: nats.urls.join(','),
  CARILLON_JWT_SECRET: secret,
  CARILLON_PAGE__ENABLED: 'true',
};
const brokers = ['broker-1', 'broker-2'].map((name) => new Broker({ name, env, say }));
for (const broker of brokers) broker.start();
const backends = brokers.map((broker) => ({ name: broker.name, address: () => broker.address() }));
const balancer = createBalancer(backends, intercept);
const port = Number(process.env['CLUSTER_PORT'] ?? 8080);
await new Promise<void>((resolve, reject) =>
  balancer.once('error', reject).listen(port, '127.0.0.1', resolve),
);
let ending = false;
void watchNats(nats, () => ending);

const until = Date.now() + 30_000;
while (brokers.some((broker) => broker.address() === undefined) && Date.now() < until) await sleep(50);
const address = `127.0.0.1:${(balancer.address() as AddressInfo).port}`;
process.stdout.write(`
  page:  http://${address}/
  token: ${await mint('you')}
  raw:   wscat -c ws://${address}/connect -s chat.v1 -H "Authorization: Bearer <token>"

  Kill anything with kill -9 <pid>; it comes back after 2 s. ctrl-C ends all of it.

`);

async function end(): Promise<void> {
  if (ending) process.exit(1);
  ending = true;
  say('ending');
  balancer.close();
  await Promise.all(brokers.map((broker) => broker.stop()));
  await nats.close();
  process.exit(0);
}
process.on('SIGINT', () => void end());
process.on('SIGTERM', () => void end());
