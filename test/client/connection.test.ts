import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { type CarillonError, connect, type State } from '../../src/client/index.ts';
import { record, scripted, until } from './scripted.ts';

test('the token travels as a subprotocol and is asked for before every attempt', async (t) => {
  const server = await scripted(t);
  let asked = 0;
  const client = server.client({ token: async () => `tok${++asked}` });
  const first = (await server.peer()).info();
  assert.deepEqual(first.offered, ['chat.v1', 'bearer.tok1']);
  await client.whenOpen();
  first.socket.terminate();
  const second = (await server.peer()).info();
  assert.deepEqual(second.offered, ['chat.v1', 'bearer.tok2']);
});

test('states and the reconnect event', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const states = record<State>((listener) => client.on('state', listener));
  const reconnects = record<{ attempts: number }>((listener) => client.on('reconnect', listener));
  const peer = (await server.peer()).info();
  await client.whenOpen();
  assert.equal(client.info?.serverId, 'scripted');
  peer.socket.terminate();
  (await server.peer()).info();
  await until(() => reconnects.length === 1, 'reconnect');
  client.close();
  assert.equal(reconnects[0]?.attempts, 1);
  assert.deepEqual(
    states.map(({ name }) => name),
    ['connecting', 'open', 'waiting', 'connecting', 'open', 'closed'],
  );
  assert.deepEqual(states.at(-1), { name: 'closed' }, 'closed by its owner: no error');
});

for (const [code, name] of [
  [4001, 'unauthorized'],
  [4003, 'forbidden'],
  [4008, 'replaced'],
  [4009, 'kicked'],
] as const) {
  test(`close ${code} stops for good: ${name}`, async (t) => {
    const server = await scripted(t);
    const client = server.client();
    const room = client.join('r');
    const peer = (await server.peer()).info();
    await peer.joins();
    await room.whenJoined();
    const reading = room[Symbol.asyncIterator]().next();
    const publishing = client.publish('r', 1);
    peer.socket.close(code, 'why');
    await assert.rejects(publishing, { code: name, reason: 'why', retry: false });
    await assert.rejects(reading, { code: name });
    assert.equal(client.state.name, 'closed');
    assert.equal(room.state, 'left');
    assert.throws(() => client.join('r2'), { code: 'closed' });
    await assert.rejects(client.publish('r', 2), { code: name });
    await assert.rejects(client.history('r'), { code: name });
  });
}

test('4100 backs off harder than a lost connection', async (t) => {
  const server = await scripted(t);
  const client = server.client({ random: () => 0.999 });
  const waits: number[] = [];
  client.on('state', (state) => state.name === 'waiting' && waits.push(Math.round(state.delayMs)));
  (await server.peer()).info({ reconnect: { minMs: 10, maxMs: 1000 } }).socket.terminate();
  (await server.peer()).info({ reconnect: { minMs: 10, maxMs: 1000 } }).socket.close(4100, '');
  await server.peer();
  assert.deepEqual(waits, [10, 160]);
});

test('drain: back in the slot that it gave, also when no close frame comes', async (t) => {
  const server = await scripted(t);
  const client = server.client({ random: () => 0 });
  const waits: State[] = [];
  client.on('state', (state) => state.name === 'waiting' && waits.push(state));
  for (const end of ['close', 'terminate'] as const) {
    const peer = (await server.peer()).info();
    await client.whenOpen();
    peer.send({ type: 'drain', reason: 'deploy', retryAfterMs: 200 });
    const drainedAt = performance.now();
    if (end === 'close') peer.socket.close(4200, 'deploy');
    else setTimeout(() => peer.socket.terminate(), 50);
    const next = await server.peer();
    const tookMs = performance.now() - drainedAt;
    assert.ok(tookMs > 190 && tookMs < 600, `back after ${tookMs} ms`);
    const seen = waits.length;
    next.info().socket.terminate();
    await until(() => waits.length > seen, 'the second loss');
  }
  const [drained, plain] = waits;
  assert.equal(drained?.name === 'waiting' && drained.error.code, 'drain');
  assert.equal(plain?.name === 'waiting' && plain.delayMs, 0, 'the slot is used once');
});

test('4201: a new token and back; with a fixed token, stop', async (t) => {
  const server = await scripted(t);
  let asked = 0;
  server.client({ token: () => `tok${++asked}` });
  (await server.peer()).info().socket.close(4201, 'exp');
  assert.deepEqual((await server.peer()).info().offered, ['chat.v1', 'bearer.tok2']);
  const fixed = server.client({ token: 'tok' });
  (await server.peer()).info().socket.close(4201, 'exp');
  await until(() => fixed.state.name === 'closed', 'closed');
  assert.equal(fixed.state.name === 'closed' && fixed.state.error?.code, 'token_expired');
});

