/** The health URL of the public port: 200 or 503, nothing else, for whoever asks and however often. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request as https } from 'node:https';
import { type Socket, connect as tcp } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import WebSocket from 'ws';
import { type RunningBroker, withBroker } from '../support/broker.ts';
import { certificateFolder } from '../support/certificates.ts';

const OPTIONS = { timeout: 60_000 };

async function answerTo(socket: Socket, method: string, path = '/healthz'): Promise<string> {
  const said = once(socket, 'data');
  socket.write(`${method} ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
  return String((await said)[0]);
}

async function kept(broker: RunningBroker): Promise<Socket> {
  const { hostname, port } = new URL(broker.httpUrl);
  const socket = tcp(Number(port), hostname);
  await once(socket, 'connect');
  return socket;
}

test('a broker that serves is 200, one that drains 503, without a body', OPTIONS, async () => {
  const config = { drain: { windowMs: 0, deadlineMs: '20s' }, page: { enabled: true } };
  await withBroker({ config, env: { CARILLON_ADMIN_TOKEN: 'x'.repeat(40) } }, async (broker) => {
    const socket = await kept(broker);
    for (const method of ['GET', 'HEAD']) {
      const said = await answerTo(socket, method);
      assert.match(said, /^HTTP\/1\.1 200 OK\r\n/);
      assert.match(said, /\r\ncontent-length: 0\r\n/i);
      assert.match(said, /\r\ncache-control: no-store\r\n/i);
      assert.ok(said.endsWith('\r\n\r\n'), 'no body');
    }
    assert.match(await answerTo(socket, 'GET', '/healthz?from=balancer'), /^HTTP\/1\.1 200 /);
    assert.match(await answerTo(socket, 'POST'), /^HTTP\/1\.1 405 /);
    assert.match(await answerTo(socket, 'GET', '/healthz/more'), /^HTTP\/1\.1 404 /);
    const drained = await fetch(`${broker.adminUrl}/admin/v1/drain`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${'x'.repeat(40)}` },
    });
    assert.ok(drained.ok, String(drained.status));
    let last = await answerTo(socket, 'GET');
    while (last.startsWith('HTTP/1.1 200')) last = await answerTo(socket, 'GET');
    assert.match(last, /^HTTP\/1\.1 503 .*\r\ncontent-length: 0\r\n/is);
    assert.ok(last.endsWith('\r\n\r\n'), 'no body');
    socket.destroy();
  });
});

test('no limit of the server API counts it, and no token is asked for', OPTIONS, async () => {
  await withBroker({ config: { api: { failuresPerMinute: 1 } } }, async (broker) => {
    const socket = await kept(broker);
    for (let n = 0; n < 300; n++) assert.match(await answerTo(socket, 'GET'), /^HTTP\/1\.1 200 /);
    socket.destroy();
    const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
    assert.doesNotMatch(metrics, /^carillon_api_answers_total\{.*\} [1-9]/m);
    const client = new WebSocket(broker.url, 'chat.v1', {
      headers: { Authorization: `Bearer ${await broker.token()}` },
    });
    await once(client, 'open');
    client.terminate();
  });
});

test(
  'a balancer has no client certificate: health is told without one, and nothing else is',
  OPTIONS,
  async (context) => {
    const folder = certificateFolder(context);
    const files = folder.write('broker', folder.ca.issue('localhost'));
    const caFile = join(folder.folder, 'ca.crt');
    writeFileSync(caFile, folder.ca.cert);
    const tls = { ...files, caFile, clientCert: 'require' };
    await withBroker({ config: { tls } }, async (broker) => {
      const { port } = new URL(broker.httpUrl);
      const status = (path: string) =>
        new Promise((resolve, reject) => {
          https({ host: '127.0.0.1', port, path, rejectUnauthorized: false, agent: false })
            .on('response', (response) => resolve(response.resume().statusCode))
            .on('error', reject)
            .end();
        });
      assert.equal(await status('/healthz'), 200);
      assert.equal(await status('/api/v1/rooms'), 403);
    });
  },
);
