/** Handshakes that wait for a signature check, and the limits on how many there may be. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { freeAddress } from '../support/port.ts';
import { frame, type Handshake, handshakeText, RawSocket } from '../support/raw-socket.ts';
import { type Overrides, startTransport, type TestTransport } from './support/parts.ts';
import { pause } from './support/spawn.ts';

async function start(t: TestContext, overrides?: Overrides): Promise<TestTransport> {
  const node = await startTransport(overrides);
  t.after(() => node.transport.close());
  return node;
}

const as = (token: string): Handshake => ({ headers: { Authorization: `Bearer ${token}` } });

/** A client that has sent its handshake and waits. */
async function asking(t: TestContext, node: TestTransport, token: string): Promise<RawSocket> {
  const client = await RawSocket.open(node.port);
  t.after(() => client.destroy());
  client.send(handshakeText(as(token)));
  return client;
}

async function assertAnswer(client: RawSocket, status: number, code?: string): Promise<void> {
  const answer = await client.answer();
  assert.equal(answer.status, status, answer.body);
  if (code !== undefined) assert.equal(JSON.parse(answer.body).code, code);
  if (status === 503) assert.match(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
}

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!done()) {
    if (performance.now() > deadline) assert.fail(`never: ${what}`);
    await pause(5);
  }
}

test('an unknown token is verified aside; the second time it is decided in the same turn', async (t) => {
  const node = await start(t);
  await assertAnswer(await asking(t, node, 'new.ann'), 101);
  assert.equal(node.verifier.verified, 1);
  await assertAnswer(await asking(t, node, 'new.ann'), 101);
  assert.equal(node.verifier.verified, 1);
  assert.deepEqual(
    node.guests.map(({ identity }) => identity.user),
    ['ann', 'ann'],
  );
  assert.equal(node.tally.upgrades.get('accepted'), 2);
});

test('messages flow after an upgrade of either kind', async (t) => {
  const node = await start(t);
  for (const token of ['known.ann', 'new.ann']) {
    const client = await RawSocket.upgraded(node.port, as(token));
    client.say('hello');
    assert.equal(await client.text(), 'hello');
    client.destroy();
  }
});

test('a verifier that never answers: 503 after the limit, and the place is free again', async (t) => {
  const node = await start(t, { limits: { upgradeTimeoutMs: 150, pendingUpgrades: 1 } });
  for (let round = 0; round < 2; round++) {
    const client = await asking(t, node, 'never.ann');
    const from = performance.now();
    await assertAnswer(client, 503, 'unavailable');
    const took = performance.now() - from;
    assert.ok(took > 100, `${took} ms`);
    assert.equal(await client.ended(), 'fin');
  }
  assert.equal(node.tally.upgrades.get('timeout'), 2);
});

test('an answer of the verifier after the limit changes nothing', async (t) => {
  const node = await start(t, { limits: { upgradeTimeoutMs: 100 } });
  await assertAnswer(await asking(t, node, 'slow.ann'), 503, 'unavailable');
  await pause(300);
  assert.equal(node.guests.length, 0);
  assert.deepEqual(node.log.errors, []);
});

test('clients that leave while their token is being checked free their places', async (t) => {
  const node = await start(t, { limits: { pendingUpgrades: 4 } });
  for (const leave of ['reset', 'destroy'] as const) {
    const clients = await Promise.all([1, 2, 3, 4].map(() => asking(t, node, 'never.ann')));
    await assertAnswer(await asking(t, node, 'new.ann'), 503, 'overloaded');
    for (const client of clients) client[leave]();
    await until('aborted', () => (node.tally.upgrades.get('aborted') ?? 0) % 4 === 0);
    await assertAnswer(await asking(t, node, `new.${leave}`), 101);
  }
  assert.equal(node.tally.upgrades.get('aborted'), 8);
});

test('checks under way do not keep out those whose token is known', async (t) => {
  const node = await start(t, { limits: { pendingUpgrades: 2 } });
  await asking(t, node, 'never.ann');
  await asking(t, node, 'never.bob');
  await until('pending', () => node.verifier.verified === 2);
  await assertAnswer(await asking(t, node, 'new.ann'), 503, 'overloaded');
  await assertAnswer(await asking(t, node, 'known.ann'), 101);
});

