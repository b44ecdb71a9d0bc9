/** Sockets whose other side is gone without a word. uWebSockets.js has a clock of 4 s, so these tests take a while. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { CLOSE_CODES } from '../../src/protocol/codes.ts';
import { frame, handshakeText, OPCODE, RawSocket } from '../support/raw-socket.ts';
import { BUILD } from './support/build.ts';
import { type Guest, startTransport, type TestTransport } from './support/parts.ts';
import { pause } from './support/spawn.ts';

const IDLE_SECONDS = 8;
/** Its clock of 4 s, and a second for a busy machine. */
const LATEST_MS = (IDLE_SECONDS + 4 + 1) * 1000;
/** Of plain HTTP, fixed: 10 s in uWebSockets.js 20.49, 30 s in 20.57. */
const HTTP_LATEST_MS = BUILD.version === '20.49' ? 15_000 : 36_000;

let node: TestTransport;

before(async () => {
  node = await startTransport({ idleSeconds: IDLE_SECONDS });
});
after(() => {
  const { connections } = node.tally;
  node.transport.close();
  assert.ok(connections <= 1, 'only the one that answered its pings may be left');
  assert.deepEqual(node.log.errors, []);
});

/** A client of the user, and what the server has of it. */
async function member(user: string): Promise<{ client: RawSocket; guest: () => Guest }> {
  const client = await RawSocket.upgraded(node.port, { headers: { Authorization: `Bearer known.${user}` } });
  return { client, guest: () => guestOf(user) };
}

function guestOf(user: string): Guest {
  const found = node.guests.find(({ identity }) => identity.user === user);
  assert.ok(found !== undefined, `${user} is not there`);
  return found;
}

async function closedWithin(guest: () => Guest, ms: number): Promise<number> {
  const from = performance.now();
  while (guest().closed === undefined && performance.now() - from < ms) await pause(50);
  assert.equal(guest().closed, CLOSE_CODES.heartbeat_timeout.code);
  return performance.now() - from;
}

describe('heartbeat', { concurrency: true }, () => {
  test('a client that does not answer pings is ended when it has been silent for idleSeconds', async () => {
    const { client, guest } = await member('mute');
    const took = await closedWithin(guest, LATEST_MS);
    assert.ok(took > IDLE_SECONDS * 1000 - 4500, `after ${took} ms`);
    assert.equal((await client.frame())?.opcode, OPCODE.ping);
    await client.ended();
  });

  test('what is sent to a silent client does not keep it', async () => {
    const { client, guest } = await member('listener');
    const sending = setInterval(() => guest().connection.send('news'), 500);
    await closedWithin(guest, LATEST_MS);
    clearInterval(sending);
    client.destroy();
  });

  test('a client that answers pings lives on, with nothing else to say', async () => {
    const { client, guest } = await member('alive');
    const until = performance.now() + LATEST_MS + 2000;
    let pings = 0;
    while (performance.now() < until) {
      const received = await client.frame();
      assert.equal(received?.opcode, OPCODE.ping);
      client.send(frame({ opcode: OPCODE.pong, payload: received?.payload ?? '' }));
      pings++;
    }
    assert.ok(pings >= 2, `${pings} pings`);
    assert.equal(guest().closed, undefined);
  });

  test('a stopped process, whose kernel still takes every byte, is found out', async () => {
    const head = JSON.stringify(handshakeText({ headers: { Authorization: 'Bearer known.stopped' } }));
    const program = `require('net').connect(${node.port}, '127.0.0.1', function () { this.write(${head}); })`;
    const child = spawn(process.execPath, ['-e', program]);
    while (!node.guests.some(({ identity }) => identity.user === 'stopped')) await pause(20);
    child.kill('SIGSTOP');
    await closedWithin(() => guestOf('stopped'), LATEST_MS);
    child.kill('SIGKILL');
  });

  const partial = { 'nothing at all': '', 'half a head': handshakeText().slice(0, 90) };
  for (const [what, bytes] of Object.entries(partial)) {
    test(`a TCP connection that says ${what} is ended`, async () => {
      const client = await RawSocket.open(node.port);
      client.send(bytes);
      await client.ended(HTTP_LATEST_MS);
    });
  }

  test('a head that comes one byte at a time is ended too', async () => {
    const client = await RawSocket.open(node.port);
    client.send('GET /conn');
    const dripping = setInterval(() => client.send('e'), 1000);
    await client.ended(HTTP_LATEST_MS);
    clearInterval(dripping);
  });
});
