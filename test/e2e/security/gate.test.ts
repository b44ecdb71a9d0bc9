/** Every door times every reason to be kept out: whatever the door, the credential is judged alike. */
import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import type { RunningBroker } from '../../support/broker.ts';
import { admin, call } from '../exclusion/visitor.ts';
import { type Issuer, LIFE, now, opaque, startWebhook, startWithIssuers, tokenOf } from './issuers.ts';

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

/** Whom a case is about. */
interface Subject {
  readonly sub: string;
  readonly tenant: string;
  /** As the broker sees it, behind one proxy. */
  readonly address: string;
  readonly session: string;
}

interface Case {
  readonly issuer?: Issuer;
  /** What is wrong with the token that is shown. */
  readonly claims?: () => Readonly<Record<string, unknown>>;
  /** Done before it is shown; gives what takes it back. */
  readonly happens?: (subject: Subject) => Promise<() => Promise<unknown>>;
  readonly handshake: string;
  readonly api: string;
  /** Answers or closes, of which either may come first. */
  readonly refresh: readonly string[];
  /** Absent: tickets have nothing to do with it. */
  readonly ticket?: string;
  /** What the reason of a refusal has to name. */
  readonly names?: RegExp;
}

const UNAUTHORIZED = {
  handshake: '401 unauthorized',
  api: '401 unauthorized',
  refresh: ['error unauthorized'],
} as const;
const CLOSED = (code: number, error: string) => [`close ${code}`, `error ${error}`];
const BANNED = {
  handshake: '403 forbidden',
  api: '403 forbidden',
  ticket: '403 forbidden',
  refresh: CLOSED(4003, 'forbidden'),
};
const REVOKED = { ...UNAUTHORIZED, ticket: '401 unauthorized', refresh: CLOSED(4001, 'unauthorized') };
const WITHOUT_SCOPE = { handshake: '101', api: '403 forbidden', refresh: ['refreshed'], ticket: '101' };

async function banned(body: object): Promise<() => Promise<unknown>> {
  const { status, body: answer } = await admin(broker, 'POST', 'bans', body);
  assert.equal(status, 200);
  return () => admin(broker, 'DELETE', `bans/${answer['id']}`);
}

async function revoked(body: object): Promise<() => Promise<unknown>> {
  assert.equal((await admin(broker, 'POST', 'revoke', body)).status, 200);
  return async () => undefined;
}

async function disabled({ tenant }: Subject): Promise<() => Promise<unknown>> {
  assert.equal((await admin(broker, 'PUT', `tenants/${tenant}`, { enabled: false })).status, 200);
  return () => admin(broker, 'DELETE', `tenants/${tenant}`);
}

