/** Rule 9: out of file descriptors, uWebSockets.js spins. So accepting is suspended before. Linux. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { handshakeText, RawSocket } from '../support/raw-socket.ts';
import { type Program, pause, startNaiveWithFiles, startNode } from './support/spawn.ts';

const CONNECTIONS = 20;
/** What the transport allows beside the connections, for plain HTTP. */
const HTTP_SOCKETS = 500;
const SOCKETS = CONNECTIONS + HTTP_SOCKETS;
/** More than the node may accept, less than it has. */
const OPEN_FILES = SOCKETS + 100;

const linux = { skip: process.platform !== 'linux' && 'reads /proc' };

/** Sockets that connect and say `what`, whether they are accepted or not. */
function silent(
  t: TestContext,
  port: number,
  count: number,
  addressOf: (at: number) => string = eachItsOwn,
  what = '',
): void {
  for (let at = 0; at < count; at++) {
    const socket = connect({ port, host: '127.0.0.1', localAddress: addressOf(at) }, () =>
      socket.write(what),
    );
    socket.on('error', () => socket.destroy());
    t.after(() => socket.destroy());
  }
}

/** All of 127.0.0.0/8 is this machine. */
function eachItsOwn(at: number): string {
  return `127.1.${at >> 8}.${1 + (at & 127)}`;
}

/** The part of a second in which the program had work to do, whether or not it got a processor for it. */
async function busy(program: Program): Promise<number> {
  let running = 0;
  for (let at = 0; at < 50; at++) {
    if (program.state() === 'R') running++;
    await pause(20);
  }
  return running / 50;
}

const descriptors = (program: Program) => readdirSync(`/proc/${program.pid}/fd`).length;

async function limited(t: TestContext): Promise<Program> {
  const program = await startNode({
    openFiles: OPEN_FILES,
    limits: { connections: CONNECTIONS },
    idleSeconds: 8,
  });
  t.after(() => program.kill());
  return program;
}

/** A new client gets in within the time. */
async function assertAccepts(program: Program, ms: number): Promise<void> {
  const deadline = performance.now() + ms;
  for (;;) {
    const client = await RawSocket.upgraded(program.port).catch(() => undefined);
    client?.destroy();
    if (client !== undefined) return;
    if (performance.now() > deadline) assert.fail(`nobody accepted within ${ms} ms`);
    await pause(50);
  }
}

test('naive: with no descriptor left, accept spins', linux, async (t) => {
  const program = await startNaiveWithFiles(128, 'echo.mjs');
  t.after(() => program.kill());
  silent(t, program.port, 200);
  await pause(200);
  const part = await busy(program);
  assert.ok(part > 0.8, `busy for ${part} of the time`);
});

for (const [kind, addresses, what] of [
  ['nothing', 1, ''],
  ['half a head', 1, 'GET /connect HTTP/1.1\r\nHost: a\r\n'],
  ['half a body', 1, 'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf'],
  ['whole requests', 1, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'],
  ['nothing', 5, ''],
] as const)
  test(
    `rule 9: ${addresses} addresses with sockets that say ${kind} leave room for others`,
    linux,
    async (t) => {
      const program = await limited(t);
      const attackers = (at: number) => `127.3.0.${1 + (at % addresses)}`;
      for (let wave = 0; wave < 3; wave++) {
        silent(t, program.port, SOCKETS, attackers, what);
        await pause(200);
        for (let at = 0; at < 3; at++) (await RawSocket.upgraded(program.port)).destroy();
      }
      assert.ok(descriptors(program) < SOCKETS - 50, 'some are free at all times');
    },
  );

test('rule 9: at the limit of sockets accepting is suspended, and the members live on', linux, async (t) => {
  const program = await limited(t);
  const members = await Promise.all(Array.from({ length: 5 }, () => RawSocket.upgraded(program.port)));
  const free = descriptors(program) - members.length;
  silent(t, program.port, OPEN_FILES + 100);
  await pause(300);
  // The listen socket itself is closed now.
  assert.equal(descriptors(program) - free, SOCKETS - 1);
  const part = await busy(program);
  assert.ok(part < 0.2, `busy for ${part} of the time`);
  await assert.rejects(RawSocket.open(program.port), /ECONNREFUSED/);
  for (const member of members) {
    assert.equal(await member.text(), 'hello user');
    member.say('hello');
  }
  await program.until(({ messagesIn }) => messagesIn === members.length);
  for (const member of members) member.destroy();
  await program.until(({ connections }) => connections === 0);
});

test(
  'rule 9: accepting begins again when sockets have gone, and the counts do not drift',
  linux,
  async (t) => {
    const program = await limited(t);
    // Three of four become WebSockets, and more of them than there may be sockets.
    for (let round = 0; round < (SOCKETS / CONNECTIONS) * (4 / 3) + 2; round++) {
      const some = await Promise.all(
        Array.from({ length: CONNECTIONS }, (_, at) => churn(program.port, round + at)),
      );
      assert.ok(some.every(Boolean), `round ${round}`);
    }
    await program.until(({ connections }) => connections === 0);
    const crowd = Array.from({ length: SOCKETS + 50 }, (_, at) =>
      connect({ port: program.port, host: '127.0.0.1', localAddress: `127.2.${at >> 6}.${1 + (at & 63)}` }),
    );
    for (const socket of crowd) socket.on('error', () => socket.destroy());
    await pause(300);
    await assert.rejects(RawSocket.open(program.port), /ECONNREFUSED/);
    for (const socket of crowd) socket.destroy();
    await assertAccepts(program, 3000);
  },
);

/** A short life of one of several kinds; false when it was not even answered. */
async function churn(port: number, kind: number): Promise<boolean> {
  const client = await RawSocket.open(port);
  client.send(handshakeText(kind % 4 === 0 ? { headers: { Connection: undefined } } : {}));
  const { status } = await client.answer();
  if (kind % 4 === 1) client.reset();
  else client.destroy();
  return status > 0;
}

test('rule 9: connections that were ended, but whose clients do not close, count', linux, async (t) => {
  const program = await limited(t);
  const before = descriptors(program);
  let ended = 0;
  // As an attacker would: get ended, stay, come again.
  while (ended < SOCKETS + 50 && (await lingerer(t, program.port))) ended++;
  assert.ok(ended > 400 && ended <= SOCKETS, `${ended} lingering`);
  const held = descriptors(program) - before;
  assert.ok(held <= SOCKETS, `${held} descriptors`);
  assert.equal((await program.counts()).connections, 0);
  // With idleSeconds 8 the descriptors are kept for 4 s.
  await assertAccepts(program, 9000);
});

/** Ended by the server, it keeps its side open. false when it was not accepted. */
async function lingerer(t: TestContext, port: number): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => socket.destroy());
  socket.write(handshakeText({ headers: { Authorization: 'Bearer known.unwelcome' } }));
  return new Promise((resolve) => {
    let received = '';
    socket.on('data', (data) => {
      received += data.toString('latin1');
      if (received.includes('the server failed')) resolve(true);
    });
    socket.on('error', () => resolve(false));
    socket.on('close', () => resolve(false));
  });
}
