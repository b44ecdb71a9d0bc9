/** Doors that ought to be shut: the admin listener and the development token, for strangers and for pages of other sites. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as tcp } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningBroker, startBroker, withBroker } from '../../support/broker.ts';
import { handshakeText, RawSocket } from '../../support/raw-socket.ts';
import { knock } from './attacker.ts';

const ADMIN = 'an-admin-token-that-only-this-test-uses';

/** The status of one request in plain text; undefined: cut off without an answer. */
async function ask(base: string, first: string, headers = ''): Promise<{ status?: number; text: string }> {
  const socket = tcp({ port: Number(new URL(base).port), host: '127.0.0.1' });
  let text = '';
  socket.on('data', (data) => {
    text += data.toString('latin1');
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(`${first}\r\nHost: 127.0.0.1\r\nConnection: close\r\n${headers}\r\n`);
  await Promise.race([once(socket, 'close'), sleep(300)]);
  socket.destroy();
  const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
  return { text, ...(status !== undefined && { status: Number(status) }) };
}

describe('the admin listener', () => {
  let broker: RunningBroker;
  before(async () => {
    broker = await startBroker({
      env: { CARILLON_ADMIN_TOKEN: ADMIN },
      config: { api: { failuresPerMinute: 100_000 } },
    });
  });
  after(() => broker?.stop());

  test('every call in its description is refused without a token, and with one of no scope', async () => {
    const description = (await import('../../../docs/openapi.json', { with: { type: 'json' } })) as {
      default: { paths: Record<string, Record<string, unknown>> };
    };
    const plain = await broker.token({ sub: 'mallory', scope: 'administrator admins api' });
    let calls = 0;
    for (const [path, methods] of Object.entries(description.default.paths))
      for (const method of Object.keys(methods)) {
        if (!path.startsWith('/admin/v1/')) continue;
        calls++;
        const first = `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, 'x')} HTTP/1.1`;
        assert.equal((await ask(broker.adminUrl, first)).status, 401, first);
        const basic = `Authorization: Basic ${Buffer.from(`admin:${ADMIN}`).toString('base64')}\r\n`;
        assert.equal((await ask(broker.adminUrl, first, basic)).status, 401, first);
        const scoped = `Authorization: Bearer ${plain}\r\n`;
        assert.equal((await ask(broker.adminUrl, first, scoped)).status, 403, first);
        const open = await ask(broker.httpUrl, first, `Authorization: Bearer ${ADMIN}\r\n`);
        assert.ok(open.status === 404 || open.status === 405, first);
      }
    assert.ok(calls >= 8, `${calls} calls`);
  });

  const SPELLINGS = [
    '/admin/v1/stats/',
    '//admin/v1/stats',
    '/./admin/v1/stats',
    '/livez/../admin/v1/stats',
    '/api/v1/../../admin/v1/stats',
    '/%61dmin/v1/stats',
    '/admin%2fv1%2fstats',
    '/Admin/V1/Stats',
    '/admin/v1/stats;x',
    '/admin/v1/stats%00',
    '/admin/v1/stats#x',
    'http://127.0.0.1/admin/v1/stats',
    '*',
  ];
  for (const path of SPELLINGS)
    test(`GET ${path} gives no answer to a stranger, on either port, nor to the admin on the public one`, async () => {
      for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS', 'TRACE', 'CONNECT', 'get', 'PRI'])
        for (const [base, headers] of [
          [broker.adminUrl, ''],
          [broker.httpUrl, ''],
          [broker.httpUrl, `Authorization: Bearer ${ADMIN}\r\n`],
        ] as const) {
          const { status = 0, text } = await ask(base, `${method} ${path} HTTP/1.1`, headers);
          assert.ok(status === 0 || status >= 400, `${method}: ${text}`);
          assert.ok(!text.includes(ADMIN), text);
        }
    });

  test('other methods than the one of a call are refused, also those that a header asks for', async () => {
    const bearer = `Authorization: Bearer ${ADMIN}\r\n`;
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND'])
      assert.equal(
        (await ask(broker.adminUrl, `${method} /admin/v1/stats HTTP/1.1`, bearer)).status,
        405,
        method,
      );
    for (const header of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override']) {
      const { status } = await ask(
        broker.adminUrl,
        'GET /admin/v1/kick HTTP/1.1',
        `${bearer}${header}: POST\r\n`,
      );
      assert.equal(status, 405, header);
    }
  });

  test('a page of another site can neither call it nor read it: no CORS headers, no answer to a preflight', async () => {
    const origin = 'Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n';
    for (const base of [broker.adminUrl, broker.httpUrl])
      for (const path of ['/admin/v1/stats', '/api/v1/publish', '/livez', '/dev/token?sub=x']) {
        for (const method of ['OPTIONS', 'GET']) {
          const { text } = await ask(base, `${method} ${path} HTTP/1.1`, origin);
          assert.doesNotMatch(text, /^access-control/im);
        }
      }
    assert.equal(
      (await ask(broker.httpUrl, 'GET /dev/token?sub=x HTTP/1.1')).status,
      404,
      'not in production',
    );
  });

  test('the WebSocket is not on the admin listener, nor is the token of the admin one of a client', async () => {
    const headers = { authorization: `Bearer ${ADMIN}` };
    const onAdmin = await knock(broker.adminUrl.replace('http', 'ws').concat('/connect'), { headers });
    assert.notEqual(onAdmin.status, 101);
    assert.equal((await knock(broker.url, { headers })).status, 401);
  });

  test('nothing at all without an admin token: neither an empty one nor the word undefined opens it', async () => {
    await withBroker({ env: { CARILLON_ADMIN_TOKEN: '' } }, async (bare) => {
      for (const token of ['', 'undefined', 'null', 'x', '0'])
        for (const header of [`Authorization: Bearer ${token}\r\n`, `Authorization: ${token}\r\n`])
          assert.equal(
            (await ask(bare.adminUrl, 'GET /admin/v1/stats HTTP/1.1', header)).status,
            401,
            header,
          );
    });
  });
});

describe('the development token', () => {
  let broker: RunningBroker;
  before(async () => {
    broker = await startBroker({ env: { CARILLON_JWT_SECRET: '' } });
  });
  after(() => broker?.stop());
  const dev = (headers: string, host = 'Host: localhost') => {
    const first = `GET /dev/token?sub=me HTTP/1.1\r\n${host}`;
    return ask(broker.httpUrl, first, headers);
  };
  /** `ask` has a Host of its own: this one has it replaced. */
  async function raw(lines: string): Promise<number | undefined> {
    const socket = tcp({ port: Number(new URL(broker.httpUrl).port), host: '127.0.0.1' });
    let text = '';
    socket.on('data', (data) => {
      text += data.toString('latin1');
    });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(`GET /dev/token?sub=me HTTP/1.1\r\n${lines}\r\n\r\n`);
    await Promise.race([once(socket, 'data'), once(socket, 'close'), sleep(1000)]);
    socket.destroy();
    const status = /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1];
    return status === undefined ? undefined : Number(status);
  }

  test('is for the page of this broker', async () => {
    assert.equal(await raw('Host: localhost:8080'), 200);
    assert.equal(
      await raw('Host: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\nOrigin: http://127.0.0.1'),
      200,
    );
    assert.equal(await raw('Host: [::1]:1\r\nSec-Fetch-Site: none'), 200);
  });

  for (const lines of [
    'Host: localhost\r\nOrigin: https://evil.example',
    'Host: localhost\r\nOrigin: null',
    'Host: localhost:8080\r\nOrigin: http://localhost:3000',
    'Host: localhost\r\nSec-Fetch-Site: cross-site',
    'Host: localhost\r\nSec-Fetch-Site: same-site',
    'Host: evil.example',
    'Host: localhost.evil.example',
    'Host: 127.0.0.1.evil.example',
    'Host: localhost@evil.example',
    'Host: 127.0.0.1:80:80',
    'Host: ',
    'X: y',
  ])
    test(`is not given to ${JSON.stringify(lines)}`, async () => {
      const status = await raw(lines);
      assert.ok(status === undefined || status >= 400, `${status}`);
    });

  test('two hosts get none, and no other method does', async () => {
    // uWebSockets.js 20.49 ends the connection without a word, 20.57 with 400.
    assert.ok([undefined, 400].includes((await dev('')).status));
    for (const method of ['POST', 'PUT', 'DELETE'])
      assert.equal((await ask(broker.httpUrl, `${method} /dev/token?sub=me HTTP/1.1`)).status, 405);
  });

  test('its answer cannot be read as a script, a frame or from a cache', async () => {
    const { text } = await ask(broker.httpUrl, 'GET /dev/token?sub=me HTTP/1.1');
    assert.match(text, /^cache-control: no-store/im);
    assert.match(text, /^x-content-type-options: nosniff/im);
    assert.match(text, /^cross-origin-resource-policy: same-origin/im);
  });
});

describe('a handshake from a page of another site', () => {
  let broker: RunningBroker;
  before(async () => {
    const origins = ['https://app.example.org', 'https://*.example.com', 'http://localhost:3000'];
    broker = await startBroker({ config: { origins, missingOrigin: 'deny' } });
  });
  after(() => broker?.stop());

  const TRICKS = [
    'https://app.example.org.',
    'https://app.example.org:443.evil.example',
    'https://app.example.org:444',
    'https://app.example.org.evil.example',
    'https://evilapp.example.org',
    'https://app.example.org@evil.example',
    'https://app:pw@app.example.org',
    'https://app.example.org/',
    'https://app.example.org\\@evil.example',
    'https://xn--pp-xka.example.org',
    'https://app.example.org%00.evil.example',
    'https://app%2eexample%2eorg',
    'https://example.com',
    'https://.example.com',
    'https://*.example.com',
    'https://evilexample.com',
    'https://a.example.com.',
    'http://a.example.com',
    'http://localhost:3001',
    'http://127.0.0.1:3000',
    'http://[::1]:3000',
    'http://2130706433:3000',
    'file://',
    'null',
    '*',
    'https://app.example.org, https://evil.example',
    'https://evil.example https://app.example.org',
  ];
  test('the origins of the list, in the spellings of browsers', async () => {
    for (const origin of [
      'https://app.example.org',
      'https://APP.example.org',
      'https://app.example.org:443',
      'https://a.b.example.com',
    ])
      assert.equal((await attempt({ origin })).status, 101, origin);
  });
  const attempt = async (headers: Record<string, string>) =>
    knock(broker.url, { protocols: ['chat.v1', `bearer.${await broker.token()}`], headers });

  for (const origin of TRICKS)
    test(`403: ${origin}`, async () => {
      const allowed = 'https://app.example.org';
      for (const headers of [
        { origin },
        { origin, referer: allowed, host: 'app.example.org', 'x-forwarded-host': 'app.example.org' },
        { origin, 'sec-websocket-origin': allowed },
      ])
        assert.deepEqual(await attempt(headers), { status: 403, code: 'forbidden' });
    });

  test('403: two Origin headers, whichever comes first', async () => {
    const Authorization = `Bearer ${await broker.token()}`;
    const [good, evil] = ['https://app.example.org', 'https://evil.example'];
    for (const [Origin, status] of [
      [[good], 101],
      [[good, evil], 403],
      [[evil, good], 403],
    ] as const) {
      const raw = await RawSocket.open(Number(new URL(broker.httpUrl).port));
      raw.send(handshakeText({ headers: { Authorization, Origin } }));
      assert.equal((await raw.answer()).status, status);
      raw.destroy();
    }
  });

  test('403: none at all, where missingOrigin is deny', async () => {
    assert.equal((await attempt({})).status, 403);
  });
});
