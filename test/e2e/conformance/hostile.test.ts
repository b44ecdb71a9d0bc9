/** Clauses 3.5, 5.8 and 5.9: nothing that a client sends does harm. The suite looks at the broker's health at its end. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect as tcp } from 'node:net';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Rng } from '../../support/rng.ts';
import { both, fresh, matches, metrics, pack, suite } from './client.ts';

const tests = suite({ config: { limits: { inboundQueueBytes: '256KiB', turnMessages: 16 } } });
const { connect } = tests;

/** limits.protocolErrors as it ships. */
const ERRORS = 50;

both('C3.5 C6.2 more than limits.protocolErrors errors end the connection with 4002', async (encoding) => {
  const kinds: readonly [string, unknown][] = [
    ['bad_type', { type: 'nonsense' }],
    ['bad_frame', { type: 'pub', room: 'r' }],
    ['bad_frame', 7],
    ['bad_room', { type: 'join', room: 'a b' }],
    ['payload_too_large', { type: 'pub', room: 'r', payload: 'x'.repeat(70_000) }],
  ];
  for (const [code, frame] of kinds) {
    const client = await connect({ encoding });
    // Those that are answered for every frame, and as many as the node lets wait.
    const burst = code === 'payload_too_large' ? 1 : 30;
    for (let sent = 0; sent < ERRORS; sent += burst) {
      const count = Math.min(burst, ERRORS - sent);
      client.send(count === 1 ? (frame as { type: string }) : Array(count).fill(frame));
      for (let at = 0; at < count; at++) await client.expect('error', { code });
    }
    await client.quiet();
    client.send(Array(5).fill({ type: 'nonsense' }));
    assert.equal((await client.closed).code, 4002, code);
  }
});

both('C3.5 errors that are no fault of the protocol do not count', async (encoding) => {
  const client = await connect({ encoding, claims: { rooms: [{ match: 'a', allow: ['join'] }] } });
  await client.join('a');
  for (let round = 0; round < 3; round++) {
    for (const request of [
      { type: 'join', room: 'a' },
      { type: 'join', room: 'b' },
      { type: 'leave', room: 'b' },
      { type: 'refresh', token: 'no.such.token' },
    ]) {
      client.send(Array(15).fill(request));
      for (let at = 0; at < 15; at++) await client.expect('error');
    }
  }
  await client.quiet();
});

both('C5.8 a frame of 1 MB, of 16 MB: the connection ends, and nobody else is harmed', async (encoding) => {
  const other = await connect({ encoding });
  const room = fresh();
  await other.join(room);
  for (const megabytes of [1, 16]) {
    const client = await connect({ encoding });
    await client.join(room);
    const frame = { type: 'pub', room, payload: 'x'.repeat(megabytes * 1024 * 1024) };
    client.sendRaw(encoding === 'json' ? JSON.stringify(frame) : pack(frame));
    assert.equal((await client.closed).code, 1006);
  }
  await other.pub(room, 'fine');
  await other.expect('event', { payload: 'fine' });
  await other.quiet();
});

const TEXT_BOMBS: readonly string[] = [
  '['.repeat(100_000),
  '{"a":'.repeat(20_000),
  `${'['.repeat(100)}${']'.repeat(100)}`,
  `{"type":"pub","room":"r","payload":${'['.repeat(50_000)}`,
  `{"type":"pub","room":"r","payload":${'[1,'.repeat(20_000)}`,
  `{${Array.from({ length: 5000 }, (_, at) => `"k${at}":1`).join(',')}}`,
  `{"type":"ping","ts":${'9'.repeat(100_000)}}`,
  `"${'\\u0000'.repeat(20_000)}"`,
  `{"type":"${'x'.repeat(100_000)}"}`,
  `[${'{"type":"ping"},'.repeat(5000)}]`,
  `{"type":"pub","room":"r","payload":"${'\\"'.repeat(60_000)}`,
];

const BINARY_BOMBS: readonly Buffer[] = [
  ...TEXT_BOMBS.map((text) => Buffer.from(text)),
  Buffer.alloc(100_000, 0x91),
  Buffer.alloc(100_000, 0x81),
  Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0xdb, 0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0xc6, 0xff, 0xff, 0xff, 0xff]),
  Buffer.concat([Buffer.from([0xdc, 0xff, 0xff]), Buffer.alloc(65_535, 0xc0)]),
];

both('C5.8 C3.4 bombs of nesting, keys and lengths are answered with one error each', async (encoding) => {
  const client = await connect({ encoding });
  for (const bomb of encoding === 'json' ? TEXT_BOMBS : BINARY_BOMBS) {
    const start = performance.now();
    client.sendRaw(bomb);
    const { code } = await client.expect('error');
    assert.ok(['bad_json', 'bad_frame', 'bad_type', 'payload_too_large'].includes(code), code);
    assert.ok(performance.now() - start < 2000);
  }
  await client.quiet();
});

