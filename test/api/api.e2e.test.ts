/** The server API and the admin API of one broker, as a backend and an administrator use them. */
import assert from 'node:assert/strict';
import { connect as connectTcp } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import { type Client, connect } from '../../src/client/index.ts';
import { until } from '../client/scripted.ts';
import { type RunningBroker, startBroker } from '../support/broker.ts';

const ADMIN = 'an-admin-token-that-only-this-test-uses';

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

/** The fields of the answers that the tests look at. */
interface Body {
  readonly code?: string;
  readonly reason?: string;
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly events?: readonly unknown[];
  readonly more?: boolean;
  readonly accepted?: number;
  readonly connections?: unknown;
  readonly next?: string;
  readonly rooms?: unknown;
  readonly kicked?: number;
  readonly missing?: readonly string[];
  readonly node?: unknown;
  readonly nodes?: readonly unknown[];
  readonly cluster?: unknown;
  readonly draining?: readonly string[];
  readonly overrides?: unknown;
  readonly roomsPerConnection?: number;
}

let broker: RunningBroker;
const clients: Client[] = [];

before(async () => {
  broker = await startBroker({
    env: { CARILLON_ADMIN_TOKEN: ADMIN, CARILLON_LOG_LEVEL: 'info' },
    config: { api: { bodyBytes: '64KiB', failuresPerMinute: 1000 }, limits: { payloadBytes: '16KiB' } },
  });
});

after(async () => {
  for (const client of clients) client.close();
  await broker?.stop();
});

