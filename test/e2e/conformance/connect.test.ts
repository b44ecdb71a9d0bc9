/** Section 1: handshakes, credentials, claims, origins. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignJWT } from 'jose';
import { both, matches, metrics, settled, suite } from './client.ts';
import { bearer, handshake } from './handshake.ts';

const { broker: open, connect } = handles(
  suite({ env: { CARILLON_LOG_LEVEL: 'trace', CARILLON_LOG__REPEATS: '0' } }),
);
const { broker: strict } = handles(
  suite({
    config: {
      auth: { allowQueryToken: true, issuer: 'https://id.example', audience: ['carillon', 'other'] },
      origins: ['https://app.example', 'https://*.example.com'],
      missingOrigin: 'deny',
    },
  }),
);
const { broker: small, connect: connectSmall } = handles(
  suite({ config: { limits: { connections: 2, rooms: 2, roomsPerTenant: 2 } } }),
);

/** A suite's broker exists only once its tests run. */
function handles(of: ReturnType<typeof suite>) {
  return { broker: () => of.broker, connect: of.connect };
}

async function status(
  headers: Readonly<Record<string, string | undefined>>,
  query?: string,
): Promise<number> {
  const token = await open().token();
  return (await handshake(open(), { ...bearer(token), ...headers }, query)).status;
}

test('C1.1 a handshake that RFC 6455 does not allow is answered 400, another version 426', async () => {
  assert.equal(await status({}), 101);
  assert.equal(await status({ Upgrade: 'h2c' }), 400);
  assert.equal(await status({ Upgrade: 'WebSocket', Connection: 'keep-alive, upgrade' }), 101);
  assert.equal(await status({ Connection: 'keep-alive' }), 400);
  for (const key of ['not base64 in 24 chars!!', 'dGhlIHNhbXBsZSBub25jZSE='])
    assert.equal(await status({ 'Sec-WebSocket-Key': key }), 400, `key ${key}`);
  for (const key of [undefined, '', 'short'])
    assert.equal(await status({ 'Sec-WebSocket-Key': key }), 426, `key ${key}`);
  for (const version of ['8', '14', undefined]) {
    const answer = await handshake(open(), { 'Sec-WebSocket-Version': version });
    assert.equal(answer.status, 426);
    assert.equal(answer.headers['sec-websocket-version'], '13');
  }
  const plain = await fetch(`${open().httpUrl}/connect`);
  assert.equal(plain.status, 426);
  assert.equal(((await plain.json()) as { code: string }).code, 'bad_request');
});

test('C1.2 the first subprotocol known is picked and echoed alone; none known is answered 400 with their names', async () => {
  const token = await open().token();
  const offers: readonly [string, string][] = [
    ['chat.v1', 'chat.v1'],
    ['chat.v1.msgpack, chat.v1', 'chat.v1.msgpack'],
    ['chat.v9, chat.v1,chat.v1.msgpack', 'chat.v1'],
    [`bearer.${token}, chat.v1.msgpack`, 'chat.v1.msgpack'],
  ];
  for (const [offer, picked] of offers) {
    const answer = await handshake(open(), { ...bearer(token), 'Sec-WebSocket-Protocol': offer });
    assert.equal(answer.status, 101, offer);
    assert.equal(answer.headers['sec-websocket-protocol'], picked, offer);
  }
  for (const offer of [undefined, 'chat.v9', `bearer.${token}`, 'CHAT.V1', '__proto__']) {
    const answer = await handshake(open(), { ...bearer(token), 'Sec-WebSocket-Protocol': offer });
    assert.equal(answer.status, 400, offer);
    assert.match(answer.reason ?? '', /chat\.v1, chat\.v1\.msgpack/);
  }
});

test('C1.3 the credential is the header, else the subprotocol entry, else (where allowed) the query', async () => {
  const good = await open().token({ sub: 'ada' });
  assert.equal(
    (await handshake(open(), { 'Sec-WebSocket-Protocol': `chat.v1, bearer.${good}` })).status,
    101,
  );
  const headerWins = await handshake(open(), {
    ...bearer('a.b.c'),
    'Sec-WebSocket-Protocol': `chat.v1, bearer.${good}`,
  });
  assert.equal(headerWins.status, 401, 'a bad header is not made good by a good subprotocol entry');
  assert.equal((await handshake(open(), {}, `?token=${good}`)).status, 401, 'the query is not looked at');

  const native = { Origin: 'https://app.example' };
  const claims = { iss: 'https://id.example', aud: 'carillon' };
  const query = await strict().token(claims);
  assert.equal((await handshake(strict(), native, `?token=${query}`)).status, 101);
  assert.equal((await handshake(strict(), { ...native, ...bearer('a.b.c') }, `?token=${query}`)).status, 401);
});