const CASES: Readonly<Record<string, Case>> = {
  'nothing wrong': { handshake: '101', api: '200', refresh: ['refreshed'], ticket: '101' },
  expired: {
    claims: () => ({ iat: now() - 600, exp: now() - 60 }),
    handshake: '401 token_expired',
    api: '401 token_expired',
    refresh: ['error token_expired'],
    names: /expired/,
  },
  'wrong aud': { ...UNAUTHORIZED, claims: () => ({ aud: 'another-service' }), names: /^aud/ },
  'no aud': { ...UNAUTHORIZED, claims: () => ({ aud: undefined }), names: /^aud/ },
  'wrong iss': { ...UNAUTHORIZED, claims: () => ({ iss: 'https://nobody.example' }), names: /^iss/ },
  'foreign tenant': { ...UNAUTHORIZED, issuer: 'b', names: /tenant/ },
  'disabled tenant': {
    happens: disabled,
    handshake: '403 tenant_disabled',
    api: '403 tenant_disabled',
    ticket: '403 tenant_disabled',
    refresh: CLOSED(4004, 'forbidden'),
  },
  'banned user': { ...BANNED, happens: ({ sub, tenant }) => banned({ user: sub, tenant }) },
  'banned user of every tenant': { ...BANNED, happens: ({ sub }) => banned({ user: sub }) },
  'banned tenant': { ...BANNED, happens: ({ tenant }) => banned({ tenant }) },
  'banned ip': { ...BANNED, happens: ({ address }) => banned({ ip: address }) },
  'banned cidr': { ...BANNED, happens: ({ address }) => banned({ cidr: `${address}/30` }) },
  'revoked jti': { ...REVOKED, happens: ({ sub }) => revoked({ jti: `jti of ${sub}` }) },
  'revoked user and before': { ...REVOKED, happens: ({ sub, tenant }) => revoked({ user: sub, tenant }) },
  'revoked session': {
    happens: ({ session }) => revoked({ session }),
    handshake: '101',
    api: '200',
    refresh: CLOSED(4001, 'unauthorized'),
    ticket: '401 unauthorized',
  },
  'revoked session, with its tenant': {
    happens: ({ session, tenant }) => revoked({ session, tenant }),
    handshake: '101',
    api: '200',
    refresh: CLOSED(4001, 'unauthorized'),
    ticket: '401 unauthorized',
  },
  'a session of that name revoked in another tenant': {
    happens: ({ session }) => revoked({ session, tenant: 'elsewhere' }),
    handshake: '101',
    api: '200',
    refresh: ['refreshed'],
    ticket: '101',
  },
  'too long a life': {
    ...UNAUTHORIZED,
    claims: () => ({ exp: now() + LIFE + 1 }),
    names: /^exp .*revocation\.tokenLifeMs.*after iat/,
  },
  'too long a life, nearly over': {
    ...UNAUTHORIZED,
    claims: () => ({ iat: now() - LIFE, exp: now() + 60 }),
    names: /^exp .*1 day \(revocation\.tokenLifeMs/,
  },
  'no iat': { ...UNAUTHORIZED, claims: () => ({ iat: undefined }), names: /no iat/ },
  'future iat': { ...UNAUTHORIZED, claims: () => ({ iat: now() + 60 }), names: /^iat .*future/ },
  'no exp': { ...UNAUTHORIZED, claims: () => ({ exp: undefined }), names: /no exp/ },
  'reserved name: server': { ...UNAUTHORIZED, claims: () => ({ sub: 'server' }), names: /^sub .*reserved/ },
  'reserved name: admin token': {
    ...UNAUTHORIZED,
    claims: () => ({ sub: 'admin token' }),
    names: /^sub .*reserved/,
  },
  'reserved name, dressed up': { ...UNAUTHORIZED, claims: () => ({ sub: ' Ｓerver' }), names: /reserved/ },
  'missing scope': {
    ...WITHOUT_SCOPE,
    claims: () => ({ scope: undefined }),
    names: /does not have the scope/,
  },
  'scope of another case': { ...WITHOUT_SCOPE, claims: () => ({ scope: 'API ADMIN' }) },
  'scope as a part of a word': { ...WITHOUT_SCOPE, claims: () => ({ scope: 'api:read,admin apiadmin' }) },
  'scope as a list': { ...UNAUTHORIZED, claims: () => ({ scope: ['api', 'admin'] }), names: /scope/ },
  'issuer without scope': { ...WITHOUT_SCOPE, issuer: 'c', names: /may not grant the scope/ },
};

let subjects = 0;
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const via = (address: string) => ({ 'x-forwarded-for': address });

interface Door {
  readonly answer: string;
  readonly reason: string;
  readonly socket?: WebSocket;
  /** How it was closed, perhaps before anybody asks. */
  readonly closed?: Promise<Door>;
  /** server_info */
  readonly info?: { readonly session: string; readonly ticket: string };
}

/** The answer to a handshake: `101`, or the status and the code. */
function handshake(
  query: string,
  protocols: readonly string[],
  headers: Record<string, string>,
): Promise<Door> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(broker.url + query, ['chat.v1', ...protocols], { headers });
    const closed = new Promise<Door>((done) => {
      socket.once('close', (code, reason) => done({ answer: `close ${code}`, reason: String(reason) }));
    });
    socket.once('message', (data) =>
      resolve({
        answer: '101',
        reason: '',
        socket,
        closed,
        info: JSON.parse(String(data)) as Door['info'] & object,
      }),
    );
    socket.once('unexpected-response', (_request, response) => {
      response.once('data', (body) => {
        const { code, reason } = JSON.parse(String(body)) as { code: string; reason: string };
        resolve({ answer: `${response.statusCode} ${code}`, reason });
      });
    });
    socket.once('error', reject);
  });
}

function refreshed({ socket, closed }: Door, token: string): Promise<Door> {
  const answered = new Promise<Door>((resolve) => {
    socket?.on('message', (data) => {
      const { type, code = '', reason = '' } = JSON.parse(String(data)) as Record<string, string>;
      if (type === 'error' || type === 'refreshed') resolve({ answer: `${type} ${code}`.trim(), reason });
    });
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: 'refresh', id: 1, token }));
  });
  return Promise.race([answered, closed ?? answered]);
}

type HttpDoor = readonly [method: string, path: string, body?: object];

const API: readonly HttpDoor[] = [
  ['POST', '/publish', { room: 'r', payload: 1 }],
  ['POST', '/broadcast', { rooms: ['r'], payload: 1 }],
  ['POST', '/broadcast', { users: ['zoe'], payload: 1 }],
  ['POST', '/broadcast', { tenant: true, payload: 1 }],
  ['GET', '/rooms/r/history'],
  ['GET', '/rooms/r/presence'],
  ['POST', '/users/nobody/disconnect', {}],
  ['POST', '/tokens/revoke', { jti: 'nobodys' }],
];

const ADMIN_CALLS: readonly HttpDoor[] = [
  ['GET', '/connections?tenant=b'],
  ['GET', '/tenants/b'],
  ['POST', '/kick', { user: 'nobody', tenant: 'b' }],
  ['POST', '/revoke', { jti: 'nobodys', tenant: 'b' }],
  ['POST', '/rooms/nowhere/close', { tenant: 'b' }],
  ['GET', '/usage?tenant=b'],
];

