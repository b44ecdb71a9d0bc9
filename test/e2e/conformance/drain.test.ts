/** Clause 4.10 and what a signal does: SIGTERM gives every client a slot, SIGINT is quick, both end with 0. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Socket, connect as tcp } from 'node:net';
import { test } from 'node:test';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { Client, type Encoding, matches, settled } from './client.ts';

const OPTIONS = { timeout: 30_000 };

async function join(broker: RunningBroker, encoding: Encoding, sub: string): Promise<Client> {
  const client = await Client.connect(broker.url, { token: await broker.token({ sub }) }, encoding);
  await client.join('room');
  return client;
}

/** A plain HTTP connection that was open before the drain. */
async function keptAlive(broker: RunningBroker): Promise<{ socket: Socket; answer: () => Promise<string> }> {
  const { hostname, port } = new URL(broker.httpUrl);
  const socket = tcp(Number(port), hostname);
  await once(socket, 'connect');
  const answer = async (): Promise<string> => String((await once(socket, 'data'))[0]);
  socket.write('GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.match(await answer(), /^HTTP\/1\.1 404/);
  return { socket, answer };
}

async function readiness(broker: RunningBroker): Promise<readonly [number, string]> {
  const answer = await fetch(`${broker.adminUrl}/readyz`);
  return [answer.status, ((await answer.json()) as { status: string }).status];
}

test(
  'C4.10 C6.2 SIGTERM: readiness fails, everybody gets drain and, in a slot of their own, 4200; exit code 0',
  OPTIONS,
  async () => {
    const windowMs = 2000;
    const broker = await startBroker({ config: { drain: { windowMs, perSecond: 3, deadlineMs: '10s' } } });
    const clients: Client[] = [];
    for (let at = 0; at < 6; at++)
      clients.push(await join(broker, at % 2 ? 'msgpack' : 'json', `user-${at}`));
    const http = await keptAlive(broker);
    assert.deepEqual(await readiness(broker), [200, 'ready']);

    process.kill(broker.pid, 'SIGTERM');
    const slots = await Promise.all(
      clients.map(async (client) => {
        const { retryAfterMs, reason, ticket } = await client.expect('drain');
        const at = Date.now();
        assert.ok(reason.length > 0 && ticket.length > 0);
        assert.ok(retryAfterMs >= 0 && retryAfterMs <= windowMs);
        return { client, slot: at + retryAfterMs, retryAfterMs };
      }),
    );
    assert.ok(new Set(slots.map(({ retryAfterMs }) => retryAfterMs)).size > 1, 'not all at once');

    // Meanwhile: readiness fails, liveness does not, newcomers are not let in, and those who are still here go on.
    const last = slots.reduce((a, b) => (a.slot > b.slot ? a : b));
    if (last.retryAfterMs > 500) {
      assert.deepEqual(await readiness(broker), [503, 'draining']);
      assert.equal((await fetch(`${broker.adminUrl}/livez`)).status, 200);
      await assert.rejects(fetch(broker.httpUrl));
      http.socket.write(
        `GET /connect HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat.v1\r\nAuthorization: Bearer ${await broker.token()}\r\n\r\n`,
      );
      const refused = await http.answer();
      assert.match(refused, /^HTTP\/1\.1 503/);
      assert.match(refused, /\r\nRetry-After: \d+\r\n/i);
      await last.client.pub('room', 'still here');
      await last.client.expect('event', { payload: 'still here' });
    }
    for (const { client, slot } of slots) {
      assert.equal((await client.closed).code, 4200);
      assert.ok(Date.now() > slot - 500, 'before its slot');
    }
    assert.deepEqual(await broker.exited, { code: 0, signal: null });
    http.socket.destroy();
  },
);

test(
  'C4.10 SIGINT is a person waiting: the same within half a second or so, exit code 0',
  OPTIONS,
  async () => {
    const broker = await startBroker({ config: { drain: { windowMs: '20s', perSecond: 1 } } });
    const clients: Client[] = [];
    for (let at = 0; at < 5; at++)
      clients.push(await join(broker, at % 2 ? 'msgpack' : 'json', `user-${at}`));
    const start = Date.now();
    process.kill(broker.pid, 'SIGINT');
    for (const client of clients) {
      const { retryAfterMs } = (await client.until('drain')).at(-1) as { retryAfterMs: number };
      assert.ok(retryAfterMs <= 300);
      assert.equal((await client.closed).code, 4200);
    }
    assert.deepEqual(await broker.exited, { code: 0, signal: null });
    assert.ok(Date.now() - start < 3000, `${Date.now() - start} ms`);
  },
);

test('C4.10 nobody there: SIGTERM ends at once', OPTIONS, async () => {
  const broker = await startBroker();
  const start = Date.now();
  assert.deepEqual(await broker.stop(), { code: 0, signal: null });
  assert.ok(Date.now() - start < 2000, `${Date.now() - start} ms`);
});

test('C4.10 clients that do not read, or hang in a handshake, do not hold the drain', OPTIONS, async () => {
  const broker = await startBroker({ config: { drain: { windowMs: '200ms', deadlineMs: '3s' } } });
  const stuck = await join(broker, 'json', 'stuck');
  stuck.socket.pause();
  const { hostname, port } = new URL(broker.httpUrl);
  const half = tcp(Number(port), hostname);
  half.on('error', () => half.destroy());
  half.write('GET /connect HTTP/1.1\r\nHost: x\r\n');
  await once(half, 'connect');
  await settled(async () => matches(await stuckPresence(broker), { count: 1 }));
  const start = Date.now();
  assert.deepEqual(await broker.stop(), { code: 0, signal: null });
  assert.ok(Date.now() - start < 5000, `${Date.now() - start} ms`);
  half.destroy();
  stuck.socket.terminate();
});

async function stuckPresence(broker: RunningBroker) {
  const client = await Client.connect(broker.url, { token: await broker.token({ sub: 'looks' }) });
  const answer = await client.ask({ type: 'presence', room: 'room' }, 'presence');
  await client.close();
  return answer;
}
