/**
 * Rules 1 to 8 of docs/transport.md. Each pair of tests gives the same stimulus to a naive program, which has
 * to die of it (or else the rule is not needed any more), and to a node of ours, which has to live.
 */
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { handshakeText, RawSocket } from '../support/raw-socket.ts';
import { BUILD } from './support/build.ts';
import {
  crashed,
  type NodeSettings,
  type Program,
  pause,
  runNaive,
  startNaive,
  startNode,
} from './support/spawn.ts';

const READERS = 4;

/** For the tests that need no node of their own. It publishes all the time: that is when dangling sockets crash. */
let shared: Program;

before(async () => {
  shared = await startNode({
    limits: { upgradeTimeoutMs: 300, pendingUpgrades: 1 },
    storm: { rooms: 1, bytes: 100, members: 0 },
    publishBeforeListen: true,
  });
});
after(() => shared.kill());

async function node(t: TestContext, settings?: NodeSettings): Promise<Program> {
  const program = await startNode(settings);
  t.after(() => program.kill());
  return program;
}

async function naive(t: TestContext, name: string, ...args: string[]): Promise<Program> {
  const program = await startNaive(name, ...args);
  t.after(() => program.kill());
  return program;
}

async function assertCrash(program: Program, ms = 10_000): Promise<void> {
  const exit = await program.exitWithin(ms);
  assert.ok(
    exit !== undefined && crashed(exit),
    `should have crashed: ${JSON.stringify(exit)} ${program.output}`,
  );
}

/** A new client gets its first frame: the node works. */
async function assertServes(program: Program): Promise<void> {
  const client = await RawSocket.upgraded(program.port);
  assert.equal(await client.text(), 'hello user');
  client.destroy();
  assert.equal(program.exit, undefined);
}

/** Clients in many rooms that never read. */
async function slowReaders(t: TestContext, port: number, rooms: number): Promise<void> {
  for (let at = 0; at < READERS; at++) {
    const client = await RawSocket.upgraded(port);
    t.after(() => client.destroy());
    client.socket.pause();
    for (let at = 0; at < rooms; at++) client.say(`join room${at}`);
  }
}

for (const how of ['close', 'end', 'microtask', 'nextTick']) {
  test(`rule 1, naive: ${how} in dropped crashes`, async (t) => {
    const program = await naive(t, 'dropped.mjs', how);
    await slowReaders(t, program.port, 1);
    await assertCrash(program);
  });
}

// By memory or, where the publish calls `dropped` again soon enough, by an endless recursion: both were seen.
test('rule 1, naive: publish in dropped ends the process', async (t) => {
  const program = await naive(t, 'dropped.mjs', 'publish');
  await slowReaders(t, program.port, 1);
  const exit = await program.exitWithin(10_000);
  const recursed = exit?.code === 1 && /Maximum call stack size exceeded/.test(program.output);
  assert.ok(
    exit !== undefined && (crashed(exit) || recursed),
    `should have died: ${JSON.stringify(exit)} ${program.output}`,
  );
});

// 40 rooms make uWS flush in the midst of our publishes, 7 rooms only after them: both ways to `dropped`.
for (const rooms of [40, 7]) {
  test(`rule 1: readers that lose bytes in ${rooms} rooms are ended with 4102, and the node lives`, async (t) => {
    const program = await node(t, {
      limits: { bufferedHardBytes: 64 * 1024 },
      storm: { rooms, bytes: 4096, members: READERS },
    });
    for (let round = 0; round < 3; round++) {
      await slowReaders(t, program.port, rooms);
      await program.until((counts) => counts.closes['4102'] === READERS * (round + 1));
    }
    const counts = await program.until((now) => now.connections === 0);
    assert.equal(counts.dropped, 3 * READERS);
    assert.deepEqual(counts.failures, []);
    await assertServes(program);
  });
}

const CONNECTION_CLOSE = { Connection: 'close', Authorization: 'Bearer new.ann' };

test('rule 2, naive: an uncorked asynchronous upgrade of "Connection: close" crashes at the next publish', async (t) => {
  const program = await naive(t, 'async-upgrade.mjs', 'uncorked');
  const client = await RawSocket.open(program.port);
  t.after(() => client.destroy());
  client.send(handshakeText({ headers: CONNECTION_CLOSE }));
  await assertCrash(program);
});

test('rule 3, naive: 20.49 closes a corked one again right after its 101, 20.57 does not', async (t) => {
  const program = await naive(t, 'async-upgrade.mjs', 'corked');
  const client = await RawSocket.open(program.port);
  client.send(handshakeText({ headers: CONNECTION_CLOSE }));
  assert.equal((await client.answer()).status, 101);
  if (BUILD.version === '20.49') assert.equal(await client.ended(2000), 'fin');
  else await assert.rejects(client.ended(2000));
});

test('rules 2 and 3: "Connection: close" is refused with 400, whatever stands around it', async () => {
  const refused = [
    'close',
    'CLOSE',
    'abcde',
    'keep-alive, close',
    'upgrade-not',
    ['close', 'Upgrade'],
    undefined,
  ];
  for (const Connection of refused) {
    for (const Authorization of ['Bearer known.ann', 'Bearer new.ann']) {
      const client = await RawSocket.open(shared.port);
      client.send(handshakeText({ headers: { Connection, Authorization } }));
      const answer = await client.answer();
      assert.equal(answer.status, 400, `Connection: ${Connection}`);
      assert.equal(JSON.parse(answer.body).code, 'bad_request');
      assert.equal(await client.ended(), 'fin');
    }
  }
  await assertServes(shared);
});