async function asked(base: string, [method, path, body]: HttpDoor, headers: Record<string, string>) {
  const response = await fetch(base + path, {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const { code = '', reason = '' } = (await response.json()) as { code?: string; reason?: string };
  return { answer: `${response.status} ${code}`.trim(), reason };
}

for (const [name, wrong] of Object.entries(CASES)) {
  test(`${name}: alike at every door`, async (t) => {
    const n = ++subjects;
    const base = { sub: `user-${n}`, tenant: `tenant-${n}`, address: `203.0.${n}.4` };
    const good = { sub: base.sub, tenant: base.tenant, jti: `jti of ${base.sub}` };
    const forwarded = via(base.address);
    const goodToken = await tokenOf('main', good);
    const live = await handshake('', [`bearer.${goodToken}`], forwarded);
    assert.ok(live.socket && live.info, live.answer);
    t.after(() => live.socket?.terminate());
    const subject = { ...base, session: live.info.session };
    const bad = await tokenOf(wrong.issuer ?? 'main', { ...good, ...wrong.claims?.() });
    const undo = await wrong.happens?.(subject);
    const doors: [string, Door, readonly string[]][] = [];
    // First: what has happened ends the connection soon.
    doors.push(['refresh', await refreshed(live, bad), wrong.refresh]);
    for (const [door, query, protocols, headers] of [
      ['header', '', [], bearer(bad)],
      ['subprotocol', '', [`bearer.${bad}`], {}],
      ['query', `?token=${bad}`, [], {}],
    ] as const)
      doors.push([door, await handshake(query, protocols, { ...forwarded, ...headers }), [wrong.handshake]]);
    if (wrong.ticket !== undefined) {
      const resumed = await handshake('', [`ticket.${live.info.ticket}`], forwarded);
      doors.push(['ticket', resumed, [wrong.ticket]]);
    }
    for (const door of API) {
      const answer = await asked(`${broker.httpUrl}/api/v1`, door, { ...forwarded, ...bearer(bad) });
      doors.push([`api ${door[0]} ${door[1]}`, answer, [wrong.api]]);
    }
    // The admin listener believes no proxy: bans of its addresses have a test of their own.
    const elsewhere = name === 'banned ip' || name === 'banned cidr';
    for (const door of ADMIN_CALLS) {
      const answer = await asked(`${broker.adminUrl}/admin/v1`, door, bearer(bad));
      doors.push([`admin ${door[0]} ${door[1]}`, answer, [elsewhere ? '200' : wrong.api]]);
    }
    await undo?.();
    for (const [, { socket }] of doors) socket?.terminate();
    for (const [door, { answer }, expected] of doors)
      assert.ok(expected.includes(answer), `${door}: ${answer}, not ${expected.join(' or ')}`);
    for (const [door, { answer, reason }] of doors)
      if (wrong.names !== undefined && /^\d{3} \w|^error/.test(answer))
        assert.match(reason, wrong.names, door);
  });
}

test('a webhook vouches like an issuer: the same gate, and no scope that the settings do not give it', async () => {
  const cases: readonly (readonly [object, string, string])[] = [
    [{}, '101', '403 forbidden'],
    [{ sub: 'server' }, '401 unauthorized', '401 unauthorized'],
    [{ exp: now() + LIFE + 60 }, '401 unauthorized', '401 unauthorized'],
    [{ iat: now() + 60 }, '401 unauthorized', '401 unauthorized'],
    [{ tenant: 'off' }, '403 tenant_disabled', '403 tenant_disabled'],
    [{ sub: 'kept-out' }, '403 forbidden', '403 forbidden'],
  ];
  await disabled({ tenant: 'off' } as Subject);
  const lift = await banned({ user: 'kept-out' });
  for (const [claims, expected, api] of cases) {
    const token = opaque({ scope: 'api admin', ...claims });
    const door = await handshake('', [], bearer(token));
    door.socket?.terminate();
    assert.equal(door.answer, expected, JSON.stringify(claims));
    for (const each of API)
      assert.equal((await asked(`${broker.httpUrl}/api/v1`, each, bearer(token))).answer, api, each[1]);
  }
  await lift();
});

test('a banned address: no JWT on the admin listener either; the admin token still lifts the ban', async () => {
  const token = await tokenOf('main', { sub: 'boss' });
  const calls = async () => (await call(broker.adminUrl, token, 'GET', '/admin/v1/stats')).status;
  assert.equal(await calls(), 200);
  const lift = await banned({ ip: '127.0.0.1' });
  assert.equal(await calls(), 403);
  // On the public listener the admin token is a caller like others.
  const body = { tenant: 'b', room: 'r', payload: 1 };
  const { status } = await admin(broker, 'GET', 'bans');
  assert.equal(status, 200);
  const key = 'an-admin-token-that-only-these-tests-use';
  assert.equal((await call(broker.httpUrl, key, 'POST', '/api/v1/publish', body)).status, 403);
  await lift();
  assert.equal(await calls(), 200);
  assert.equal((await call(broker.httpUrl, key, 'POST', '/api/v1/publish', body)).status, 200);
});