function spoilt(bytes: Buffer, rng: Rng): Buffer {
  const copy = Buffer.from(bytes);
  copy[rng.below(copy.length)] = rng.below(256);
  return copy;
}

both('C5.8 messages of random bytes, and good ones with a byte changed', async (encoding) => {
  const rng = new Rng(7);
  const frame = { type: 'pub', room: 'r', payload: { a: [1, 'é', null] }, id: 1, msgId: 'm' };
  const good = encoding === 'json' ? Buffer.from(JSON.stringify(frame)) : pack(frame);
  for (let connection = 0; connection < 8; connection++) {
    const client = await connect({ encoding });
    for (let at = 0; at < ERRORS - 10; at++) {
      const data =
        at % 2 === 0
          ? Buffer.from(Array.from({ length: 1 + rng.below(60) }, () => rng.below(128)))
          : spoilt(good, rng);
      client.sendRaw(data, encoding === 'msgpack');
    }
    // JSON that is not UTF-8 ends a connection; whatever else is answered.
    const ending = await Promise.race([client.closed, client.fence().catch(() => undefined)]);
    if (encoding === 'msgpack') assert.ok(Array.isArray(ending));
    client.socket.terminate();
  }
});

test('C5.8 bytes that are no HTTP, half requests and half handshakes leave nothing behind', async () => {
  const { hostname, port } = new URL(tests.broker.httpUrl);
  const rng = new Rng(11);
  const texts = [
    'GET /connect HTTP/1.1\r\nUpgrade: websocket\r\n',
    '\u0016\u0003\u0001\u0002\u0000\u0001\u0000',
    'POST /connect HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx',
    `GET /${'a'.repeat(10_000)} HTTP/1.1\r\n\r\n`,
    'GET /connect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzz\r\n',
    Array.from({ length: 2000 }, () => String.fromCharCode(rng.below(256))).join(''),
  ];
  const sockets = texts.map((text) => {
    const socket = tcp(Number(port), hostname);
    socket.on('error', () => socket.destroy());
    socket.write(text, 'latin1');
    return socket;
  });
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (const socket of sockets) socket.destroy();
  await (await connect()).quiet();
});

test('C5.8 a client killed in the middle of a frame leaves its rooms', { timeout: 30_000 }, async () => {
  const watcher = await connect();
  const room = fresh();
  await watcher.join(room, { presence: true });
  const program = fileURLToPath(new URL('half-frame.mjs', import.meta.url));
  const token = await tests.broker.token({ sub: 'victim' });
  const child = spawn(process.execPath, [program, new URL(tests.broker.httpUrl).port, token, room], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  matches(await watcher.ask({ type: 'presence', room }, 'presence'), { count: 2 });
  const before = await metrics(tests.broker);
  child.kill('SIGKILL');
  await watcher.until('presence', { mode: 'delta', count: 1 });
  await watcher.pub(room, 'went on');
  await watcher.expect('event', { payload: 'went on' });
  const after = await metrics(tests.broker);
  for (const name of ['carillon_connections', 'carillon_memberships'])
    assert.equal(after.get(name), (before.get(name) ?? Number.NaN) - 1, name);
});

both(
  'C5.9 C6.2 who sends more than the node handles waits in order, and beyond limits.inboundQueueBytes gets 4101',
  async (encoding) => {
    const [client, other] = [await connect({ encoding }), await connect({ encoding })];
    const burst = Array.from({ length: 200 }, (_, ts) => ts);
    for (const ts of burst) client.send({ type: 'ping', ts });
    for (const ts of burst) await client.expect('pong', { ts });
    const data = encoding === 'json' ? '{"type":"ping"}' : pack({ type: 'ping' });
    for (let at = 0; at < 30_000; at++) client.sendRaw(data);
    assert.equal((await client.closed).code, 4101);
    await other.quiet();
  },
);

test('C5.8 the process has not grown beyond reason', async () => {
  const samples = await metrics(tests.broker);
  const rss = samples.get('carillon_process_memory_bytes{kind="resident"}') ?? Number.NaN;
  assert.ok(rss < 512 * 1024 * 1024, `${rss} bytes`);
  for (const code of ['bad_json', 'bad_frame', 'bad_type', 'payload_too_large'])
    assert.ok((samples.get(`carillon_errors_total{code="${code}"}`) ?? 0) > 0, code);
  assert.ok((samples.get('carillon_closes_total{reason="too_many_errors"}') ?? 0) > 0);
});