// RFC 6455 section 4.1: a client waits for the 101. What uWebSockets.js does with those that cannot differs.

test('a frame or a request sent while the token is being checked ends that connection alone', async (t) => {
  const node = await start(t);
  const impatient = [frame({ payload: 'early' }), handshakeText(as('known.ann')), '\0'.repeat(5000)];
  for (const [at, early] of impatient.entries()) {
    const client = await asking(t, node, 'slow.ann');
    await until('pending', () => node.verifier.verified === at + 1);
    client.send(early);
    await client.ended();
  }
  await pause(350);
  assert.equal(node.guests.length, 0);
  assert.equal(node.tally.upgrades.get('aborted'), impatient.length);
  await assertAnswer(await asking(t, node, 'known.ann'), 101);
});

test('a frame in the same segment as the handshake is not taken for a message; the next one is', async (t) => {
  const node = await start(t);
  const client = await RawSocket.open(node.port);
  t.after(() => client.destroy());
  client.send(Buffer.concat([Buffer.from(handshakeText()), frame({ payload: 'early' })]));
  assert.equal((await client.answer()).status, 101);
  client.say('later');
  assert.equal(await client.text(), 'later');
  assert.deepEqual(node.guest().received, ['text later']);
});

test('at the limit of connections: 503 with Retry-After, and a place for the next when one leaves', async (t) => {
  const node = await start(t, { limits: { connections: 2 } });
  const first = await RawSocket.upgraded(node.port);
  const second = await RawSocket.upgraded(node.port);
  t.after(() => second.destroy());
  for (const token of ['known.ann', 'new.ann'])
    await assertAnswer(await asking(t, node, token), 503, 'overloaded');
  assert.equal(node.verifier.verified, 0);
  first.destroy();
  await until('one left', () => node.tally.connections === 1);
  await assertAnswer(await asking(t, node, 'new.ann'), 101);
});

test('those whose tokens are checked at the same time do not pass the limit of connections together', async (t) => {
  const node = await start(t, { limits: { connections: 3 } });
  const clients = await Promise.all(Array.from({ length: 12 }, (_, at) => asking(t, node, `slow.user${at}`)));
  const statuses = await Promise.all(clients.map(async (client) => (await client.answer()).status));
  assert.equal(statuses.filter((status) => status === 101).length, 3);
  assert.equal(statuses.filter((status) => status === 503).length, 9);
});

test('draining: no new connections, handshakes under way get 503, the others live on', async (t) => {
  const node = await start(t);
  const old = await RawSocket.upgraded(node.port);
  t.after(() => old.destroy());
  const idle = await RawSocket.open(node.port);
  const waiting = await asking(t, node, 'slow.ann');
  await until('pending', () => node.verifier.verified === 1);
  node.transport.stopAccepting();
  await assert.rejects(RawSocket.open(node.port), /ECONNREFUSED/);
  idle.send(handshakeText());
  await assertAnswer(idle, 503, 'unavailable');
  await assertAnswer(waiting, 503, 'unavailable');
  old.say('still here');
  assert.equal(await old.text(), 'still here');
  assert.equal(node.guests.length, 1);
});

test('close ends handshakes and connections at once', async (t) => {
  const node = await start(t);
  const old = await RawSocket.upgraded(node.port);
  const waiting = await asking(t, node, 'never.ann');
  await until('pending', () => node.verifier.verified === 1);
  node.transport.close();
  await Promise.all([old.ended(), waiting.ended()]);
  assert.equal(node.guest().closed, 1006);
  assert.equal(node.tally.upgrades.get('aborted'), 1);
});

test('a port that somebody listens on already is not shared in silence', async (t) => {
  // Named, not 0: a port that the kernel picks is never shared, whatever the options.
  const port = Number((await freeAddress()).split(':')[1]);
  const node = await start(t, { port });
  await assert.rejects(startTransport({ port: node.port }), /cannot listen on 127\.0\.0\.1/);
  await assert.rejects(startTransport({ host: '192.0.2.1' }), /cannot listen on 192\.0\.2\.1/);
});
