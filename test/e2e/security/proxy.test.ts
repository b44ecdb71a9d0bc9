/** A real reverse proxy in front, and a client that tries to make the broker read something else than the proxy did. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, type Socket, connect as tcp } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { ACCEPT, type Headers, handshakeText, RawSocket } from '../../support/raw-socket.ts';

const ADMIN = 'an-admin-token-that-only-this-test-uses';

/** Node's own proxy: adds a line of its own to X-Forwarded-For, as several proxies do, instead of extending the first. */
function proxyTo(target: number): Server {
  const forward = (incoming: IncomingMessage) => {
    const headers = [...incoming.rawHeaders, 'X-Forwarded-For', '203.0.113.7'];
    const { method = 'GET', url = '/' } = incoming;
    return httpRequest({ port: target, host: '127.0.0.1', method, path: url, headers });
  };
  const server = createServer((incoming, outgoing) => {
    const onward = forward(incoming);
    onward.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    incoming.pipe(onward);
  });
  server.on('upgrade', (incoming: IncomingMessage, client: Socket) => {
    const onward = forward(incoming);
    client.on('error', () => onward.destroy());
    onward.on('error', () => client.destroy());
    onward.on('response', (answer) => client.end(`HTTP/1.1 ${answer.statusCode} refused\r\n\r\n`));
    onward.on('upgrade', (answer, server) => {
      const lines = Object.entries(answer.headers).map(([name, value]) => `${name}: ${value}\r\n`);
      client.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join('')}\r\n`);
      server.on('error', () => client.destroy());
      client.pipe(server).pipe(client);
    });
    onward.end();
  });
  return server;
}

let broker: RunningBroker;
let proxy: Server;
let port: number;
let front: number;
let token: string;

before(async () => {
  broker = await startBroker({
    env: { CARILLON_ADMIN_TOKEN: ADMIN },
    config: { trustedProxies: 1, limits: { address: { connections: 3 } } },
  });
  port = Number(new URL(broker.httpUrl).port);
  proxy = proxyTo(port);
  await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
  front = (proxy.address() as AddressInfo).port;
  token = await broker.token({ sub: 'ann', scope: 'api' });
});

after(async () => {
  proxy?.closeAllConnections();
  proxy?.close();
  await broker?.kill();
});

const bearer = () => ({ Authorization: `Bearer ${token}` });

async function addresses(): Promise<string[]> {
  const answer = await fetch(`${broker.adminUrl}/admin/v1/connections`, {
    headers: { authorization: `Bearer ${ADMIN}` },
  });
  const { connections } = (await answer.json()) as { connections: { ip: string }[] };
  return connections.map(({ ip }) => ip);
}

async function gone(): Promise<void> {
  for (let tries = 0; (await addresses()).length > 0; tries++) {
    assert.ok(tries < 100, 'connections stay');
    await sleep(20);
  }
}

describe('the address of a client behind a proxy', () => {
  const claims: readonly Headers[] = [
    {},
    { 'X-Forwarded-For': '127.0.0.1' },
    { 'X-Forwarded-For': ['127.0.0.1', '::1', '10.0.0.1'] },
    { 'x-forwarded-for': '198.51.100.1, 198.51.100.2' },
    { 'X-FORWARDED-FOR': ', , ,' },
    { 'X-Forwarded-For': '' },
    { 'X-Forwarded-For': 'unknown, "[::1]:80"' },
    { 'X-Real-IP': '127.0.0.1', Forwarded: 'for=127.0.0.1', 'True-Client-IP': '127.0.0.1' },
    { X_Forwarded_For: '127.0.0.1' },
    { 'X-Forwarded-For': 'x'.repeat(2000) },
  ];
  for (const claim of claims)
    test(`is what the proxy saw: ${JSON.stringify(claim).slice(0, 80)}`, async () => {
      const raw = await RawSocket.upgraded(front, { headers: { ...bearer(), ...claim } });
      assert.deepEqual(await addresses(), ['203.0.113.7']);
      raw.destroy();
      await gone();
    });

  test('so a limit per address cannot be got round by another header each time', async () => {
    const open: RawSocket[] = [];
    for (const claim of claims) {
      const raw = await RawSocket.open(front);
      raw.send(handshakeText({ headers: { ...bearer(), ...claim } }));
      const { status } = await raw.answer();
      assert.equal(status, open.length < 3 ? 101 : 429);
      if (status === 101) open.push(raw);
      else raw.destroy();
    }
    for (const raw of open) raw.destroy();
    await gone();
  });
});

/** All that comes back within a while, as text. */
async function exchange(to: number, text: string): Promise<string> {
  const socket = tcp({ port: to, host: '127.0.0.1' });
  let answer = '';
  socket.on('data', (data) => {
    answer += data.toString('latin1');
  });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write(text, 'latin1');
  await Promise.race([once(socket, 'close'), sleep(400)]);
  socket.destroy();
  return answer;
}

const statuses = (answer: string) =>
  [...answer.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => Number(status));

/** What the attacker would have taken for another request: with the token of a victim that comes along next. */
const INNER = (room = 'honestly') =>
  `POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Length: 33\r\n\r\n{"room":"${room}","payload":123}`;

const FRAMINGS: readonly [string, (inner: string) => string][] = [
  [
    'Content-Length and Transfer-Encoding',
    (i) => `Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${i}`,
  ],
  [
    'Transfer-Encoding and Content-Length',
    (i) => `Transfer-Encoding: chunked\r\nContent-Length: ${5 + i.length}\r\n\r\n0\r\n\r\n${i}`,
  ],
  ['an unknown coding', (i) => `Content-Length: ${i.length}\r\nTransfer-Encoding: xchunked\r\n\r\n${i}`],
  [
    'a coding with a tab',
    (i) => `Content-Length: ${5 + i.length}\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n${i}`,
  ],
  [
    'a blank before the colon',
    (i) => `Content-Length: ${5 + i.length}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n${i}`,
  ],
  [
    'a folded header',
    (i) => `Content-Length: ${5 + i.length}\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${i}`,
  ],
  ['two lengths', (i) => `Content-Length: 0\r\nContent-Length: ${i.length}\r\n\r\n${i}`],
  ['a list of lengths', (i) => `Content-Length: ${i.length}, 0\r\n\r\n${i}`],
  ['a length with a sign', (i) => `Content-Length: +${i.length}\r\n\r\n${i}`],
  ['a negative length', (i) => `Content-Length: -1\r\n\r\n${i}`],
  ['a length in hex', (i) => `Content-Length: 0x${i.length.toString(16)}\r\n\r\n${i}`],
  ['a length beyond 64 bits', (i) => `Content-Length: 18446744073709551616\r\n\r\n${i}`],
  ['bare line feeds', (i) => `Content-Length: ${5 + i.length}\nTransfer-Encoding: chunked\n\n0\n\n${i}`],
  [
    'a NUL in a value',
    (i) => `Content-Length: ${5 + i.length}\r\nX: a\0Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${i}`,
  ],
];

describe('requests within requests', () => {
  for (const [at, [what, frame]] of FRAMINGS.entries())
    test(`${what}: one answer at most, straight and through the proxy, and nothing is published`, async () => {
      const room = `smuggl${10 + at}`;
      for (const to of [front, port]) {
        // A call without rights: whatever is answered 200 was the inner request.
        const outer = `POST /api/v1/publish HTTP/1.1\r\nHost: a\r\n${frame(INNER(room))}`;
        const answer = await exchange(to, outer);
        assert.ok(!statuses(answer).includes(200), answer);
        const upgrade = handshakeText().replace(/\r\n\r\n$/, `\r\n${frame(INNER(room))}`);
        const refused = await exchange(to, upgrade.replace('known.user', 'a.b.c'));
        assert.ok(!statuses(refused).includes(200), refused);
      }
      const history = await fetch(`${broker.httpUrl}/api/v1/rooms/${room}/history`, { headers: bearer() });
      assert.deepEqual(((await history.json()) as { events: unknown[] }).events, []);
    });

  test('two hosts: the connection is ended, with what else came on it', async () => {
    const twice = `Host: b\r\nContent-Length: 0\r\n\r\n${INNER('smuggl99')}`;
    const requests = [
      `POST /api/v1/publish HTTP/1.1\r\nHost: a\r\n${twice}`,
      handshakeText().replace(/\r\n\r\n$/, `\r\n${twice}`),
    ];
    // uWebSockets.js 20.49 says nothing, 20.57 answers 400 once.
    for (const request of requests)
      assert.match(await exchange(port, request), /^(?:HTTP\/1\.1 400 (?:(?!HTTP\/1)[\s\S])*)?$/);
  });

  test('a WebSocket handshake with a body takes none of it for a frame or a request', async () => {
    for (const to of [front, port]) {
      const head = handshakeText({ headers: { ...bearer(), 'Content-Length': '10' } });
      const answer = await exchange(to, `${head}${INNER()}`);
      assert.ok(!statuses(answer).includes(200), answer);
    }
  });

  test('what is published so when it is honest', async () => {
    assert.deepEqual(statuses(await exchange(front, INNER())), [200]);
  });
});

describe('lines within headers', () => {
  const evil = [
    'chat.v1\r\nX-Evil: 1',
    'chat.v1\nX-Evil: 1',
    'chat.v1\rX-Evil: 1',
    'chat.v1\0',
    'chat.v1 \r\n x',
  ];
  for (const offered of evil)
    test(`an offered subprotocol of ${JSON.stringify(offered)} brings no line into the answer`, async () => {
      for (const to of [front, port]) {
        const answer = await exchange(
          to,
          handshakeText({ headers: { ...bearer(), 'Sec-WebSocket-Protocol': offered } }),
        );
        assert.doesNotMatch(answer, /^x-evil/im);
        if (answer.includes(ACCEPT)) assert.match(answer, /^sec-websocket-protocol: chat\.v1\r$/im);
      }
    });

  test('nor does anything in a token, a kid or a path', async () => {
    const head = Buffer.from(JSON.stringify({ alg: 'HS256', kid: 'a\r\nX-Evil: 1' })).toString('base64url');
    for (const to of [front, port]) {
      const texts = [
        handshakeText({ headers: { Authorization: `Bearer ${head}.e30.AAAA` } }),
        handshakeText({ path: '/%0d%0aX-Evil:%201' }),
        `GET /api/v1/rooms/%0d%0aX-Evil:%201/history HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\n\r\n`,
        `GET /api/v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${head}.e30.AAAA\r\n\r\n`,
      ];
      for (const text of texts) assert.doesNotMatch(await exchange(to, text), /^x-evil/im);
    }
  });
});

describe('a header that stands twice', () => {
  for (const [first, second] of [
    ['good', 'bad'],
    ['bad', 'good'],
    ['good', 'good'],
  ] as const)
    test(`two Authorization headers, ${first} and ${second}, are refused by both APIs and the handshake`, async () => {
      const texts = { good: `Bearer ${token}`, bad: 'Bearer a.b.c' };
      const lines = `Authorization: ${texts[first]}\r\nAuthorization: ${texts[second]}\r\n`;
      const rest = 'Host: a\r\nConnection: close\r\n';
      const call = await exchange(port, `GET /api/v1/rooms/a/history HTTP/1.1\r\n${rest}${lines}\r\n`);
      assert.deepEqual(statuses(call), [401]);
      const admin = Number(new URL(broker.adminUrl).port);
      const texted = lines.replaceAll(token, ADMIN);
      assert.deepEqual(
        statuses(await exchange(admin, `GET /admin/v1/stats HTTP/1.1\r\n${rest}${texted}\r\n`)),
        [401],
      );
      const upgrade = handshakeText({ headers: { Authorization: [texts[first], texts[second]] } });
      assert.deepEqual(statuses(await exchange(port, upgrade)), [400]);
    });
});
