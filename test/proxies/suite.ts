/** The shipped configurations of the proxies, in front of a real broker: what is common to their tests. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import WebSocket from 'ws';
import { type RunningBroker, withBroker } from '../support/broker.ts';
import { type ProxyName, type RunningProxy, startProxy } from '../support/proxies.ts';
import { frame, handshakeText } from '../support/raw-socket.ts';

const CONNECTIONS = 1000;
export const AT_ONCE = 50;

/** Shorter than as shipped, so that a silence outlasts them; the broker pings every 4 s. */
const SILENCE = 6;
const QUICK: Readonly<Record<ProxyName, Readonly<Record<string, string>>>> = {
  nginx: { 'timeout 75s': `timeout ${SILENCE}s`, 'client_header_timeout 10s': 'client_header_timeout 2s' },
  haproxy: { 'tunnel 75s': `tunnel ${SILENCE}s`, 'http-request 10s': 'http-request 2s' },
  caddy: { 'read_header 10s': 'read_header 2s' },
  traefik: { 'readTimeout: 10s': 'readTimeout: 2s' },
  envoy: {
    'stream_idle_timeout: 75s': `stream_idle_timeout: ${SILENCE}s`,
    'headers_timeout: 10s': 'headers_timeout: 2s',
  },
};

export const config = {
  trustedProxies: 1,
  heartbeat: { idleSeconds: 8 },
  limits: { address: { connections: CONNECTIONS + 100 } },
};

interface Client {
  readonly socket: WebSocket;
  closed: number | undefined;
}

export async function joined(proxy: RunningProxy, token: string, headers = {}): Promise<Client> {
  const socket = new WebSocket(`wss://127.0.0.1:${proxy.port}/connect`, 'chat.v1', {
    ca: proxy.ca,
    headers: { Authorization: `Bearer ${token}`, ...headers },
  });
  const client: Client = { socket, closed: undefined };
  socket.on('close', (code) => {
    client.closed = code;
  });
  const answered = heard(socket, 'joined');
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'join', room: 'live:all' }));
  await answered;
  return client;
}

/** Resolves with the first frame of that type. */
function heard(socket: WebSocket, type: string): Promise<Record<string, unknown>> {
  return new Promise((resolve) => {
    socket.on('message', (data) => {
      for (const each of [JSON.parse(String(data))].flat()) if (each.type === type) resolve(each);
    });
  });
}

const addressOf = (broker: RunningBroker) => broker.httpUrl.replace('http://', '');

export async function behind(
  t: TestContext,
  name: ProxyName,
  body: (proxy: RunningProxy, broker: RunningBroker, token: string) => Promise<void>,
  settings: object = config,
): Promise<void> {
  await withBroker({ config: { ...settings } }, async (broker) => {
    const proxy = await startProxy(t, name, addressOf(broker), QUICK[name]);
    await body(proxy, broker, await broker.token());
  });
}

export async function hearAll(clients: readonly Client[], publisher: Client): Promise<void> {
  const all = clients.map(({ socket }) => heard(socket, 'event'));
  publisher.socket.send(JSON.stringify({ type: 'pub', room: 'live:all', payload: 'hello' }));
  await Promise.all(all);
}

/** What has to hold behind each of them. */
export function testProxy(name: ProxyName): void {
  test(`${name}: ${CONNECTIONS} connections, silent for longer than its timeout, all hear a publish`, async (t) => {
    await behind(t, name, async (proxy, _broker, token) => {
      const clients: Client[] = [];
      while (clients.length < CONNECTIONS)
        clients.push(...(await Promise.all(Array.from({ length: AT_ONCE }, () => joined(proxy, token)))));
      await sleep(2.2 * SILENCE * 1000);
      assert.equal(clients.filter(({ closed }) => closed !== undefined).length, 0);
      await hearAll(clients, clients[0] as Client);
      for (const { socket } of clients) socket.terminate();
    });
  });

  test(`${name}: the broker counts the address that the proxy saw, whatever the client says`, async (t) => {
    // Loopback is exempt from limits by address: so the second proxy is the test, with a client of 203.0.113.7.
    const settings = { ...config, limits: { address: { connections: 1 } } };
    await withBroker({ config: { ...settings, trustedProxies: 1 } }, async (broker) => {
      const token = await broker.token();
      const direct = (forwarded: string) =>
        statusOf(`ws://${addressOf(broker)}/connect`, {
          Authorization: `Bearer ${token}`,
          'X-Forwarded-For': forwarded,
        });
      assert.equal(await direct('203.0.113.7'), 101);
      assert.equal(await direct('203.0.113.7'), 429, 'an address that a trusted proxy has written counts');
      const proxy = await startProxy(t, name, addressOf(broker), QUICK[name]);
      // Through the proxy the client is loopback. What it writes itself must not be taken.
      const forged = await joined(proxy, token, { 'X-Forwarded-For': '203.0.113.7' });
      forged.socket.terminate();
    });
  });

  test(`${name}: slow heads end at the proxy; the broker never hears of them`, async (t) => {
    await behind(t, name, async (proxy, broker, token) => {
      const slow = await Promise.all(Array.from({ length: 100 }, () => dawdling(proxy)));
      const before = await sockets(broker);
      const ends = slow.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
      const client = await joined(proxy, token);
      assert.ok((await sockets(broker)) - before <= 3, 'only the client and the scrapes have descriptors');
      await Promise.race([
        Promise.all(ends),
        sleep(20_000).then(() => assert.fail('slow heads live on after 20 s')),
      ]);
      assert.equal(client.closed, undefined);
      client.socket.terminate();
    });
  });
}

