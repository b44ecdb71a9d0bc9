/** Which credential each attempt shows, and the session that it continues. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WebSocket } from 'ws';
import type { CarillonError, ClientEvents } from '../../src/client/index.ts';
import type { ServerInfoFrame } from '../../src/protocol/frames.ts';
import { type Peer, record, type Scripted, scripted, until } from './scripted.ts';

/** Each token is another one, so that the offer says whether the provider was asked. */
function numbered(): () => string {
  let asked = 0;
  return () => `tok${++asked}`;
}

async function offered(server: Scripted): Promise<{ peer: Peer; credential: string | undefined }> {
  const peer = await server.peer();
  return { peer, credential: peer.offered[1] };
}

test('a ticket takes the place of the token; while attempts fail, the two take turns', async (t) => {
  const server = await scripted(t);
  server.client({ token: numbered() });
  const first = await offered(server);
  assert.equal(first.credential, 'bearer.tok1');
  first.peer.info({ ticket: 'one', ticketTtl: 60 }).socket.terminate();
  const second = await offered(server);
  assert.equal(second.credential, 'ticket.one');
  second.peer.socket.terminate();
  const third = await offered(server);
  assert.equal(third.credential, 'bearer.tok2');
  third.peer.socket.terminate();
  const fourth = await offered(server);
  assert.equal(fourth.credential, 'ticket.one', 'perhaps the server never saw it');
  fourth.peer.info({ ticket: 'two', ticketTtl: 60 }).socket.terminate();
  assert.equal((await offered(server)).credential, 'ticket.two', 'the newer one at once');
});

test('a ticket of an earlier client is shown before any token; the newest can be had', async (t) => {
  const server = await scripted(t);
  const client = server.client({ token: numbered(), ticket: 'kept' });
  assert.equal(client.ticket, 'kept');
  const first = await offered(server);
  assert.equal(first.credential, 'ticket.kept');
  first.peer.socket.terminate();
  const second = await offered(server);
  assert.equal(second.credential, 'bearer.tok1');
  second.peer.info({ ticket: 'newer', ticketTtl: 0.1 });
  await client.whenOpen();
  assert.equal(client.ticket, 'newer');
  await sleep(120);
  assert.equal(client.ticket, undefined, 'its time is over');
});

test('a fixed token gives way to a ticket as well', async (t) => {
  const server = await scripted(t);
  server.client({ token: 'fixed' });
  (await server.peer()).info({ ticket: 'one', ticketTtl: 60 }).socket.terminate();
  assert.equal((await offered(server)).credential, 'ticket.one');
});

test('the newest ticket wins: of server_info, ticket, drain, and the next server_info', async (t) => {
  const server = await scripted(t);
  const client = server.client({ token: numbered() });
  const first = (await server.peer()).info({ ticket: 'one', ticketTtl: 60 });
  first.send({ type: 'ticket', ticket: 'two', ticketTtl: 60 });
  first.socket.close(1001);
  const second = await offered(server);
  assert.equal(second.credential, 'ticket.two');
  second.peer.info({ ticket: 'three', ticketTtl: 60 });
  second.peer.send({ type: 'drain', reason: 'deploy', retryAfterMs: 20, ticket: 'four' });
  second.peer.socket.close(4200, 'deploy');
  const third = await offered(server);
  assert.equal(third.credential, 'ticket.four', 'with the life of those before it');
  third.peer.info({ ticket: 'five', ticketTtl: 60 });
  third.peer.send({ type: 'drain', reason: 'deploy', retryAfterMs: 20 });
  third.peer.socket.close(4200, 'deploy');
  const fourth = await offered(server);
  assert.equal(fourth.credential, 'ticket.five', 'a drain without a ticket takes none away');
  fourth.peer.info().socket.terminate();
  assert.equal((await offered(server)).credential, 'bearer.tok2', 'a server that gave none wants none');
  client.close();
});