async function call(
  base: string,
  method: string,
  path: string,
  token?: string,
  body?: unknown,
): Promise<Answer> {
  const response = await fetch(base + path, {
    method,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const json = await response.text();
  return { status: response.status, headers: response.headers, body: json === '' ? {} : JSON.parse(json) };
}

const admin = (method: string, path: string, body?: unknown, token = ADMIN) =>
  call(broker.adminUrl, method, `/admin/v1/${path}`, token, body);
const server = (method: string, path: string, token: string, body?: unknown) =>
  call(broker.httpUrl, method, `/api/v1/${path}`, token, body);
const apiToken = (claims = {}) => broker.token({ sub: 'backend', scope: 'api', ...claims });

async function client(sub: string, claims = {}): Promise<Client> {
  const made = connect(broker.url, {
    token: await broker.token({ sub, ...claims }),
    webSocket: WebSocket,
    reconnect: { minMs: 20, maxMs: 50 },
  });
  clients.push(made);
  await made.whenOpen();
  return made;
}

describe('who may call', () => {
  const calls = [
    ['admin', 'GET', '/admin/v1/stats', undefined],
    ['admin', 'POST', '/admin/v1/kick', { user: 'nobody' }],
    ['server', 'POST', '/api/v1/publish', { tenant: 'default', room: 'a:b', payload: 1 }],
    ['server', 'GET', '/api/v1/rooms/a:b/history?tenant=default', undefined],
  ] as const;
  for (const [listener, method, path, body] of calls) {
    const base = () => (listener === 'admin' ? broker.adminUrl : broker.httpUrl);
    const scope = listener === 'admin' ? 'admin' : 'api';

    test(`${method} ${path}: without a token, with a wrong one, one without the scope`, async () => {
      const none = await call(base(), method, path, undefined, body);
      assert.equal(none.status, 401);
      assert.equal(none.headers.get('www-authenticate'), 'Bearer');
      assert.equal(none.body.code, 'unauthorized');
      for (const wrong of [`${ADMIN}x`, ADMIN.slice(0, -1), 'a.b.c', 'eyJhbGciOiJub25lIn0.e30.'])
        assert.equal((await call(base(), method, path, wrong, body)).status, 401, wrong);
      const expired = await broker.token({ sub: 'b', scope, exp: Math.floor(Date.now() / 1000) - 60 });
      assert.deepEqual((await call(base(), method, path, expired, body)).body.code, 'token_expired');
      for (const other of [{}, { scope: 'read' }, { scope: scope === 'admin' ? 'api' : 'admin' }]) {
        const answer = await call(base(), method, path, await broker.token({ sub: 'b', ...other }), body);
        assert.deepEqual([answer.status, answer.body.code], [403, 'forbidden'], JSON.stringify(other));
      }
    });

    test(`${method} ${path}: with the admin token, and with a token of the scope`, async () => {
      assert.equal((await call(base(), method, path, ADMIN, body)).status, 200);
      const scoped = await broker.token({ sub: 'b', scope: `read ${scope}` });
      assert.equal((await call(base(), method, path, scoped, body)).status, 200);
    });
  }

  test('neither API is on the other listener', async () => {
    assert.equal((await call(broker.httpUrl, 'GET', '/admin/v1/stats', ADMIN)).status, 404);
    assert.equal((await call(broker.adminUrl, 'POST', '/api/v1/publish', ADMIN, {})).status, 404);
  });

  test('an api token is bound to its tenant; the admin token has to name one', async () => {
    const token = await apiToken({ tenant: 'acme' });
    const other = await server('POST', 'publish', token, { tenant: 'globex', room: 'a:b', payload: 1 });
    assert.deepEqual([other.status, other.body.code], [403, 'forbidden']);
    const unnamed = await server('POST', 'publish', ADMIN, { room: 'a:b', payload: 1 });
    assert.deepEqual([unnamed.status, unnamed.body.code], [400, 'bad_request']);
    assert.equal((await server('POST', 'publish', token, { room: 'own:room', payload: 1 })).status, 200);
    const seen = await server('GET', 'rooms/own:room/history', await apiToken({ tenant: 'globex' }));
    assert.deepEqual(seen.body.events, []);
  });
});

describe('what is sent', () => {
  test('unknown fields, wrong types, bad JSON, bad names: 400 that says what', async () => {
    const token = await apiToken();
    const wrong: readonly [unknown, RegExp][] = [
      [{ room: 'a:b' }, /payload/],
      [{ room: 'a b', payload: 1 }, /room/],
      [{ room: 'a:b', payload: 1, extra: 1 }, /extra/],
      [{ room: 'a:b', payload: 1, msgId: 'x'.repeat(65) }, /msgId/],
      ['{"room":', /JSON/],
      ['[]', /body/],
    ];
    for (const [body, reason] of wrong) {
      const answer = await server('POST', 'publish', token, body);
      assert.deepEqual([answer.status, answer.body.code], [400, 'bad_request'], JSON.stringify(body));
      assert.match(String(answer.body.reason), reason);
    }
    assert.equal((await server('GET', 'rooms/a:b/history?limit=x', token)).status, 400);
    assert.equal((await server('GET', 'rooms/%FF/history', token)).status, 404);
    assert.equal((await admin('POST', 'kick', {})).status, 400);
    const method = await admin('DELETE', 'stats');
    assert.deepEqual([method.status, method.headers.get('allow')], [405, 'GET']);
  });

  test('a body over the limit is refused on both listeners, and a payload over its own', async () => {
    const token = await apiToken();
    const large = { room: 'a:b', payload: 'x'.repeat(70_000) };
    assert.equal((await server('POST', 'publish', token, large)).status, 413);
    assert.equal((await admin('POST', 'kick', { user: 'x', reason: 'x'.repeat(70_000) })).status, 413);
    const payload = await server('POST', 'publish', token, { room: 'a:b', payload: 'x'.repeat(20_000) });
    assert.deepEqual([payload.status, payload.body.code], [413, 'payload_too_large']);
  });

  test('a client that announces a body and goes away costs nothing', async () => {
    const { hostname, port } = new URL(broker.httpUrl);
    const socket = connectTcp(Number(port), hostname);
    socket.write(
      `POST /api/v1/publish HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${await apiToken()}\r\ncontent-length: 100\r\n\r\n{"room"`,
    );
    setTimeout(() => socket.destroy(), 50);
    await text(socket).catch(() => '');
    assert.equal((await admin('GET', 'stats')).status, 200);
  });
});

describe('the server API', () => {
  test('publish: members get the event, the answer has its place, a msgId is stored once', async () => {
    const ann = await client('ann');
    const room = ann.join('orders:1');
    const events: { payload: unknown; from: string; seq?: number }[] = [];
    room.on('event', (event) => void events.push(event));
    await room.whenJoined();
    const token = await apiToken();
    const body = { room: 'orders:1', payload: { n: 1 }, msgId: 'm-1' };
    const first = await server('POST', 'publish', token, body);
    assert.equal(first.status, 200);
    assert.equal(first.body.duplicate, false);
    const again = await server('POST', 'publish', token, body);
    assert.deepEqual(again.body, { ...first.body, duplicate: true });
    await until(() => events.length > 0);
    assert.deepEqual(
      events.map(({ payload, from, seq }) => ({ payload, from, seq })),
      [{ payload: { n: 1 }, from: 'backend', seq: first.body.seq }],
    );
    const history = await server('GET', 'rooms/orders:1/history?limit=10', token);
    assert.equal(history.body.events?.length, 1);
    assert.equal(history.body.more, false);
  });

  test('a live room has no place in the answer and no history', async () => {
    const token = await apiToken();
    const answer = await server('POST', 'publish', token, { room: 'live:1', payload: null });
    assert.equal(answer.status, 200);
    assert.deepEqual((await server('GET', 'rooms/live:1/history', token)).body.events, []);
  });

  test('broadcast: to rooms, to inboxes, to every connection of the tenant and of no other', async () => {
    const [bob, eve] = [await client('bob'), await client('eve', { tenant: 'other' })];
    const inbox = bob.join('@bob');
    const got: unknown[] = [];
    inbox.on('event', ({ payload }) => void got.push(payload));
    await inbox.whenJoined();
    const token = await apiToken();
    const users = await server('POST', 'broadcast', token, { users: ['bob'], payload: 'hello' });
    assert.deepEqual(users.body, { accepted: 1, refused: [] });
    const rooms = await server('POST', 'broadcast', token, { rooms: ['a:1', 'a:2', 'a:1'], payload: 1 });
    assert.deepEqual(rooms.body, { accepted: 2, refused: [] });
    await until(() => got.length === 1);
    const everywhere = await server('POST', 'broadcast', token, { tenant: true, payload: { all: 1 } });
    assert.equal(everywhere.status, 200);
    assert.ok((everywhere.body.connections as number) >= 1);
    assert.equal((await server('POST', 'broadcast', token, { payload: 1 })).status, 400);
    eve.close();
  });

  test('presence counts users, not connections; disconnect ends both of them with 4009', async () => {
    const [one, two] = [await client('carol'), await client('carol')];
    await Promise.all([one, two].map((each) => each.join('lobby:1').whenJoined()));
    const token = await apiToken();
    const presence = await server('GET', 'rooms/lobby:1/presence', token);
    assert.deepEqual(presence.body, { mode: 'full', count: 1, members: [{ user: 'carol', connections: 2 }] });
    const answer = await server('POST', 'users/carol/disconnect', token, {});
    assert.deepEqual(answer.body, { disconnected: 2, missing: [] });
    await until(() => one.state.name === 'closed' && two.state.name === 'closed');
  });
});

describe('the admin API', () => {
  test('connections: filters, and pages that meet every session once', async () => {
    await Promise.all(Array.from({ length: 7 }, (_, n) => client(`page-${n}`, { tenant: 'paged' })));
    const seen: string[] = [];
    let after = '';
    for (let page = 0; page < 10; page++) {
      const { body } = await admin('GET', `connections?tenant=paged&limit=3${after}`);
      seen.push(...(body.connections as { user: string }[]).map(({ user }) => user));
      if (body.next === undefined) break;
      after = `&after=${body.next}`;
    }
    assert.deepEqual(
      seen.sort(),
      Array.from({ length: 7 }, (_, n) => `page-${n}`),
    );
    const { body } = await admin('GET', 'connections?user=page-3');
    const [one] = body.connections as {
      ip: string;
      rooms: string[];
      roomCount: number;
      buffered: number;
      connectedAt: number;
    }[];
    assert.equal(one?.ip, '127.0.0.1');
    assert.deepEqual([one?.rooms, one?.roomCount, one?.buffered], [[], 0, 0]);
    assert.ok(Math.abs((one?.connectedAt ?? 0) - Date.now()) < 60_000);
  });

  test('rooms by members and by rate', async () => {
    const [dan, eva] = [await client('dan', { tenant: 'tops' }), await client('eva', { tenant: 'tops' })];
    await Promise.all(
      [dan.join('big:1'), eva.join('big:1'), dan.join('busy:1')].map((room) => room.whenJoined()),
    );
    for (let n = 0; n < 20; n++) await dan.join('busy:1').publish({ n });
    const names = async (sort: string) =>
      ((await admin('GET', `rooms?tenant=tops&sort=${sort}`)).body.rooms as { room: string }[]).map(
        ({ room }) => room,
      );
    assert.deepEqual(await names('members'), ['big:1', 'busy:1']);
    assert.deepEqual(await names('rate'), ['busy:1', 'big:1']);
    assert.deepEqual(await names('bytes'), ['busy:1', 'big:1']);
  });

  test('kick by session, by user, by room; close a room', async () => {
    const [fay, gus, hal] = await Promise.all(
      ['fay', 'gus', 'hal'].map((sub) => client(sub, { tenant: 'kicks' })),
    );
    const room = hal?.join('den:1');
    const other = gus?.join('den:1');
    await Promise.all([room?.whenJoined(), other?.whenJoined()]);
    const page = await admin('GET', 'connections?user=fay');
    const [{ session }] = page.body.connections as [{ session: string }];
    assert.deepEqual((await admin('POST', 'kick', { session })).body, { kicked: 1, missing: [] });
    const closed = await admin('POST', 'rooms/den:1/close', { tenant: 'kicks', reason: 'over' });
    assert.deepEqual(closed.body, { closed: 2, missing: [] });
    assert.deepEqual((await admin('POST', 'kick', { user: 'gus', tenant: 'elsewhere' })).body.kicked, 0);
    assert.deepEqual((await admin('POST', 'kick', { user: 'gus', tenant: 'kicks' })).body.kicked, 1);
    await until(() => fay?.state.name === 'closed' && gus?.state.name === 'closed');
    assert.equal(hal?.state.name, 'open');
  });

  test('stats of the node and of the installation', async () => {
    const { body } = await admin('GET', 'stats');
    const node = body.node as { connections: number; bus: { state: string } };
    assert.equal(node.bus.state, 'up');
    assert.ok(node.connections > 0);
    assert.equal((body.cluster as { connections: number }).connections, node.connections);
    assert.deepEqual(body.missing, []);
    assert.equal(body.nodes?.length, 1);
  });

  test('the log level changes at once, and every change is in the audit log without tokens', async () => {
    assert.equal((await admin('PUT', 'log-level', { level: 'debug' })).status, 200);
    await client('logged');
    await until(() => broker.logs.some((line) => line.includes('"user":"logged"')));
    assert.equal((await admin('PUT', 'log-level', { level: 'loud' })).status, 400);
    await admin('PUT', 'log-level', { level: 'info' });
    const audited = broker.logs.filter((line) => line.includes('"audit":true'));
    assert.ok(audited.some((line) => line.includes('/admin/v1/kick') && line.includes('"user":"gus"')));
    assert.ok(!broker.logs.some((line) => line.includes(ADMIN)));
  });

  test('the policy of a tenant is set, holds for open connections, and is taken back', async () => {
    const [ida] = [await client('ida', { tenant: 'small' })];
    const set = await admin('PUT', 'tenants/small', { roomsPerConnection: 1, publish: { perSecond: 5 } });
    assert.equal(set.status, 200);
    assert.deepEqual(set.body.overrides, { roomsPerConnection: 1, publish: { perSecond: 5, burst: 5 } });
    assert.equal(set.body.roomsPerConnection, 1);
    await ida.join('one:1').whenJoined();
    await assert.rejects(ida.join('two:1').whenJoined(), /too_many_rooms|may be in 1/);
    const wrong = await admin('PUT', 'tenants/small', { connections: -1, speed: 1 });
    assert.deepEqual([wrong.status, wrong.body.code], [400, 'bad_request']);
    assert.match(wrong.body.reason ?? '', /connections/);
    const gone = await admin('DELETE', 'tenants/small');
    assert.deepEqual(gone.body.overrides, {});
    await ida.join('three:1').whenJoined();
  });

  test('one tenant is logged in detail, and another is not', async () => {
    await admin('PUT', 'log-level', { level: 'debug', tenant: 'loud' });
    await Promise.all([client('l1', { tenant: 'loud' }), client('q1', { tenant: 'quiet' })]);
    await until(() => broker.logs.some((line) => line.includes('"user":"l1"')));
    assert.ok(!broker.logs.some((line) => line.includes('"user":"q1"')));
    await admin('PUT', 'log-level', { level: 'default', tenant: 'loud' });
  });

  test('the keys in use are listed without the keys, and may be fetched anew', async () => {
    for (const [method, path] of [
      ['GET', 'keys'],
      ['POST', 'keys/refresh'],
    ] as const) {
      const { status, body } = await admin(method, path);
      assert.equal(status, 200);
      const [node] = body.nodes as readonly [{ issuers: unknown }];
      assert.deepEqual(node.issuers, [
        { issuer: 'default', keys: [{ kid: 'env', alg: 'HS256', source: 'static' }] },
      ]);
    }
  });

  test('diagnostics name the state and the settings, and no secret', async () => {
    const { status, body } = await admin('GET', 'diagnostics');
    assert.equal(status, 200);
    const text = JSON.stringify(body);
    for (const part of ['version', 'readiness', 'historyTotalBytes', '"kid":"env"'])
      assert.ok(text.includes(part), part);
    assert.ok(!text.includes(ADMIN));
    assert.ok(!text.includes('a key that only these tests use'));
  });

  test('drain sends the clients away and refuses new ones', async () => {
    const last = await client('last');
    const answer = await admin('POST', 'drain', {});
    assert.equal(answer.body.draining?.length, 1);
    assert.equal((await admin('POST', 'drain', { node: 'nowhere' })).status, 404);
    await until(() => last.state.name !== 'open');
    const ready = await fetch(`${broker.adminUrl}/readyz`);
    assert.equal(ready.status, 503);
  });
});