test('C1.3 no credential appears in a log', async () => {
  const good = await open().token({ sub: 'someone-to-look-for' });
  const bad = `${good.slice(0, -4)}AAAA`;
  for (const token of [good, bad]) {
    await handshake(open(), bearer(token));
    await handshake(open(), { 'Sec-WebSocket-Protocol': `chat.v1, bearer.${token}` });
    await handshake(open(), {}, `?token=${token}`);
  }
  const client = await connect({ token: good });
  await client.ask({ type: 'refresh', token: bad }, 'error');
  await client.ask({ type: 'refresh', token: good }, 'refreshed');
  await client.close();
  const log = open().logs.join('\n');
  assert.ok(log.includes('someone-to-look-for'), 'there is something in the log at all');
  for (const token of [good, bad]) {
    const [, payload, signature] = token.split('.') as [string, string, string];
    assert.ok(!log.includes(payload) && !log.includes(signature), 'part of a token is in the log');
  }
});

test('C1.4 claims that are missing or not allowed are answered 401', async () => {
  const now = Math.floor(Date.now() / 1000);
  const refused: readonly Record<string, unknown>[] = [
    { sub: undefined },
    { sub: '' },
    { sub: 7 },
    { exp: undefined },
    { exp: 'soon' },
    { nbf: now + 60 },
    { tenant: 'a b' },
    { tenant: '' },
    { rooms: 'all' },
    { rooms: [{ match: '**' }] },
    { rooms: [{ match: 'a:**:b', allow: ['join'] }] },
    { rooms: [{ match: '**', allow: ['everything'] }] },
    { info: { text: 'x'.repeat(1024) } },
    { info: [] },
  ];
  for (const claims of refused) {
    const answer = await handshake(open(), bearer(await open().token(claims)));
    assert.deepEqual([answer.status, answer.code], [401, 'unauthorized'], JSON.stringify(claims));
  }
  // 1,024 bytes of JSON exactly.
  const info = { text: 'x'.repeat(1024 - '{"text":""}'.length) };
  for (const claims of [{ info }, { nbf: now - 60 }, { tenant: 'a-b.C_9' }, { rooms: [] }])
    assert.equal((await handshake(open(), bearer(await open().token(claims)))).status, 101);
});

both('C1.4 C1.7 C4.1 server_info comes first and tells user, tenant and limits', async (encoding) => {
  const ada = await connect({ encoding, claims: { sub: 'ada', tenant: 'acme' } });
  matches(ada.info, { type: 'server_info', user: 'ada', tenant: 'acme' });
  const { maxFrame, heartbeat, limits, reconnect, session, features } = ada.info;
  assert.ok(maxFrame > (limits['payloadBytes'] as number));
  assert.ok(heartbeat > 0 && heartbeat < 60);
  for (const name of ['payloadBytes', 'batch', 'roomsPerConnection', 'historyPage'])
    assert.ok(Number.isInteger(limits[name]) && (limits[name] as number) > 0, name);
  assert.ok(reconnect.minMs > 0 && reconnect.maxMs >= reconnect.minMs);
  assert.ok(features.every((feature) => typeof feature === 'string'));
  const other = await connect({ encoding });
  assert.equal(other.info.tenant, 'default');
  assert.notEqual(other.info.session, session);
});

test('C1.4 iss and aud are checked where configured', async () => {
  const iss = 'https://id.example';
  const tokens: readonly [Record<string, unknown>, number][] = [
    [{ iss, aud: 'carillon' }, 101],
    [{ iss, aud: ['x', 'other'] }, 101],
    [{ iss, aud: 'x' }, 401],
    [{ iss }, 401],
    [{ iss: 'https://evil.example', aud: 'carillon' }, 401],
    [{ aud: 'carillon' }, 401],
  ];
  for (const [claims, expected] of tokens) {
    const token = await strict().token(claims);
    const answer = await handshake(strict(), { ...bearer(token), Origin: 'https://app.example' });
    assert.equal(answer.status, expected, JSON.stringify(claims));
  }
});

