/** What comes to a broker and goes again, of every kind. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect } from 'node:net';
import type { JWTPayload } from 'jose';
import { WebSocket } from 'ws';
import { type RunningBroker, token } from '../../support/broker.ts';

export const ADMIN_TOKEN = 'an-admin-token-that-only-these-tests-use';

/** Which broker takes the turn. */
type At = (n: number) => RunningBroker;

/** Each leaves nothing behind; `n` is new each time. */
export const KINDS: Record<string, (n: number, at: At) => Promise<void>> = {
  'connections, while next to nothing is published': async (n, at) => {
    const { socket } = await open(at(n), { sub: `passes-${n}` });
    if (n % 3 === 0) socket.terminate();
    await closed(socket);
  },
  'sessions that go on by a ticket, before and after their connection has ended': async (n, at) => {
    const first = await open(at(n), { sub: `goes-on-${n}` });
    const second = await open(at(n + 1), {}, first.ticket);
    await closed(first.socket);
    await closed(second.socket);
    await closed((await open(at(n), {}, second.ticket)).socket);
  },
  'rooms and what is published in them': async (n, at) => {
    const { socket } = await open(at(n), { sub: `user-${n}` });
    for (const room of [`live:${n}`, `kept:${n}`]) {
      await ask(socket, { type: 'join', room }, 'joined');
      await ask(socket, { type: 'pub', room, payload: n }, 'ack');
    }
    if (n % 2 === 0) await ask(socket, { type: 'leave', room: `kept:${n}` }, 'left');
    await closed(socket);
  },
  'rooms that are published to and asked about, and that nobody joins': async (n, at) => {
    const { socket } = await open(at(n), { sub: `asks` });
    await ask(socket, { type: 'pub', room: `live:un-${n}`, payload: n }, 'ack');
    await ask(socket, { type: 'pub', room: `kept:un-${n}`, payload: n }, 'ack');
    await ask(socket, { type: 'history', room: `kept:un-${n}` }, 'history');
    await ask(socket, { type: 'presence', room: `live:unasked-${n}` }, 'presence');
    await closed(socket);
  },
  'members of one room, and who watches it': async (n, at) => {
    const { socket } = await open(at(n), { sub: `member-${n}`, info: { n } });
    await ask(socket, { type: 'join', room: 'live:all', presence: true }, 'joined');
    if (n % 3 === 0) socket.terminate();
    await closed(socket);
  },
  'rooms with presence': async (n, at) => {
    const { socket } = await open(at(n), { sub: `present-${n}` });
    await ask(socket, { type: 'join', room: `live:p-${n}`, presence: true }, 'joined');
    await closed(socket);
  },
  tenants: async (n, at) => {
    const { socket } = await open(at(n), { sub: 'user', tenant: `tenant-${n}` });
    await ask(socket, { type: 'join', room: 'live:a' }, 'joined');
    await ask(socket, { type: 'pub', room: 'kept:a', payload: n, msgId: 'm' }, 'ack');
    await closed(socket);
  },
  'handshakes that are refused or broken off': async (n, at) => {
    await refused(at(n), ['chat.v1', `bearer.${n}.b.c`]);
    await refused(at(n), ['chat.v1']);
    await refused(at(n), ['chat.v1', `bearer.${await token({ exp: 1, sub: `late-${n}` })}`]);
    await brokenOff(at(n), `GET /connect HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n`);
    await brokenOff(at(n), 'POST /api/v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{');
  },
  'calls of the API': async (n, at) => {
    assert.equal(await api(at(n), 'POST', '/publish', { room: `live:api-${n}`, payload: n }), 200);
    assert.equal(await api(at(n), 'POST', '/publish', { room: `kept:api`, payload: n, msgId: `a${n}` }), 200);
    await api(at(n), 'POST', '/broadcast', { users: [`nobody-${n}`], payload: n });
    await api(at(n), 'GET', `/rooms/kept:api-${n}/history`);
    await api(at(n), 'GET', `/rooms/live:api-${n}/presence`);
    await api(at(n), 'POST', `/users/nobody-${n}/disconnect`, {});
    await api(at(n), 'GET', `/nothing-${n}`);
  },
  'calls of the admin API': async (n, at) => {
    const admin = (method: string, path: string, body?: object) =>
      call(`${at(n).adminUrl}/admin/v1${path}`, method, ADMIN_TOKEN, body);
    await admin('GET', `/connections?user=nobody-${n}`);
    await admin('GET', `/explain?room=live:a&user=nobody-${n}&seq=1`);
    await admin('POST', '/kick', { user: `nobody-${n}` });
    await admin('POST', `/rooms/live:nothing-${n}/close`, { tenant: 'default' });
    assert.equal(await admin('POST', '/bans', { user: `banned-${n}`, seconds: 1 }), 200);
  },
  msgIds: async (n, at) => {
    const { socket } = await open(at(n), { sub: 'publishes' });
    for (const duplicate of [undefined, true, undefined]) {
      const msgId = duplicate === undefined ? `m-${n}-${Math.random()}` : `m-${n}`;
      await ask(socket, { type: 'pub', room: 'kept:msgids', payload: 1, msgId }, 'ack');
    }
    await closed(socket);
  },
  cursors: async (n, at) => {
    const { socket } = await open(at(n), { sub: `reads-${n}` });
    const { seq } = await ask(socket, { type: 'pub', room: 'kept:cursors', payload: 1 }, 'ack');
    await ask(socket, { type: 'join', room: 'kept:cursors' }, 'joined');
    socket.send(JSON.stringify({ type: 'seen', rooms: { 'kept:cursors': seq } }));
    await ask(socket, { type: 'leave', room: 'kept:cursors' }, 'left');
    await closed(socket);
  },
  'addresses of clients': async (n, at) => {
    const address = `10.${n >> 8}.${n & 255}.1`;
    const headers = { 'X-Forwarded-For': address, Authorization: `Bearer ${await token({ sub: 'roams' })}` };
    const socket = new WebSocket(at(n).url, ['chat.v1'], { headers });
    await frame(socket, 'server_info');
    await closed(socket);
    const answer = await fetch(`${at(n).httpUrl}/api/v1/publish`, {
      method: 'POST',
      headers: { ...headers, Authorization: 'Bearer a.b.c' },
    });
    await answer.arrayBuffer();
  },
  'policies of tenants, and tenants that are shut': async (n, at) => {
    const tenant = `policed-${n}`;
    const policy = `${at(n).adminUrl}/admin/v1/tenants/${tenant}`;
    const { socket } = await open(at(n), { sub: 'user', tenant });
    const ended = new Promise((resolve) => socket.once('close', resolve));
    assert.equal(await call(policy, 'PUT', ADMIN_TOKEN, { enabled: false, connections: 10 }), 200);
    await ended;
    assert.equal(await call(policy, 'DELETE', ADMIN_TOKEN), 200);
  },
  'tokens that are revoked, and renewed': async (n, at) => {
    const jti = `jti-${n}`;
    const { socket } = await open(at(n), { sub: `renews-${n}` });
    await ask(socket, { type: 'refresh', token: await token({ sub: `renews-${n}`, jti }) }, 'refreshed');
    const ended = new Promise((resolve) => socket.once('close', resolve));
    const exp = Math.floor(Date.now() / 1000) + 2;
    assert.equal(await api(at(n + 1), 'POST', '/tokens/revoke', { jti, exp }), 200);
    await ended;
  },
  'payloads that do not fit their schema': async (n, at) => {
    const { socket } = await open(at(n), { sub: `misfit-${n}`, tenant: `misfit-${n % 2}` });
    await ask(socket, { type: 'pub', room: 'formed:one', payload: { n } }, 'error');
    await closed(socket);
  },
  'ephemeral events and their keys': async (n, at) => {
    const { socket } = await open(at(n), { sub: `types-${n}` });
    const event = { type: 'pub', room: 'state:one', payload: n, ephemeral: true };
    await ask(socket, { type: 'join', room: 'state:one' }, 'joined');
    for (let again = 0; again < 3; again++) await ask(socket, { ...event, key: `k${n}` }, 'ack');
    await closed(socket);
  },
  'what is refused': async (n, at) => {
    const { socket } = await open(at(n), { sub: `errs-${n}`, rooms: [] });
    await ask(socket, { type: 'join', room: `live:no-${n}` }, 'error');
    await ask(socket, { type: `no-${n}` }, 'error');
    await ask(socket, { type: 'pub', room: `kept:no-${n}`, payload: 1, msgId: `no-${n}` }, 'error');
    await ask(socket, { type: 'refresh', token: `a.${n}.c` }, 'error');
    await closed(socket);
  },
};

