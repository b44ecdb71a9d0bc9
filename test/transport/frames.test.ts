/** Frames that RFC 6455 forbids, that are too long, or that never end; and how connections are closed. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { cut } from '../../src/transport/connection.ts';
import { closeFrame, type FrameOptions, frame, OPCODE, RawSocket } from '../support/raw-socket.ts';
import { startTransport } from './support/parts.ts';
import { type Program, pause, startNode } from './support/spawn.ts';

const FRAME_BYTES = 4096;

/** A process of its own: what these tests are about could end it. */
let node: Program;

before(async () => {
  node = await startNode({ limits: { frameBytes: FRAME_BYTES } });
});
after(() => node.kill());

/** Nobody is counted any more who should not be, nothing was logged as an error, and the node serves. */
async function assertSound(): Promise<void> {
  await node.until(({ connections }) => connections === 0);
  const client = await RawSocket.upgraded(node.port);
  assert.equal(await client.text(), 'hello user');
  client.destroy();
  const counts = await node.until(({ connections }) => connections === 0);
  assert.deepEqual(counts.failures, []);
}

const { text, continuation, close, ping } = OPCODE;
const LONG = 'x'.repeat(126);

/** What RFC 6455 forbids, by its sections. Several frames come one after another. */
const MALFORMED: Readonly<Record<string, readonly FrameOptions[]>> = {
  '5.2 RSV1 without an extension': [{ rsv: 0x40, payload: 'a' }],
  '5.2 RSV2': [{ rsv: 0x20, payload: 'a' }],
  '5.2 RSV3': [{ rsv: 0x10, payload: 'a' }],
  '5.2 all reserved bits': [{ rsv: 0x70 }],
  '5.2 opcode 3': [{ opcode: 3, payload: 'a' }],
  '5.2 opcode 7': [{ opcode: 7 }],
  '5.2 opcode 11': [{ opcode: 11 }],
  '5.2 opcode 15': [{ opcode: 15, payload: LONG }],
  '5.2 a length with the highest bit set': [{ claim: 2n ** 63n, lengthBytes: 8 }],
  '5.2 the longest length': [{ claim: 2n ** 64n - 1n, lengthBytes: 8 }],
  '5.2 a length of 4 GiB': [{ claim: 2n ** 32n, lengthBytes: 8 }],
  '5.2 a length beyond 2^53': [{ claim: 2n ** 53n + 1n, lengthBytes: 8 }],
  '5.4 a continuation of nothing': [{ opcode: continuation, payload: 'a' }],
  '5.4 a continuation after a whole message': [{ payload: 'a' }, { opcode: continuation, fin: false }],
  '5.4 a message within a message': [
    { fin: false, payload: 'a' },
    { opcode: text, payload: 'b' },
  ],
  '5.5 a long ping': [{ opcode: ping, payload: LONG }],
  '5.5 a long close': [{ opcode: close, payload: LONG }],
  '5.5 a ping in fragments': [{ opcode: ping, fin: false }],
  '5.5 a close in fragments': [{ opcode: close, fin: false }],
  '5.5.1 a close of one byte': [{ opcode: close, payload: 'a' }],
  '7.4 a close with 1005': [{ opcode: close, payload: Buffer.from([0x03, 0xed]) }],
  '7.4 a close with 999': [{ opcode: close, payload: Buffer.from([0x03, 0xe7]) }],
  '7.4 a close with 65535': [{ opcode: close, payload: Buffer.from([0xff, 0xff]) }],
  '8.1 text that is no UTF-8': [{ payload: Buffer.from([0xc3, 0x28]) }],
  '8.1 a surrogate in UTF-8': [{ payload: Buffer.from([0xed, 0xa0, 0x80]) }],
  '8.1 text that ends in mid-character': [{ payload: Buffer.from([0xe2, 0x82]) }],
  '8.1 no UTF-8 over two fragments': [
    { fin: false, payload: Buffer.from([0xc3]) },
    { opcode: continuation, payload: Buffer.from([0x28]) },
  ],
  '8.1 no UTF-8 as the reason of a close': [{ opcode: close, payload: Buffer.from([0x03, 0xe8, 0xff]) }],
  'above twice frameBytes': [{ payload: 'x'.repeat(2 * FRAME_BYTES + 1) }],
  'above twice frameBytes in fragments': [
    { fin: false, payload: 'x'.repeat(2 * FRAME_BYTES) },
    { opcode: continuation, fin: false, payload: 'x' },
  ],
};

for (const [what, frames] of Object.entries(MALFORMED)) {
  test(`ends the connection and nothing else: ${what}`, async () => {
    const client = await RawSocket.upgraded(node.port);
    client.send(Buffer.concat([...frames.map(frame), frame({ payload: 'and then' })]));
    await client.ended(3000);
    await assertSound();
  });
}