test('an expired ticket is not shown', async (t) => {
  const server = await scripted(t);
  const client = server.client({ token: numbered() });
  const first = (await server.peer()).info({ ticket: 'one', ticketTtl: 0.1 });
  await client.whenOpen();
  await sleep(150);
  first.socket.terminate();
  const second = await offered(server);
  assert.equal(second.credential, 'bearer.tok2');
  // It ends while the client waits for its slot, not before.
  second.peer.info({ ticket: 'two', ticketTtl: 0.2 });
  second.peer.send({ type: 'drain', reason: 'deploy', retryAfterMs: 300, ticket: 'three' });
  second.peer.socket.close(4200, 'deploy');
  assert.equal((await offered(server)).credential, 'bearer.tok3');
});

test('after 4201 the token is new: no ticket of the old one', async (t) => {
  const server = await scripted(t);
  server.client({ token: numbered() });
  (await server.peer()).info({ ticket: 'one', ticketTtl: 60 }).socket.close(4201, 'exp');
  assert.equal((await offered(server)).credential, 'bearer.tok2');
});

test('a refresh voids the ticket until the server sends one of the new token', async (t) => {
  const server = await scripted(t);
  const client = server.client({ token: numbered() });
  const first = (await server.peer()).info({ ticket: 'one', ticketTtl: 60 });
  await client.whenOpen();
  const refreshing = client.refresh();
  const { token } = await first.expect('refresh');
  assert.equal(token, 'tok2');
  first.socket.terminate();
  const second = await offered(server);
  assert.equal(second.credential, 'bearer.tok3');
  second.peer.info({ ticket: 'two', ticketTtl: 60 });
  // The request outlives the loss, and the answer comes with a ticket before it.
  const { id = 0 } = await second.peer.expect('refresh');
  second.peer.send({ type: 'ticket', ticket: 'three', ticketTtl: 60 }, { type: 'refreshed', id });
  await refreshing;
  second.peer.socket.terminate();
  assert.equal((await offered(server)).credential, 'ticket.three');
});

test('4008 stops, also with a ticket in hand', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  (await server.peer()).info({ ticket: 'one', ticketTtl: 60 }).socket.close(4008, 'newer');
  await until(() => client.state.name === 'closed', 'closed');
  assert.equal(client.state.name === 'closed' && client.state.error?.code, 'replaced');
});

test('the 4008 of the connection that the ticket replaces does not reach the new one', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const errors = record<CarillonError>((listener) => client.on('error', listener));
  const hung = (await server.peer()).info({ heartbeat: 0.1, ticket: 'one', ticketTtl: 60 });
  // It reads nothing any more, the client's close frame neither.
  hung.socket.pause();
  const second = await offered(server);
  assert.equal(second.credential, 'ticket.one');
  second.peer.info({ resumed: true });
  hung.socket.close(4008, 'newer');
  await client.whenOpen();
  await sleep(100);
  assert.equal(client.state.name, 'open');
  assert.equal(errors.length, 1, 'the silence');
});

test('session and the resumed event', async (t) => {
  const server = await scripted(t);
  let socket: WebSocket | undefined;
  const client = server.client();
  const next = async (info: Partial<ServerInfoFrame>): Promise<void> => {
    socket?.terminate();
    const peer = await server.peer();
    socket = peer.info({ ticket: 'one', ticketTtl: 60, ...info }).socket;
    await client.whenOpen();
    assert.equal(client.session, info.session);
  };
  const order: string[] = [];
  const resumed = record<ClientEvents['resumed']>((listener) => client.on('resumed', listener));
  client.on('resumed', () => order.push('resumed'));
  client.on('reconnect', () => order.push('reconnect'));
  assert.equal(client.session, undefined);
  const last = { code: 4102, reason: 'slow', at: 1 };
  await next({ session: 'a' });
  await next({ session: 'a', resumed: true, last });
  await next({ session: 'a', resumed: true });
  await next({ session: 'b' });
  assert.deepEqual(resumed, [{ session: 'a', last }, { session: 'a' }]);
  assert.deepEqual(order, ['resumed', 'reconnect', 'resumed', 'reconnect', 'reconnect']);
});