test('rules 2 and 3: with the token upgrade beside close, an asynchronous upgrade lives on', async () => {
  for (const Connection of ['close, Upgrade', 'upgrade,close', ['Upgrade', 'close']]) {
    const headers = { Connection, Authorization: `Bearer new.${Math.random()}` };
    const client = await RawSocket.upgraded(shared.port, { headers });
    await client.text();
    client.say('join room0');
    assert.match(await client.text(), /^x+$/);
    client.reset();
  }
  await shared.until((counts) => counts.connections === 0);
  await assertServes(shared);
});

test('rules 2 and 3: asynchronous upgrades live on and print no warnings, the first one neither', async (t) => {
  const program = await node(t, { limits: { pendingUpgrades: 1000 } });
  const first = await RawSocket.upgraded(program.port, { headers: { Authorization: 'Bearer new.first' } });
  const all = await Promise.all(
    Array.from({ length: 500 }, async (_, at) => {
      const client = await RawSocket.upgraded(program.port, {
        headers: { Authorization: `Bearer new.user${at}` },
      });
      assert.equal(await client.text(), `hello user${at}`);
      // The socket that held the cork for this one may be gone before the next comes.
      if (at % 50 === 25) first.destroy();
      if (at % 3 === 0) client.destroy();
      return client;
    }),
  );
  const left = all.filter((_, at) => at % 3 !== 0);
  await program.until(({ connections }) => connections === left.length);
  for (const client of left) client.say('still here');
  await program.until(({ messagesIn }) => messagesIn === left.length);
  assert.equal(program.output, '');
});

for (const path of ['/connect', '/other']) {
  test(`rule 4, naive: an exception in the handler of ${path} ends the process`, async (t) => {
    const program = await naive(t, 'throwing.mjs');
    const client = await RawSocket.open(program.port);
    t.after(() => client.destroy());
    const headers = path === '/connect' ? {} : { 'Sec-WebSocket-Key': undefined };
    client.send(handshakeText({ path, headers }));
    await assertCrash(program);
  });
}

test('rule 4: whatever fails in a handshake or a request of ours answers 500', async () => {
  const before = await shared.counts();
  const attempts = [
    ...['break', 'throw', 'reject'].map((word) => ({ headers: { Authorization: `Bearer ${word}.ann` } })),
    { path: '/throw', headers: { 'Sec-WebSocket-Key': undefined } },
    { path: '/reject', headers: { 'Sec-WebSocket-Key': undefined } },
  ];
  for (const attempt of attempts) {
    const client = await RawSocket.open(shared.port);
    client.send(handshakeText(attempt));
    const answer = await client.answer();
    assert.equal(answer.status, 500, JSON.stringify(attempt));
    assert.equal(JSON.parse(answer.body).code, 'internal');
    client.destroy();
  }
  assert.equal((await shared.counts()).failures.length - before.failures.length, attempts.length);
  await assertServes(shared);
});

test('rule 4: a verifier that threw has left nothing pending that goes off later', async () => {
  for (let round = 0; round < 3; round++) {
    const client = await RawSocket.open(shared.port);
    client.send(handshakeText({ headers: { Authorization: 'Bearer throw.ann' } }));
    assert.equal((await client.answer()).status, 500);
  }
  await pause(500);
  await assertServes(shared);
});

test('rule 4: a session that cannot be made ends its connection', async () => {
  const client = await RawSocket.upgraded(shared.port, {
    headers: { Authorization: 'Bearer known.unwelcome' },
  });
  assert.equal((await client.closing())?.code, 1011);
  await client.ended();
  await assertServes(shared);
});

test('rule 4: a request that is given up while its answer is being made harms nobody', async () => {
  for (const path of ['/never', '/reject']) {
    const client = await RawSocket.open(shared.port);
    client.send(handshakeText({ path, headers: { 'Sec-WebSocket-Key': undefined } }));
    client.reset();
  }
  await assertServes(shared);
});

test('rule 5, naive: publishing without a WebSocket route crashes', async () => {
  await assertCrash(runNaive('no-route.mjs'));
});

test('rule 5: our transport may publish from its construction on', async () => {
  await assertServes(shared);
});

test('rule 6, naive: unsubscribing in the subscription callback of a closing socket crashes', async (t) => {
  const program = await naive(t, 'subscription.mjs');
  const client = await RawSocket.upgraded(program.port);
  client.destroy();
  await assertCrash(program);
});

test('rule 7, naive: a worker thread that listens takes the whole process with it', async () => {
  await assertCrash(runNaive('worker.mjs'));
});

for (const settings of [{ idleTimeout: 7 }, { idleTimeout: 1 }, { idleTimeout: 961 }, { maxLifetime: 241 }]) {
  test(`rule 8, naive: ${JSON.stringify(settings)} aborts instead of throwing`, async () => {
    await assertCrash(runNaive('settings.mjs', JSON.stringify(settings)));
  });
}
