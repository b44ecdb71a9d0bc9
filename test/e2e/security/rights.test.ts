/** What issuers may vouch for, and attempts to get more than that. */
import assert from 'node:assert/strict';
import { type IncomingMessage, request, type Server } from 'node:http';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import type { RunningBroker } from '../../support/broker.ts';
import { ADMIN, admin, call, visit } from '../exclusion/visitor.ts';
import { issuerName, keyOf, startWebhook, startWithIssuers, tokenOf } from './issuers.ts';

let broker: RunningBroker;
let webhook: { readonly url: string; readonly server: Server };

before(async () => {
  webhook = await startWebhook();
  broker = await startWithIssuers(webhook.url);
});

after(async () => {
  await broker?.stop();
  webhook?.server.close();
});

const asAdmin = async (token: string, method: string, path: string, body?: object) =>
  call(broker.adminUrl, token, method, `/admin/v1/${path}`, body);
const asBackend = async (token: string, method: string, path: string, body?: object) =>
  call(broker.httpUrl, token, method, `/api/v1/${path}`, body);

test('an issuer restricted to tenants: its admins act in these, and in nothing else', async () => {
  const token = await tokenOf('b', { tenant: 'b', sub: 'chief' });
  const inTenant: readonly (readonly [string, string, object?])[] = [
    ['GET', 'connections?tenant=b'],
    ['GET', 'rooms?tenant=b'],
    ['GET', 'usage?tenant=b'],
    ['GET', 'tenants/b'],
    ['GET', 'schema-violations?tenant=b'],
    ['GET', 'bans'],
    ['POST', 'kick', { user: 'x', tenant: 'b' }],
    ['POST', 'revoke', { user: 'x', tenant: 'b', before: 1 }],
    ['POST', 'revoke', { session: 'x', tenant: 'b' }],
    ['POST', 'rooms/x/close', { tenant: 'b' }],
  ];
  for (const [method, path, body] of inTenant)
    assert.equal((await asAdmin(token, method, path, body)).status, 200, `${method} ${path}`);
  const beyond: readonly (readonly [string, string, object?])[] = [
    ['GET', 'stats'],
    ['GET', 'diagnostics'],
    ['GET', 'keys'],
    ['POST', 'keys/refresh'],
    ['GET', 'drain'],
    ['POST', 'drain', {}],
    ['GET', 'connections'],
    ['GET', 'connections?tenant=a'],
    ['GET', 'connections?tenant=b&tenant=a'],
    ['GET', 'connections?tenant=B'],
    ['GET', 'rooms'],
    ['GET', 'usage'],
    ['GET', 'usage?tenant=a'],
    ['GET', 'tenants/a'],
    ['PUT', 'tenants/a', { enabled: false }],
    ['PUT', 'tenants/B', { enabled: false }],
    ['DELETE', 'tenants/default'],
    ['GET', 'schema-violations'],
    ['GET', 'explain?room=r&user=u&seq=1'],
    ['POST', 'kick', { user: 'x' }],
    ['POST', 'kick', { room: 'x', tenant: 'a' }],
    ['POST', 'revoke', { jti: 'x' }],
    ['POST', 'revoke', { session: 'x' }],
    ['POST', 'revoke', { user: 'x', tenant: 'default' }],
    ['POST', 'rooms/x/close', {}],
    ['POST', 'bans', { ip: '198.51.100.1' }],
    ['POST', 'bans', { cidr: '198.51.0.0/16' }],
    ['POST', 'bans', { user: 'x' }],
    ['POST', 'bans', { tenant: 'a' }],
    ['PUT', 'log-level', { level: 'silent' }],
  ];
  for (const [method, path, body] of beyond) {
    const { status, body: answer } = await asAdmin(token, method, path, body);
    assert.deepEqual([status, answer['code']], [403, 'forbidden'], `${method} ${path}`);
  }
  assert.equal((await admin(broker, 'GET', 'drain')).body['state'], 'none');
});

test('its admins see and lift the bans of its tenants only', async () => {
  const token = await tokenOf('b', { tenant: 'b', sub: 'chief' });
  const other = await admin(broker, 'POST', 'bans', { user: 'eve', tenant: 'a' });
  const network = await admin(broker, 'POST', 'bans', { ip: '198.51.100.9' });
  const own = await asAdmin(token, 'POST', 'bans', { user: 'eve', tenant: 'b' });
  const seen = (await asAdmin(token, 'GET', 'bans')).body['bans'] as { id: string }[];
  assert.deepEqual(
    seen.map(({ id }) => id),
    [own.body['id']],
  );
  for (const { body } of [other, network]) {
    assert.equal((await asAdmin(token, 'DELETE', `bans/${body['id']}`)).status, 404);
    assert.equal((await admin(broker, 'DELETE', `bans/${body['id']}`)).status, 200);
  }
  assert.equal((await asAdmin(token, 'DELETE', `bans/${own.body['id']}`)).status, 200);
});

