/** Revocations and bans as clients, backends and administrators of one broker see them. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { JWTPayload } from 'jose';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { ADMIN, admin, call, visit } from './visitor.ts';

const dir = mkdtempSync(join(tmpdir(), 'carillon-state-'));
let broker: RunningBroker;
let users = 0;

const now = () => Math.floor(Date.now() / 1000);
const fresh = () => `user-${++users}`;
const start = () =>
  startBroker({
    env: { CARILLON_ADMIN_TOKEN: ADMIN },
    config: {
      state: { dir },
      auth: { requireIat: false },
      trustedProxies: 1,
      limits: { protocolErrors: 1 },
      abuse: { offences: 3, addressConnects: 10, tarpitMs: '100ms' },
    },
  });

before(async () => {
  broker = await start();
});

after(async () => {
  await broker?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const token = async (claims: JWTPayload) => `bearer.${await broker.token({ iat: now(), ...claims })}`;
const revoke = async (body: object) => {
  const { status } = await admin(broker, 'POST', 'revoke', body);
  assert.equal(status, 200);
};
const ban = async (body: object) => {
  const answer = await admin(broker, 'POST', 'bans', body);
  assert.equal(answer.status, 200, JSON.stringify(answer.body));
  return String(answer.body['id']);
};

test('C1.11 C1.5 a token by its jti: 4001, then 401 for it and its tickets, also after a restart', async () => {
  const [sub, jti] = [fresh(), fresh()];
  const bad = await token({ sub, jti });
  const good = await token({ sub, jti: `${jti}-2` });
  const [ann, again, other] = [
    await visit(broker.url, bad),
    await visit(broker.url, bad),
    await visit(broker.url, good),
  ];
  await revoke({ jti, reason: 'leaked' });
  for (const { closed } of [ann, again]) {
    const { code, reason } = await closed;
    assert.deepEqual([code, reason], [4001, 'revoked: leaked']);
  }
  const check = async () => {
    for (const credential of [bad, ann.ticket, again.ticket]) {
      const { status, code, reason } = await visit(broker.url, credential);
      assert.deepEqual([status, code, reason], [401, 'unauthorized', 'revoked: leaked']);
    }
  };
  await check();
  other.socket.send(JSON.stringify({ type: 'refresh', id: 7, token: bad.slice('bearer.'.length) }));
  const refused = await new Promise((resolve) =>
    other.socket.once('message', (data) => resolve(String(data))),
  );
  assert.match(String(refused), /"code":"unauthorized","reason":"revoked: leaked".*"id":7/);
  other.socket.close();
  await broker.kill();
  broker = await start();
  await check();
  (await visit(broker.url, good)).socket.close();
});

test('C1.11 tokens of a user before a time: new ones are good', async () => {
  const sub = fresh();
  const [old, young] = [await token({ sub, iat: now() - 100 }), await token({ sub, iat: now() - 10 })];
  const timeless = `bearer.${await broker.token({ sub, iat: undefined } as unknown as JWTPayload)}`;
  const visits = [
    await visit(broker.url, old),
    await visit(broker.url, young),
    await visit(broker.url, timeless),
  ];
  await revoke({ user: sub, before: now() - 50 });
  assert.equal((await visits[0]?.closed)?.code, 4001);
  assert.equal((await visits[2]?.closed)?.code, 4001);
  const statuses = await Promise.all(
    [old, young, timeless].map(async (each) => (await visit(broker.url, each)).status),
  );
  assert.deepEqual(statuses, [401, 101, 401]);
  await revoke({ user: sub });
  assert.equal((await visits[1]?.closed)?.code, 4001);
  assert.equal((await visit(broker.url, visits[1]?.ticket ?? '')).status, 401);
});

test('C1.11 a session with its tickets; the token behind it begins another one', async () => {
  const credential = await token({ sub: fresh() });
  const { session, ticket, closed } = await visit(broker.url, credential);
  await revoke({ session });
  assert.equal((await closed).code, 4001);
  assert.equal((await visit(broker.url, ticket)).status, 401);
  (await visit(broker.url, credential)).socket.close();
});

test('C1.12 C1.5 bans of users, addresses, networks and tenants, until they are lifted', async () => {
  const sub = fresh();
  const credential = await token({ sub, tenant: 'acme' });
  const from = { 'X-Forwarded-For': '203.0.113.7' };
  const targets = [
    { user: sub },
    { user: sub, tenant: 'acme' },
    { ip: '203.0.113.7' },
    { cidr: '203.0.113.0/24' },
    { tenant: 'acme', seconds: 600 },
  ];
  for (const target of targets) {
    const inside = await visit(broker.url, credential, from);
    const id = await ban({ ...target, reason: 'spam' });
    const { code, reason } = await inside.closed;
    assert.deepEqual([code, reason], [4003, 'banned: spam'], JSON.stringify(target));
    for (const each of [credential, inside.ticket]) {
      const refused = await visit(broker.url, each, from);
      assert.deepEqual([refused.status, refused.code, refused.reason], [403, 'forbidden', 'banned: spam']);
    }
    const listed = (await admin(broker, 'GET', 'bans')).body['bans'] as {
      id: string;
      by: string;
      until?: number;
    }[];
    assert.deepEqual(
      listed.map((each) => [each.id, each.by, each.until !== undefined]),
      [[id, 'admin', 'seconds' in target]],
    );
    assert.equal((await admin(broker, 'DELETE', `bans/${id}`)).status, 200);
    assert.equal((await admin(broker, 'DELETE', `bans/${id}`)).status, 404);
  }
  (await visit(broker.url, credential, from)).socket.close();
});

test('C1.12 who breaks the protocol again and again is banned with its address, and waits for the answer', async () => {
  const from = { 'X-Forwarded-For': '198.51.100.9' };
  const offend = async () => {
    const { socket, closed } = await visit(broker.url, await token({ sub: fresh() }), from);
    for (let n = 0; n < 3; n++) socket.send('{"type":"nonsense"}');
    assert.equal((await closed).code, 4002);
  };
  for (let n = 0; n < 4; n++) await offend();
  const refusal = async () => {
    const begun = performance.now();
    const { status, reason } = await visit(broker.url, await token({ sub: fresh() }), from);
    return { status, reason, ms: performance.now() - begun };
  };
  let last = await refusal();
  for (const until = Date.now() + 2000; last.status === 101 && Date.now() < until; ) last = await refusal();
  assert.equal(last.status, 403);
  assert.match(last.reason ?? '', /closed for what they sent/);
  assert.ok(last.ms >= 95, `${last.ms}`);
  const { bans } = (await admin(broker, 'GET', 'bans')).body as {
    bans: { id: string; by: string; network: string }[];
  };
  assert.deepEqual(
    bans.map(({ by, network }) => [by, network]),
    [['abuse', '198.51.100.9']],
  );
  await admin(broker, 'DELETE', `bans/${bans[0]?.id}`);
});

test('a revoked token makes no calls of the APIs either', async () => {
  const jti = fresh();
  const backend = await broker.token({ sub: 'backend', scope: 'api', tenant: 'acme', jti, iat: now() });
  const path = '/api/v1/tokens/revoke';
  const user = fresh();
  const [own, foreign] = [
    await token({ sub: user, tenant: 'acme' }),
    await token({ sub: user, tenant: 'other' }),
  ];
  assert.equal((await call(broker.httpUrl, backend, 'POST', path, { user, before: now() + 1 })).status, 200);
  assert.equal((await visit(broker.url, own)).status, 401);
  // A backend revokes within its own tenant.
  const other = await visit(broker.url, foreign);
  assert.equal(other.status, 101);
  other.socket.close();
  assert.equal((await call(broker.httpUrl, backend, 'POST', path, { user, tenant: 'other' })).status, 403);
  assert.equal((await call(broker.httpUrl, backend, 'POST', path, { jti })).status, 200);
  assert.equal((await call(broker.httpUrl, backend, 'POST', path, { jti })).status, 401);
});

test('calls that name nobody, several at once, or what cannot be', async () => {
  const revokes = [
    {},
    { jti: 'a', user: 'b' },
    { user: 'b', before: now() + 3600 },
    { jti: 5 },
    { user: '' },
  ];
  for (const body of revokes) assert.equal((await admin(broker, 'POST', 'revoke', body)).status, 400);
  const bans = [
    {},
    { ip: '1.2.3.4', cidr: '1.2.3.0/24' },
    { ip: '1.2.3.4', user: 'a' },
    { ip: 'example.com' },
    { cidr: '0.0.0.0/0' },
    { user: 'a', seconds: 0 },
  ];
  for (const body of bans)
    assert.equal((await admin(broker, 'POST', 'bans', body)).status, 400, JSON.stringify(body));
  assert.equal((await call(broker.adminUrl, 'wrong', 'POST', '/admin/v1/revoke', { jti: 'a' })).status, 401);
});