test('C1.4 the algorithm of a token is that of the key', async () => {
  const iat = Math.floor(Date.now() / 1000);
  const claims = { sub: 'mallory', iat, exp: iat + 60 };
  const text = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const longKey = new TextEncoder().encode('another key than the one that the broker has, '.repeat(3));
  const other = (alg: string) => new SignJWT(claims).setProtectedHeader({ alg }).sign(longKey);
  for (const token of [
    `${text({ alg: 'none' })}.${text(claims)}.`,
    `${text({ alg: 'none' })}.${text(claims)}.AAAA`,
    await other('HS256'),
    await other('HS512'),
  ])
    assert.equal((await handshake(open(), bearer(token))).status, 401, token);
});

test('C1.5 a refusal says code and reason, and 401 how to authenticate', async () => {
  const none = await handshake(open());
  assert.deepEqual([none.status, none.code], [401, 'unauthorized']);
  assert.match(none.headers['www-authenticate'] ?? '', /^Bearer /);
  const old = await handshake(
    open(),
    bearer(await open().token({ exp: Math.floor(Date.now() / 1000) - 60 })),
  );
  assert.deepEqual([old.status, old.code], [401, 'token_expired']);
  assert.match(old.headers['www-authenticate'] ?? '', /^Bearer /);
  for (const answer of [none, old]) assert.ok((answer.reason ?? '').length > 10);
});

test('C1.5 a node that has its limit of connections answers 503 with Retry-After, until one ends', async () => {
  const [first, second] = [await connectSmall(), await connectSmall()];
  const token = await small().token();
  const full = await handshake(small(), bearer(token));
  assert.deepEqual([full.status, full.code], [503, 'overloaded']);
  assert.ok(Number(full.headers['retry-after']) > 0);
  await first.close();
  assert.equal((await handshake(small(), bearer(token))).status, 101);
  await second.close();
});

test('C1.6 an Origin has to be in the list; a wildcard stands for the hosts below', async () => {
  const token = await strict().token({ iss: 'https://id.example', aud: 'carillon' });
  const origins: readonly [string | undefined, number][] = [
    ['https://app.example', 101],
    ['https://a.example.com', 101],
    ['https://a.b.example.com', 101],
    ['https://example.com', 403],
    ['https://evilexample.com', 403],
    ['https://example.com.evil.net', 403],
    ['http://app.example', 403],
    ['https://app.example:8443', 403],
    ['null', 403],
    [undefined, 403],
  ];
  for (const [Origin, expected] of origins) {
    const answer = await handshake(strict(), { ...bearer(token), Origin });
    assert.equal(answer.status, expected, Origin);
    if (expected === 403) assert.equal(answer.code, 'forbidden');
  }
  assert.equal(await status({ Origin: 'https://anywhere.net' }), 101, 'no list, any origin');
});

test('C1.7 nothing comes before server_info, whatever the client sends at once', async () => {
  const client = await connect();
  client.send([{ type: 'ping', ts: 1 }]);
  await client.expect('pong', { ts: 1 });
  const [first] = client.messages;
  assert.equal(JSON.parse(first?.bytes.toString() ?? '').type, 'server_info');
});

test('C3.7.2 C3.9.2 C4.11 a node that holds limits.rooms rooms answers overloaded, and to try again later', async () => {
  await settled(async () => assert.equal((await metrics(small())).get('carillon_connections'), 0));
  const client = await connectSmall();
  await client.pub('first', 1);
  await client.join('second');
  const requests = [
    { type: 'join', room: 'third' },
    { type: 'pub', room: 'third', payload: 1, msgId: 'm' },
  ];
  for (const request of requests) {
    const answer = await client.refused(request, 'overloaded');
    matches(answer, { limit: 2, retry: true, room: 'third', msgId: 'msgId' in request ? 'm' : undefined });
    assert.ok(answer.retryAfterMs > 0 && answer.reason.length > 0);
  }
  // A room without members and events is let go of for another.
  await client.ask({ type: 'leave', room: 'second' }, 'left');
  await client.join('third');
});
