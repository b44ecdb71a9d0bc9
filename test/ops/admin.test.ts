import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type AdminOptions, createAdmin, json } from '../../src/ops/admin.ts';
import { judge, type Phase, type Readiness } from '../../src/ops/health.ts';
import { createLog } from '../../src/ops/log.ts';

const HEALTHY = {
  phase: 'serving',
  loopLagMs: 1,
  loopLagLimitMs: 250,
  settings: { detail: '', conflict: undefined },
  bus: { state: 'up', detail: '', figures: {} },
} as const;

interface Running {
  readonly url: string;
  readonly port: number;
  readonly logged: () => string;
}

async function start(t: TestContext, options: Partial<AdminOptions> = {}): Promise<Running> {
  let logged = '';
  const log = createLog('debug', {
    write: (line) => {
      logged += line;
    },
  });
  const admin = createAdmin({
    host: '127.0.0.1',
    port: 0,
    readiness: () => judge(HEALTHY),
    metrics: { contentType: 'text/plain; version=0.0.4', text: async () => 'carillon_rooms 1\n' },
    log,
    ...options,
  });
  const { host, port } = await admin.listen();
  t.after(() => admin.close());
  return { url: `http://${host}:${port}`, port, logged: () => logged };
}

/** Sends bytes and gives all that comes back until the server closes. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(bytes, 'latin1');
  return text(socket);
}

test('livez answers 200 while everything else is wrong', async (t) => {
  const { url } = await start(t, {
    readiness: () =>
      judge({ ...HEALTHY, phase: 'draining', bus: { state: 'down', detail: 'gone', figures: {} } }),
  });
  const answer = await fetch(`${url}/livez`);
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { status: 'alive' });
});

test('readyz gives 200 or 503 with the status and its checks', async (t) => {
  let verdict: Readiness = judge(HEALTHY);
  const { url } = await start(t, { readiness: () => verdict });
  const ready = await fetch(`${url}/readyz`);
  assert.equal(ready.status, 200);
  assert.equal(ready.headers.get('cache-control'), 'no-store');
  assert.deepEqual(await ready.json(), {
    status: 'ready',
    checks: {
      phase: { ok: true, detail: 'serving' },
      loop: { ok: true, detail: 'p99 1.0 ms, limit 250 ms' },
      bus: { ok: true, detail: 'up' },
      settings: { ok: true, detail: 'the same on all nodes' },
    },
  });
  verdict = judge({ ...HEALTHY, phase: 'draining' });
  const draining = await fetch(`${url}/readyz`);
  assert.equal(draining.status, 503);
  assert.equal(((await draining.json()) as Readiness).status, 'draining');
});

test('startupz is 503 until the start is over, and 200 from then on, draining included', async (t) => {
  let phase: Phase = 'starting';
  const { url } = await start(t, { readiness: () => judge({ ...HEALTHY, phase }) });
  assert.equal((await fetch(`${url}/startupz`)).status, 503);
  phase = 'serving';
  assert.equal((await fetch(`${url}/startupz`)).status, 200);
  phase = 'draining';
  assert.equal((await fetch(`${url}/startupz`)).status, 200);
});

test('metrics come with their content type', async (t) => {
  const { url } = await start(t);
  const answer = await fetch(`${url}/metrics?name=x`);
  assert.equal(answer.headers.get('content-type'), 'text/plain; version=0.0.4');
  assert.equal(await answer.text(), 'carillon_rooms 1\n');
});

test('HEAD has the headers of GET and no body', async (t) => {
  const { url } = await start(t);
  const answer = await fetch(`${url}/livez`, { method: 'HEAD' });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-length'), '19');
  assert.equal(await answer.text(), '');
});

test('an unknown path is 404 in JSON, another method 405 with Allow', async (t) => {
  const { url } = await start(t);
  for (const path of ['/', '/livez/', '/LIVEZ', '/metrics/..', '/__proto__', '/constructor']) {
    const answer = await fetch(url + path, { redirect: 'manual' });
    assert.equal(answer.status, path === '/metrics/..' ? 404 : 404, path);
    assert.equal(((await answer.json()) as { code: string }).code, 'not_found');
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const answer = await fetch(`${url}/metrics`, { method });
    assert.equal(answer.status, 405, method);
    assert.equal(answer.headers.get('allow'), 'GET, HEAD');
  }
});

test('further routes are served beside the probes', async (t) => {
  const { url } = await start(t, {
    web: ({ path }) => (path === '/extra' ? json(200, { extra: true }) : undefined),
  });
  assert.deepEqual(await (await fetch(`${url}/extra`)).json(), { extra: true });
  assert.equal((await fetch(`${url}/livez`)).status, 200);
});

test('a failing source is a 500 and a log line, and the next request is answered', async (t) => {
  const { url, logged } = await start(t, {
    metrics: { contentType: 'text/plain', text: () => Promise.reject(new Error('no figures')) },
    readiness: () => {
      throw new Error('no verdict');
    },
  });
  for (const [path, cause] of [
    ['/metrics', 'no figures'],
    ['/readyz', 'no verdict'],
  ]) {
    const answer = await fetch(url + path);
    assert.equal(answer.status, 500);
    assert.equal(((await answer.json()) as { code: string }).code, 'internal');
    assert.match(logged(), new RegExp(String(cause)));
  }
  assert.equal((await fetch(`${url}/livez`)).status, 200);
});

test('garbage is answered 400 or cut off, and the server lives', async (t) => {
  const { url, port } = await start(t);
  const garbage = [
    '\x00\x01\x02\x03\r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    'nonsense\r\n\r\n',
    'GET /livez HTTP/1.1\r\n\r\n',
    'GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
    'GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'CONNECT evil:1 HTTP/1.1\r\nHost: x\r\n\r\n',
  ];
  for (const bytes of garbage) {
    const answer = await raw(port, bytes);
    assert.match(answer, /^(HTTP\/1\.1 400 |$)/, JSON.stringify(bytes));
  }
  const upgrade =
    'GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n';
  assert.doesNotMatch(await raw(port, upgrade), /^HTTP\/1\.1 101/);
  assert.match(
    await raw(port, `GET /livez HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(9000)}\r\n\r\n`),
    /^HTTP\/1\.1 431 /,
  );
  assert.match(
    await raw(port, 'GET http://[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
    /^HTTP\/1\.1 404 /,
  );
  assert.equal((await fetch(`${url}/livez`)).status, 200);
});

test('a request with a body is answered and the connection ended, however long the body goes on', async (t) => {
  const { port } = await start(t);
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => socket.destroy());
  socket.write('POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
  const feeding = setInterval(() => socket.write(chunk), 5);
  const answer = await text(socket).catch(() => 'reset');
  clearInterval(feeding);
  assert.match(answer, /^(HTTP\/1\.1 405 |reset)/);
});

test('who connects and says nothing, or half a head, is cut off in time', { timeout: 20_000 }, async (t) => {
  const { port } = await start(t);
  const from = performance.now();
  const answers = await Promise.all([raw(port, ''), raw(port, 'GET /livez HTTP/1.1\r\nHost:')]);
  const ms = performance.now() - from;
  assert.ok(ms > 4000 && ms < 10_000, `${ms} ms`);
  for (const answer of answers) assert.match(answer, /^(HTTP\/1\.1 408 |$)/);
});

for (const [what, bytes] of Object.entries({
  'say nothing': '',
  'say half a head': 'GET /livez HTTP/1.1\r\nHost: a\r\n',
  'keep alive': 'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n',
  'send half a body': 'POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf',
  'do not read': 'GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(200),
}))
  test(`probes are answered beside hundreds of connections that ${what}`, { timeout: 30_000 }, async (t) => {
    const { port } = await start(t);
    const sockets = Array.from({ length: 600 }, () => {
      const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
      socket.on('error', () => socket.destroy());
      if (what === 'do not read') socket.pause();
      t.after(() => socket.destroy());
      return socket;
    });
    await Promise.all(sockets.map((socket) => (socket.connecting ? once(socket, 'connect') : undefined)));
    for (let round = 0; round < 5; round++) {
      const answer = await raw(port, 'GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
      assert.match(answer, /^HTTP\/1\.1 200 /);
    }
  });

test('close ends idle and half-sent connections at once', async () => {
  const metrics = { contentType: 'text/plain', text: () => sleep(60_000, 'never', { ref: false }) };
  const log = createLog('silent');
  const admin = createAdmin({ host: '127.0.0.1', port: 0, readiness: () => judge(HEALTHY), metrics, log });
  const { port } = await admin.listen();
  const sockets: Socket[] = ['', 'GET /li', 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'].map((bytes) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => socket.destroy());
    socket.write(bytes);
    return socket;
  });
  await sleep(100);
  const closed = sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve)));
  const from = performance.now();
  await admin.close();
  await Promise.all(closed);
  assert.ok(performance.now() - from < 1000);
});

test('an address in use rejects listen', async (t) => {
  const { port } = await start(t);
  await assert.rejects(start(t, { port }), { code: 'EADDRINUSE' });
});