/** Of those that keep connections through a reload of their own. */
export function testReload(name: ProxyName): void {
  test(`${name}: a reload keeps connections, and takes new ones all the while`, async (t) => {
    await behind(t, name, async (proxy, _broker, token) => {
      const clients = await Promise.all(Array.from({ length: AT_ONCE }, () => joined(proxy, token)));
      for (let time = 0; time < 2; time++) {
        await proxy.reload();
        clients.push(await joined(proxy, token));
        await sleep(500);
      }
      clients.push(await joined(proxy, token));
      await hearAll(clients, clients[0] as Client);
      assert.equal(clients.filter(({ closed }) => closed !== undefined).length, 0);
      for (const { socket } of clients) socket.terminate();
    });
  });
}

/** Of those that take another certificate without a restart. */
export function testRenewal(name: ProxyName): void {
  test(`${name}: a renewed certificate is taken, and connections stay`, async (t) => {
    await behind(t, name, async (proxy, _broker, token) => {
      const before = await joined(proxy, token);
      proxy.renew('renewed.test');
      await proxy.reload();
      const deadline = performance.now() + 20_000;
      while ((await subject(proxy)) !== 'renewed.test') {
        assert.ok(performance.now() < deadline, 'new clients get the old certificate');
        await sleep(50);
      }
      const after = await joined(proxy, token);
      await hearAll([before, after], after);
      assert.equal(before.closed, undefined);
      for (const { socket } of [before, after]) socket.terminate();
    });
  });
}

async function subject(proxy: RunningProxy): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port: proxy.port, ca: proxy.ca });
  await once(socket, 'secureConnect');
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
}

/** Of those that speak RFC 8441 to browsers. */
export function testHttp2(name: ProxyName): void {
  test(`${name}: a WebSocket over HTTP/2 (RFC 8441)`, async (t) => {
    await behind(t, name, async (proxy, _broker, token) => {
      const session = connectHttp2(`https://127.0.0.1:${proxy.port}`, { ca: proxy.ca });
      const [settings] = await once(session, 'remoteSettings');
      assert.equal(settings.enableConnectProtocol, true);
      const stream = session.request(
        {
          ':method': 'CONNECT',
          ':protocol': 'websocket',
          ':scheme': 'https',
          ':path': '/connect',
          ':authority': `127.0.0.1:${proxy.port}`,
          'sec-websocket-version': '13',
          'sec-websocket-protocol': 'chat.v1',
          authorization: `Bearer ${token}`,
        },
        { endStream: false },
      );
      let text = '';
      stream.on('data', (data) => (text += data.toString('latin1')));
      const [headers] = await once(stream, 'response');
      assert.equal(headers[':status'], 200);
      assert.equal(headers['sec-websocket-protocol'], 'chat.v1');
      stream.write(frame({ payload: JSON.stringify({ type: 'join', room: 'live:all' }) }));
      // Beside a client over HTTP/1.1, in the same room.
      const other = await joined(proxy, token);
      while (!text.includes('"type":"joined"')) await once(stream, 'data');
      other.socket.send(JSON.stringify({ type: 'pub', room: 'live:all', payload: 'over one connection' }));
      while (!text.includes('over one connection')) await once(stream, 'data');
      stream.close();
      session.destroy();
      other.socket.terminate();
    });
  });
}

/** A client that sends the first bytes of a head, and then nothing. */
async function dawdling(proxy: RunningProxy): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: proxy.port, ca: proxy.ca });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.write(handshakeText().slice(0, 40));
  return socket.resume();
}

/** Descriptors of the broker. */
async function sockets(broker: RunningBroker): Promise<number> {
  const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
  return Number(/^carillon_process_open_fds (\d+)$/m.exec(metrics)?.[1]);
}

function statusOf(url: string, headers: Record<string, string>): Promise<number> {
  const socket = new WebSocket(url, 'chat.v1', { headers });
  return new Promise((resolve, reject) => {
    socket.once('open', () => resolve(101));
    socket.once('unexpected-response', (_request, { statusCode }) => resolve(statusCode ?? 0));
    socket.once('error', reject);
  });
}