test('a thousand malformed connections: whole frames, cut frames, and each cut at any byte', async () => {
  const kinds = Object.values(MALFORMED).map((frames) => Buffer.concat(frames.map(frame)));
  for (let round = 0; round < 20; round++) {
    await Promise.all(
      Array.from({ length: 50 }, async (_, at) => {
        const bytes = kinds[(round * 50 + at) % kinds.length] as Buffer;
        const client = await RawSocket.upgraded(node.port);
        const cutAt = (round * 31 + at * 7) % (bytes.length + 1);
        client.send(bytes.subarray(0, cutAt));
        await pause(at % 5);
        client.send(bytes.subarray(cutAt));
        if (at % 3 === 0) client.reset();
        else if (at % 3 === 1) client.destroy();
        else await Promise.race([client.ended(3000), pause(50)]).then(() => client.destroy());
      }),
    );
  }
  await assertSound();
});

test('a frame without a mask is told by uWebSockets.js from no other; the node lives', async () => {
  const client = await RawSocket.upgraded(node.port);
  client.send(frame({ payload: 'never masked, and long enough for four bytes of mask', masked: false }));
  client.destroy();
  await assertSound();
});

test('half a frame of a great announced length costs no memory, however long it is waited for', async () => {
  const { rss } = await node.counts();
  const clients = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const client = await RawSocket.upgraded(node.port);
      client.send(frame({ claim: 2 * FRAME_BYTES, payload: 'x' }));
      return client;
    }),
  );
  await pause(100);
  const grown = (await node.counts()).rss - rss;
  assert.ok(grown < 20 * 1024 * 1024, `${grown} bytes`);
  for (const client of clients) client.destroy();
  await assertSound();
});

test('a message in hundreds of fragments, a byte each, with pings between, arrives as one', async () => {
  const { messagesIn } = await node.counts();
  const client = await RawSocket.upgraded(node.port);
  await client.text();
  // Fewer pings than limits.turnMessages, since all of them may come in one turn.
  const middle = Array.from({ length: 500 }, (_, at) => [
    frame({ opcode: continuation, fin: false, payload: 'x' }),
    frame({ opcode: ping, payload: String(at % 10) }),
  ]).flat();
  client.send(
    Buffer.concat([frame({ fin: false, payload: '' }), ...middle, frame({ opcode: continuation })]),
  );
  for (let at = 0; at < 500; at++) assert.equal((await client.frame())?.opcode, OPCODE.pong);
  await node.until((counts) => counts.messagesIn === messagesIn + 1);
  client.destroy();
  await assertSound();
});

test('a frame above frameBytes, but not twice as long, reaches the session, which can answer it', async (t) => {
  const local = await startTransport({ limits: { frameBytes: FRAME_BYTES } });
  t.after(() => local.transport.close());
  const client = await RawSocket.upgraded(local.port);
  for (const length of [FRAME_BYTES + 1, 2 * FRAME_BYTES]) {
    client.say('x'.repeat(length));
    assert.equal((await client.text()).length, length);
  }
  client.say('x'.repeat(2 * FRAME_BYTES + 1));
  assert.equal(await client.closing(), undefined);
  assert.equal(local.guest().closed, 1006);
});

test('every close code of ours arrives as it was sent', async (t) => {
  const local = await startTransport();
  t.after(() => local.transport.close());
  for (const code of [1000, 1001, 1011, 1012, 4000, 4009, 4102, 4200, 4999]) {
    const client = await RawSocket.upgraded(local.port);
    local.guest().connection.send('last words');
    local.guest().connection.end(code, `reason ${code}`);
    assert.equal(await client.text(), 'last words');
    assert.deepEqual(await client.closing(), { code, reason: Buffer.from(`reason ${code}`) });
    assert.equal(await client.ended(), 'fin');
    assert.equal(local.guest().closed, code);
  }
});

test('the close code of a client is what its session is told, but for the codes of an application, which are the server’s to give', async (t) => {
  const local = await startTransport();
  t.after(() => local.transport.close());
  for (const [bytes, told] of [
    [closeFrame(1000, 'bye'), 1000],
    [closeFrame(4321), 4999],
    [frame({ opcode: close }), 1005],
  ] as const) {
    const client = await RawSocket.upgraded(local.port);
    client.send(bytes);
    await client.ended();
    assert.equal(local.guest().closed, told);
  }
});

test('a long reason is cut at 123 bytes, between characters', async (t) => {
  const local = await startTransport();
  t.after(() => local.transport.close());
  for (const [reason, length] of [
    ['x'.repeat(123), 123],
    ['x'.repeat(500), 123],
    ['é'.repeat(100), 122],
    [`x${'é'.repeat(100)}`, 123],
    ['€'.repeat(100), 123],
    ['🔔'.repeat(100), 120],
    [`xx${'🔔'.repeat(100)}`, 122],
  ] as const) {
    const client = await RawSocket.upgraded(local.port);
    local.guest().connection.end(4009, reason);
    const closing = await client.closing();
    assert.equal(closing?.reason.length, length);
    const told = new TextDecoder('utf-8', { fatal: true }).decode(closing?.reason);
    assert.ok(reason.startsWith(told), told);
    assert.equal(told, cut(reason));
  }
});
