/** No credential in any log: a run at the most talkative level in which they travel in every way that there is. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { issuer, json } from '../../auth/issuer.ts';
import { type BrokerOptions, type RunningBroker, startBroker } from '../../support/broker.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { freePorts } from '../../support/port.ts';
import { handshakeText, RawSocket } from '../../support/raw-socket.ts';
import { forge, hmac, knock } from './attacker.ts';

const ADMIN = 'admin-credential-4f1d0c2b9a8e7d6c5b4a39281706';
const NATS_PASSWORD = 'nats-credential-0a1b2c3d4e5f60718293a4b5';
const WEBHOOK_SECRET = 'webhook-credential-77aa88bb99cc00dd11ee22ff';
const TRACE_SECRET = 'collector-credential-19e8d7c6b5a4938271605f4e';
const TICKET_SECRET = 'ticket-credential-5c5c5c5c6d6d6d6d7e7e7e7e';
const OPAQUE = 'opaque-session-token-9e8d7c6b5a4938271605';
const JWT_SECRET = 'jwt-credential-1234abcd5678ef901234abcd5678';
const WRONG_ADMIN = 'mistyped-admin-credential-8a7b6c5d4e3f2a1b';
const BASIC = Buffer.from('admin:basic-credential-31415926').toString('base64');

/** Every credential of the run; of long ones any piece of this length is a leak too. */
const PIECE = 24;

function leaks(output: string, secrets: ReadonlyMap<string, string>): string[] {
  const found: string[] = [];
  for (const [name, secret] of secrets)
    for (let at = 0; at + Math.min(PIECE, secret.length) <= secret.length; at += 8)
      if (output.includes(secret.slice(at, at + PIECE))) found.push(`${name} at ${at}`);
  return found;
}

interface Run {
  readonly broker: RunningBroker;
  /** Every credential by name. */
  readonly secrets: Map<string, string>;
  readonly tokens: readonly string[];
  readonly good: string;
}