test('its admins get no explanation of tokens of other tenants', async () => {
  const token = await tokenOf('b', { tenant: 'b', sub: 'chief' });
  const ask = async (asked: string) =>
    (await asAdmin(token, 'POST', 'explain-access', { token: asked, action: 'join', room: 'r' })).status;
  assert.equal(await ask(await tokenOf('main', { tenant: 'a' })), 403);
  assert.equal(await ask(await tokenOf('b', { tenant: 'b' })), 200);
});

test('a session revoked in a tenant that it is not of stays as it is', async () => {
  const mine = await visit(broker.url, `bearer.${await tokenOf('main', { tenant: 'a' })}`);
  const token = await tokenOf('b', { tenant: 'b', sub: 'chief' });
  const { status } = await asAdmin(token, 'POST', 'revoke', { session: mine.session, tenant: 'b' });
  assert.equal(status, 200);
  const again = await visit(broker.url, mine.ticket);
  assert.equal(again.status, 101);
  again.socket.terminate();
});

test('each scope opens its own door, both words open both', async () => {
  const cases: readonly (readonly [string, number, number])[] = [
    ['api', 200, 403],
    ['admin', 403, 200],
    ['api admin', 200, 200],
    ['openid admin  api', 200, 200],
    ['Api', 403, 403],
    ['api,admin', 403, 403],
    ['api\tadmin', 403, 403],
    ['', 403, 403],
  ];
  for (const [scope, api, administration] of cases) {
    const token = await tokenOf('main', { scope });
    assert.equal((await asBackend(token, 'GET', 'rooms/r/presence')).status, api, scope);
    assert.equal((await asAdmin(token, 'GET', 'stats')).status, administration, scope);
  }
});

test('one issuer does not sign for another, though all have a key of one kid', async () => {
  const forgeries = [
    await tokenOf('main', { tenant: 'b' }, keyOf('b')),
    await tokenOf('main', {}, keyOf('c')),
    await tokenOf('c', {}, keyOf('main')),
    await tokenOf('b', { tenant: 'b' }, keyOf('main')),
    await tokenOf('b', { tenant: 'b', iss: [issuerName('b')] }),
    await tokenOf('b', { tenant: 'b', iss: undefined }),
    await tokenOf('b', { tenant: 'b', iss: `${issuerName('b')}/` }),
    await tokenOf('b', { tenant: 'b', iss: issuerName('main') }),
  ];
  for (const [at, token] of forgeries.entries()) {
    assert.equal((await visit(broker.url, `bearer.${token}`)).status, 401, `${at}`);
    assert.equal((await asBackend(token, 'GET', 'rooms/r/presence')).status, 401, `${at}`);
    assert.equal((await asAdmin(token, 'GET', 'connections?tenant=b')).status, 401, `${at}`);
  }
});

test('tenants are taken to the letter', async () => {
  for (const tenant of ['B', 'b ', ' b', 'b\u0000', 'ｂ', 'b/../a', ['b'], { b: 1 }, '', 'b b', '*', null])
    assert.equal((await asBackend(await tokenOf('b', { tenant }), 'GET', 'rooms/r/presence')).status, 401);
  // Names that mean something to JavaScript are names.
  for (const tenant of ['__proto__', 'constructor', 'toString', '..']) {
    const token = await tokenOf('main', { tenant });
    assert.equal((await asBackend(token, 'GET', 'rooms/r/presence')).status, 200, tenant);
    const inB = await tokenOf('b', { tenant });
    assert.equal((await asBackend(inB, 'GET', 'rooms/r/presence')).status, 401, tenant);
  }
  for (const tenant of ['b x', 'a*', 'b\n', '']) {
    const { status } = await admin(broker, 'POST', 'bans', { user: 'y', tenant });
    assert.equal(status, 400, JSON.stringify(tenant));
  }
});

