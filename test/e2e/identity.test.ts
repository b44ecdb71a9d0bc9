/** A real broker whose keys come from a real HTTP server, and whose session tokens a real service vouches for. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type JWTPayload, SignJWT } from 'jose';
import { WebSocket } from 'ws';
import { issuer, json } from '../auth/issuer.ts';
import { type RunningBroker, withBroker } from '../support/broker.ts';

const ISS = 'https://issuer.example';

function pair(kid: string) {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'EdDSA', use: 'sig' };
  const token = (claims: JWTPayload = {}) =>
    new SignJWT({ sub: 'alice', rooms: [{ match: '**', allow: ['join', 'pub'] }], ...claims })
      .setProtectedHeader({ alg: 'EdDSA', kid })
      .setIssuedAt()
      .setIssuer(ISS)
      .setAudience('carillon')
      .setExpirationTime('1h')
      .sign(privateKey);
  return { jwk, token };
}

interface Attempt {
  readonly status: number;
  readonly code?: string;
  readonly retryAfter?: string | undefined;
  readonly socket?: WebSocket;
}

/** 101 with the open socket after its first frame, or the refusal. */
function connect(broker: RunningBroker, token: string): Promise<Attempt> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(broker.url, ['chat.v1'], { headers: { Authorization: `Bearer ${token}` } });
    socket.once('error', reject);
    socket.once('message', () => resolve({ status: 101, socket }));
    socket.once('unexpected-response', (_request, response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += String(chunk);
      });
      response.on('end', () => {
        const { code } = JSON.parse(body) as { code: string };
        resolve({ status: response.statusCode ?? 0, code, retryAfter: response.headers['retry-after'] });
      });
    });
  });
}

/** The answer; new tickets, which come when they like, are passed over. */
function ask(socket: WebSocket, frame: object): Promise<Record<string, unknown>> {
  return new Promise((resolve) => {
    const listen = (data: Buffer) => {
      const answer = JSON.parse(String(data)) as Record<string, unknown>;
      if (answer['type'] === 'ticket') return;
      socket.off('message', listen);
      resolve(answer);
    };
    socket.on('message', listen);
    socket.send(JSON.stringify(frame));
  });
}

test('rotation at the issuer: no valid token is refused, and nobody has to reconnect', async (t) => {
  const [old, next] = [pair('old'), pair('next')];
  const server = await issuer(t, json({ keys: [old.jwk] }));
  const auth = { issuer: ISS, audience: 'carillon', jwksUrl: server.url };
  await withBroker({ env: { CARILLON_JWT_SECRET: '' }, config: { auth } }, async (broker) => {
    const { socket } = await connect(broker, await old.token());
    assert.ok(socket);
    server.answer = json({ keys: [old.jwk, next.jwk] });
    const after = await connect(broker, await next.token({ sub: 'bob' }));
    assert.equal(after.status, 101);
    const fresh = await next.token();
    assert.equal((await ask(socket, { type: 'refresh', id: 1, token: fresh }))['type'], 'refreshed');
    assert.equal((await ask(socket, { type: 'ping' }))['type'], 'pong');
    assert.equal((await connect(broker, await old.token({ sub: 'carol' }))).status, 101);
    const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
    assert.match(metrics, /carillon_jwks_refreshes_total\{outcome="ok"\} 2/);
    assert.match(metrics, /carillon_jwks_keys\{set="https:\/\/issuer\.example url"\} 2/);
    const signed = [fresh, await old.token()].flatMap((token) => token.split('.').slice(1));
    for (const secret of signed) assert.ok(!broker.logs.join('\n').includes(secret));
  });
});

test('C1.5.1 a credential that nobody can judge now is answered with 503, and taken later', async (t) => {
  const key = pair('k');
  const server = await issuer(t, json('', 500));
  const hook = await issuer(t, json('', 500));
  const auth = {
    issuer: ISS,
    audience: 'carillon',
    jwksUrl: server.url,
    jwks: { cooldownMs: '100ms' },
    webhook: { url: hook.url, openMs: '100ms' },
  };
  await withBroker({ env: { CARILLON_JWT_SECRET: '' }, config: { auth } }, async (broker) => {
    const token = await key.token();
    for (const credential of [token, 'S3CRET-session']) {
      const { status, code, retryAfter } = await connect(broker, credential);
      assert.deepEqual([status, code], [503, 'unavailable']);
      assert.ok(Number(retryAfter) >= 1);
    }
    server.answer = json({ keys: [key.jwk] });
    const exp = Math.floor(Date.now() / 1000) + 3600;
    hook.answer = json({ claims: { sub: 'dora', exp } });
    await sleep(200);
    const [mine, theirs] = [await connect(broker, token), await connect(broker, 'S3CRET-session')];
    assert.deepEqual([mine.status, theirs.status], [101, 101]);
    // In band the same: the old token goes on to hold.
    hook.answer = json('', 500);
    assert.ok(theirs.socket);
    const refused = await ask(theirs.socket, { type: 'refresh', id: 2, token: 'S3CRET-other' });
    assert.deepEqual([refused['type'], refused['code'], refused['retry']], ['error', 'unavailable', true]);
    assert.equal((await ask(theirs.socket, { type: 'ping' }))['type'], 'pong');
    hook.answer = json('', 401);
    assert.equal((await connect(broker, 'S3CRET-stranger')).status, 401);
    const all = broker.logs.join('\n');
    assert.match(all, /key set could not be fetched/);
    for (const secret of ['S3CRET', ...token.split('.').slice(1)]) assert.ok(!all.includes(secret), all);
  });
});