test('the back-off starts over only after a connection that was stable', async (t) => {
  const server = await scripted(t);
  const reconnect = { stableMs: 150 };
  const client = server.client({ reconnect });
  const attempts: number[] = [];
  client.on('state', (state) => state.name === 'waiting' && attempts.push(state.attempt));
  for (const holdMs of [0, 0, 200, 0]) {
    const peer = (await server.peer()).info();
    await client.whenOpen();
    await new Promise((resolve) => setTimeout(resolve, holdMs));
    peer.socket.terminate();
    await until(() => client.state.name !== 'open', 'the loss');
  }
  assert.deepEqual(attempts, [1, 2, 1, 2]);
});

test('a silent server is noticed, left without a handshake, and the client comes back', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const errors = record<CarillonError>((listener) => client.on('error', listener));
  const peer = (await server.peer()).info({ heartbeat: 0.1 });
  peer.answersPings = false;
  const lostAt = performance.now();
  const next = await server.peer();
  const tookMs = performance.now() - lostAt;
  assert.ok(tookMs > 150 && tookMs < 1000, `noticed after ${tookMs} ms`);
  assert.match(errors[0]?.reason ?? '', /silent/);
  next.info({ heartbeat: 0.1 });
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.equal(client.state.name, 'open', 'a server that answers stays');
  assert.ok((client.latencyMs ?? -1) >= 0);
});

test('a server that accepts and says nothing: the attempt ends in time', async (t) => {
  const server = await scripted(t);
  const client = server.client({ connectTimeoutMs: 100, reconnect: { maxAttempts: 1, minMs: 1 } });
  await server.peer();
  await server.peer();
  await assert.rejects(client.whenOpen(), { code: 'connect_failed', reason: /no server_info/ });
});

test('what is no frame, or comes before server_info, ends the connection', async (t) => {
  const server = await scripted(t);
  const client = server.client({ reconnect: { minMs: 1 } });
  const errors = record<CarillonError>((listener) => client.on('error', listener));
  (await server.peer()).socket.send('{"type":');
  (await server.peer()).socket.send('{"type":"pong","now":1}');
  const third = (await server.peer()).info();
  third.socket.send('[1,2]');
  (await server.peer()).info();
  await until(() => client.state.name === 'open', 'open');
  assert.match(errors[0]?.reason ?? '', /unreadable/);
  assert.match(errors[1]?.reason ?? '', /pong before server_info/);
  assert.match(errors[2]?.reason ?? '', /no frame/);
});

test('frames and fields that the client does not know are ignored', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const peer = (await server.peer()).info();
  peer.socket.send('{"type":"novelty","x":1}');
  peer.socket.send(
    '[{"type":"left","room":"never-joined"},{"type":"error","code":"internal","reason":"r","new":1}]',
  );
  const [error] = await new Promise<CarillonError[]>((resolve) => client.on('error', (e) => resolve([e])));
  assert.equal(error?.code, 'internal');
  assert.equal(client.state.name, 'open');
});

test('a refusal by HTTP is an error with its status where the runtime tells it', async (t) => {
  const server = createServer((_request, response) => response.writeHead(401).end());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  const client = connect(`http://127.0.0.1:${port}`, {
    token: 'tok',
    webSocket: WebSocket,
    reconnect: { maxAttempts: 1, minMs: 1 },
  });
  await assert.rejects(client.whenOpen(), { code: 'connect_failed', reason: /401/ });
});

test('a token provider that fails is asked again; a token that no header can carry is no crash', async (t) => {
  const server = await scripted(t);
  const tokens = [new Error('login is down'), 'not a token, with spaces', 'good'];
  const client = server.client({
    reconnect: { minMs: 1 },
    token: () => {
      const next = tokens.shift() ?? 'good';
      if (next instanceof Error) throw next;
      return next;
    },
  });
  const errors = record<CarillonError>((listener) => client.on('error', listener));
  (await server.peer()).info();
  await client.whenOpen();
  assert.deepEqual(
    errors.map(({ code }) => code),
    ['token_failed', 'connect_failed'],
  );
});

test('close() while connecting and twice is quiet', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const opening = client.whenOpen();
  await new Promise((resolve) => setImmediate(resolve));
  client.close();
  client.close();
  await assert.rejects(opening, { code: 'closed' });
});

test('refresh hands a new token over and tells its end', async (t) => {
  const server = await scripted(t);
  let asked = 0;
  const client = server.client({ token: () => `tok${++asked}` });
  const peer = (await server.peer()).info();
  await client.whenOpen();
  const refreshing = client.refresh();
  const { id = 0, token } = await peer.expect('refresh');
  assert.equal(token, 'tok2');
  peer.send({ type: 'refreshed', id, exp: 123 });
  assert.equal(await refreshing, 123);
});