test('a backend is bound to its tenant whatever the body says; the admin token has to name one', async () => {
  const token = await tokenOf('main', { tenant: 'a', sub: 'backend' });
  const bodies: readonly (readonly [string, object])[] = [
    ['publish', { room: 'r', payload: 1 }],
    ['broadcast', { rooms: ['r'], payload: 1 }],
    ['users/x/disconnect', {}],
    ['tokens/revoke', { jti: 'x' }],
  ];
  for (const [path, body] of bodies) {
    assert.equal((await asBackend(token, 'POST', path, { ...body, tenant: 'b' })).status, 403, path);
    assert.equal((await asBackend(token, 'POST', path, { ...body, tenant: 'a' })).status, 200, path);
    assert.equal((await asBackend(ADMIN, 'POST', path, body)).status, 400, path);
    assert.equal((await asBackend(ADMIN, 'POST', path, { ...body, tenant: 'a' })).status, 200, path);
  }
  assert.equal((await asBackend(token, 'GET', 'rooms/r/history?tenant=b')).status, 403);
});

test('who publishes is said by the kind of credential; the audit log says the kind as well', async () => {
  const backend = await tokenOf('main', { tenant: 'k', sub: 'backend' });
  await asBackend(backend, 'POST', 'publish', { room: 'who', payload: 1 });
  await asBackend(ADMIN, 'POST', 'publish', { room: 'who', payload: 2, tenant: 'k' });
  const { body } = await asBackend(backend, 'GET', 'rooms/who/history');
  assert.deepEqual(
    (body['events'] as { from: string }[]).map(({ from }) => from),
    ['backend', 'server'],
  );
  await asBackend(backend, 'POST', 'users/nobody/disconnect', {});
  await admin(broker, 'POST', 'kick', { user: 'nobody' });
  const audits = broker.logs
    .filter((line) => line.includes('"audit":true') && line.includes('nobody'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .map(({ caller, callerKind, callerTenant }) => [caller, callerKind, callerTenant]);
  assert.deepEqual(audits.slice(-2), [
    ['backend', 'token', 'k'],
    ['admin token', 'admin_token', undefined],
  ]);
});

test('a ban that comes while the body of a call is still on its way ends the call', async () => {
  const token = await tokenOf('main', { tenant: 's', sub: 'slow' });
  const url = new URL(`${broker.httpUrl}/api/v1/publish`);
  const call = request(url, { method: 'POST', headers: { authorization: `Bearer ${token}` } });
  const answered = new Promise<IncomingMessage>((resolve) => call.once('response', resolve));
  call.write('{"room":"late",');
  // The head has been judged when a later request on another connection is answered.
  assert.equal((await asBackend(token, 'GET', 'rooms/late/presence')).status, 200);
  const { body } = await admin(broker, 'POST', 'bans', { user: 'slow', tenant: 's' });
  call.end('"payload":1}');
  assert.equal((await answered).statusCode, 403);
  await admin(broker, 'DELETE', `bans/${body['id']}`);
  const { body: page } = await asBackend(token, 'GET', 'rooms/late/history');
  assert.deepEqual(page['events'], []);
});

test('two Authorization headers are no credential, whichever of them is good', async () => {
  const good = `Bearer ${await tokenOf('main')}`;
  for (const base of [`${broker.httpUrl}/api/v1/rooms/r/presence`, `${broker.adminUrl}/admin/v1/stats`])
    for (const authorization of [
      [good, 'Bearer x'],
      ['Bearer x', good],
    ]) {
      const call = request(new URL(base), { headers: { authorization: authorization as unknown as string } });
      const answered = new Promise<IncomingMessage>((resolve) => call.once('response', resolve));
      call.end();
      const response = await answered;
      response.resume();
      assert.equal(response.statusCode, 401, base);
    }
});

test('a grant of ** does not open the inboxes of others, nor rooms that nobody may join', async () => {
  const token = await tokenOf('main', { sub: 'mallory' });
  const socket = new WebSocket(broker.url, ['chat.v1', `bearer.${token}`]);
  const answers: string[] = [];
  let done = () => {};
  const all = new Promise<void>((resolve) => {
    done = resolve;
  });
  const frames = ['@zoe', '@zoe:x', '@*', '@!', '@server'].flatMap((room) => [
    { type: 'join', room },
    { type: 'history', room },
    { type: 'presence', room },
  ]);
  socket.on('message', (data) => {
    const { type, id, code } = JSON.parse(String(data)) as { type: string; id?: number; code?: string };
    if (type === 'server_info')
      for (const [at, frame] of frames.entries()) socket.send(JSON.stringify({ ...frame, id: at + 1 }));
    else if (id !== undefined && answers.push(`${type} ${code}`) === frames.length) done();
  });
  await all;
  socket.terminate();
  assert.deepEqual([...new Set(answers)].sort(), ['error bad_room', 'error forbidden']);
});