/** A broker on NATS with passwords, with a webhook, and tokens of every fate. */
async function start(t: TestContext, nats: NatsCluster, level: string): Promise<Run> {
  const webhook = await issuer(t, (response, body) => {
    const exp = Math.floor(Date.now() / 1000) + 600;
    const known = body === JSON.stringify({ token: OPAQUE });
    return known
      ? json({ claims: { sub: 'opal', exp } })(response, body)
      : json({ no: body }, 401)(response, body);
  });
  const folder = mkdtempSync(join(tmpdir(), 'carillon-logs-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const secretFile = join(folder, 'secret');
  writeFileSync(secretFile, WEBHOOK_SECRET);
  const bounds = { prefix: newPrefix(), shards: 1, streamBytes: '32MiB', cursorBytes: '1MiB' };
  const broker = await startBroker({
    env: {
      CARILLON_ADMIN_TOKEN: ADMIN,
      CARILLON_LOG_LEVEL: level,
      // Every line, however often.
      CARILLON_LOG__REPEATS: '0',
      CARILLON_JWT_SECRET: JWT_SECRET,
    },
    config: {
      nats: { url: nats.urls, user: 'carillon', password: NATS_PASSWORD, ...bounds },
      auth: { allowQueryToken: true, webhook: { url: webhook.url, secretFile } },
      tickets: { secrets: [TICKET_SECRET] },
      // Nobody listens there: each export fails, and says so.
      tracing: {
        endpoint: 'http://127.0.0.1:9/v1/traces',
        authorization: `Bearer ${TRACE_SECRET}`,
        sample: 1,
        exportMs: '100ms',
        timeoutMs: '200ms',
      },
    },
  });
  t.after(() => broker.kill());
  const iat = Math.floor(Date.now() / 1000);
  const exp = iat + 600;
  const rooms = [{ match: '**', allow: ['join', 'pub'] }];
  const sign = hmac(JWT_SECRET);
  const claims = { sub: 'alice', iat, exp, rooms, scope: 'api admin' };
  const good = forge({ alg: 'HS256' }, { ...claims, jti: 'g' }, sign);
  const made = {
    good,
    expired: forge({ alg: 'HS256' }, { ...claims, exp: 1 }, sign),
    forged: forge({ alg: 'HS256', kid: 'x'.repeat(50) }, claims, hmac('guess')),
    guessed: forge({ alg: 'HS256' }, claims, hmac('guess')),
    oddJson: forge({ alg: 'HS256' }, '{"sub":"alice",', sign),
  };
  const fixed = {
    ADMIN,
    NATS_PASSWORD,
    WEBHOOK_SECRET,
    TICKET_SECRET,
    TRACE_SECRET,
    OPAQUE,
    JWT_SECRET,
    WRONG_ADMIN,
    BASIC,
  };
  const secrets = new Map(Object.entries({ ...fixed, ...made }));
  return { broker, secrets, tokens: [...Object.values(made), OPAQUE, `${OPAQUE}-refused`], good };
}

async function handshakes({ broker: { url } }: Run, token: string): Promise<void> {
  const ways: Parameters<typeof knock>[1][] = [
    { headers: { authorization: `Bearer ${token}` } },
    { headers: { authorization: `bearer  ${token}`, cookie: `session=${token}` } },
    { headers: { authorization: `Basic ${BASIC}` } },
    { protocols: ['chat.v1', `bearer.${token}`] },
    { protocols: [`bearer.${token}`] },
    { protocols: ['chat.v1', `ticket.${token}`] },
  ];
  for (const way of ways) await knock(url, way);
  await knock(`${url}?token=${token}`, {});
  await knock(`${url}?access_token=${token}&token=${token}`, { headers: { origin: `https://${token}` } });
  await knock(url.replace('/connect', `/${token.slice(0, 80)}?token=${token}`), {});
}

async function calls({ broker: { httpUrl, adminUrl } }: Run, token: string): Promise<void> {
  const say = async (url: string, init: RequestInit) => (await fetch(url, init)).text();
  for (const path of [`${httpUrl}/api/v1/rooms/a/history`, `${adminUrl}/admin/v1/stats`, `${adminUrl}/livez`])
    for (const authorization of [
      `Bearer ${token}`,
      `Basic ${BASIC}`,
      `Bearer ${WRONG_ADMIN}`,
      `Bearer ${ADMIN}`,
    ])
      await say(`${path}?token=${token}`, { headers: { authorization } });
  const bodies = [
    `{"token":"${token}"`,
    JSON.stringify({ room: 'a', payload: token, tenant: 'default' }),
    JSON.stringify({ room: 'a', payload: 1, token }),
    JSON.stringify({ level: token }),
  ];
  const headers = { authorization: `Bearer ${ADMIN}` };
  for (const body of bodies) {
    await say(`${httpUrl}/api/v1/publish`, { method: 'POST', headers, body });
    await say(`${adminUrl}/admin/v1/log-level`, { method: 'PUT', headers, body });
    await say(`${adminUrl}/admin/v1/kick`, { method: 'POST', headers, body });
  }
}

async function frames({ broker, secrets, tokens, good }: Run): Promise<void> {
  const socket = new WebSocket(broker.url, ['chat.v1', `bearer.${good}`]);
  const [data] = await once(socket, 'message');
  const { ticket } = JSON.parse(String(data)) as { ticket: string };
  secrets.set('ticket', ticket);
  for (const token of tokens) {
    socket.send(JSON.stringify({ type: 'refresh', token }));
    socket.send(JSON.stringify({ type: 'refresh', token: [token] }));
    socket.send(`{"type":"refresh","token":"${token}"`);
    socket.send(JSON.stringify({ type: token, room: token, id: 1 }));
    socket.send(JSON.stringify({ type: 'join', room: token.slice(0, 128), token }));
    await sleep(20);
  }
  socket.close(4000, good.slice(0, 100));
  for (const credential of [ticket, ticket, `${ticket}x`])
    await knock(broker.url, { protocols: ['chat.v1', `ticket.${credential}`] });
  const raw = await RawSocket.open(Number(new URL(broker.httpUrl).port));
  raw.send(handshakeText({ headers: { Authorization: tokens.map((token) => `Bearer ${token}`) } }));
  await raw.ended();
}

for (const level of ['trace', 'info'])
  test(`no credential of any kind in the whole output of a run at level ${level}`, async (t) => {
    const extra = `authorization { user: "carillon", password: "${NATS_PASSWORD}" }`;
    const nats = await NatsCluster.start(1, { extra });
    t.after(() => nats.close());
    const run = await start(t, nats, level);
    const { broker, secrets, tokens, good } = run;
    for (const token of tokens) {
      await handshakes(run, token);
      await calls(run, token);
    }
    await frames(run);
    const admin = { authorization: `Bearer ${ADMIN}` };
    // A change that is made, and so is in the audit log, with a token in a field of its own text.
    const body = JSON.stringify({ user: 'alice', reason: good.slice(0, 100) });
    await fetch(`${broker.adminUrl}/admin/v1/kick`, { method: 'POST', headers: admin, body });
    // NATS goes away and comes back: the client library has something to say about its servers.
    await nats.server(0).kill();
    await sleep(1000);
    await nats.up();
    await sleep(500);
    const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
    const bundle = await fetch(`${broker.adminUrl}/admin/v1/diagnostics`, { headers: admin });
    const diagnostics = await bundle.text();
    assert.equal(bundle.status, 200, diagnostics);
    await broker.stop();
    const output = broker.logs.join('\n');
    for (const text of [output, metrics, diagnostics]) assert.deepEqual(leaks(text, secrets), []);
    // So that a log without anything in it does not pass.
    assert.match(output, /"audit":true.*POST \/admin\/v1\/kick.*"outcome":"ok"/);
  });

test('a start that fails for NATS or for a key names neither password nor key', async () => {
  const secrets = new Map(Object.entries({ NATS_PASSWORD, JWT_SECRET }));
  const [port] = await freePorts(1);
  // In the URL, which a client library likes to print.
  const url = `nats://carillon:${NATS_PASSWORD}@127.0.0.1:${port}`;
  const wrong: readonly BrokerOptions[] = [
    { config: { nats: { url, startTimeoutMs: 1000 } } },
    {
      config: {
        nats: { url: `127.0.0.1:${port}`, user: 'x', password: NATS_PASSWORD, startTimeoutMs: 1000 },
      },
    },
    { config: { auth: { keys: [{ kid: 'k', alg: 'HS256', secret: JWT_SECRET, secrett: JWT_SECRET }] } } },
    { config: { auth: { keys: [{ kid: 'k', alg: 'RS256', secret: JWT_SECRET }] } } },
    { config: { auth: { keys: [{ kid: 'k', alg: 'RS256', jwk: { kty: 'oct', k: JWT_SECRET } }] } } },
    { config: { auth: { keys: JWT_SECRET } } },
    { env: { CARILLON_AUTH__KEYS: JWT_SECRET } },
  ];
  for (const options of wrong)
    await assert.rejects(startBroker(options), (error: Error) => {
      assert.deepEqual(leaks(error.message, secrets), [], JSON.stringify(options));
      return true;
    });
});

test('a leak would be found', () => {
  const secret = 'a-credential-of-more-than-24-characters';
  assert.notDeepEqual(leaks(`x ${secret.slice(8, 32)} y`, new Map([['it', secret]])), []);
});