interface Client {
  readonly socket: WebSocket;
  readonly ticket: string;
}

async function open(broker: RunningBroker, claims: JWTPayload, ticket?: string): Promise<Client> {
  const credential = ticket === undefined ? `bearer.${await token(claims)}` : `ticket.${ticket}`;
  const socket = new WebSocket(broker.url, ['chat.v1', credential]);
  const info = await frame(socket, 'server_info');
  return { socket, ticket: String(info['ticket']) };
}

function frame(socket: WebSocket, type: string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('message', function hear(data) {
      for (const one of [JSON.parse(String(data))].flat())
        if (one.type === type) {
          socket.off('message', hear);
          socket.off('error', reject);
          resolve(one);
        }
    });
  });
}

async function ask(socket: WebSocket, request: object, answer: string): Promise<Record<string, unknown>> {
  const answered = frame(socket, answer);
  socket.send(JSON.stringify({ id: 1, ...request }));
  return answered;
}

async function closed(socket: WebSocket): Promise<void> {
  if (socket.readyState === WebSocket.CLOSED) return;
  const done = new Promise((resolve) => socket.once('close', resolve));
  socket.close();
  await done;
}

async function refused(broker: RunningBroker, protocols: string[]): Promise<void> {
  const socket = new WebSocket(broker.url, protocols);
  await new Promise((resolve) => socket.once('error', resolve));
}

async function brokenOff(broker: RunningBroker, text: string): Promise<void> {
  const socket = connect(Number(new URL(broker.httpUrl).port), '127.0.0.1');
  await new Promise((resolve) => socket.write(text, resolve));
  socket.destroy();
}

async function api(broker: RunningBroker, method: string, path: string, body?: object): Promise<number> {
  const bearer = await token({ sub: 'backend', scope: 'api' });
  return call(`${broker.httpUrl}/api/v1${path}`, method, bearer, body);
}

/** Without keep-alive: a pool of connections would stay. */
function call(url: string, method: string, bearer: string, body?: object): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `Bearer ${bearer}` };
    const asked = request(url, { method, headers, agent: false }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0));
    });
    asked.once('error', reject).end(body && JSON.stringify(body));
  });
}
