/** permessage-deflate (RFC 7692): for whom, for what, and what a client can do with it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { WebSocket } from 'ws';
import type { CompressionSettings } from '../../src/transport/compression.ts';
import { frame, RawSocket } from '../support/raw-socket.ts';
import { startTransport, type TestTransport } from './support/parts.ts';
import { startNode } from './support/spawn.ts';

const UNICAST: CompressionSettings = {
  mode: 'unicast',
  thresholdBytes: 1000,
  maxBytes: 5000,
  loopLagMs: 20,
};
const OFFER = { headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate' } };
const RSV1 = 0x40;

const started: TestTransport[] = [];
after(() => {
  for (const { transport } of started) transport.close();
});

async function serve(compression: CompressionSettings = UNICAST): Promise<TestTransport> {
  const node = await startTransport({ compression });
  started.push(node);
  return node;
}

/** As a client library offers and undoes it. */
async function library({ port }: TestTransport): Promise<WebSocket> {
  const client = new WebSocket(`ws://127.0.0.1:${port}/connect`, 'chat.v1', {
    headers: { Authorization: 'Bearer known.user' },
  });
  await once(client, 'open');
  return client;
}

/** The first byte of the next frame, which says whether it is compressed. */
async function isCompressed(client: RawSocket, send: () => void): Promise<boolean> {
  send();
  const first = (await client.peek()).charCodeAt(0);
  await client.frame();
  return (first & RSV1) !== 0;
}

/** The payload of a compressed message: a raw deflate stream without its last four bytes (RFC 7692, 7.2.1). */
function deflated(text: string | Buffer): Buffer {
  return deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
}

const TEXT = 'all the same words and all the same words, '.repeat(60);

test('C1.10 off, nothing is negotiated', async () => {
  const node = await serve({ ...UNICAST, mode: 'off' });
  const client = await library(node);
  assert.equal(client.extensions, '');
  assert.equal(node.tally.compressing, false);
  client.terminate();
});

test('C1.10 a long message to one client that has offered it is compressed, and is the same afterwards', async () => {
  const node = await serve();
  const client = await library(node);
  assert.match(client.extensions, /permessage-deflate/);
  const [socket] = [Reflect.get(client, '_socket') as { readonly bytesRead: number }];
  const before = socket.bytesRead;
  node.guest().connection.send(TEXT);
  const [data] = await once(client, 'message');
  assert.equal(String(data), TEXT);
  assert.ok(socket.bytesRead - before < TEXT.length / 10, `${socket.bytesRead - before} bytes`);
  assert.deepEqual([node.tally.compressed, node.tally.compressedBytes], [1, TEXT.length]);
  client.terminate();
});

test('short messages, too long ones and those to a room are not compressed', async () => {
  const node = await serve();
  const client = await RawSocket.upgraded(node.port, OFFER);
  const { connection } = node.guest();
  connection.subscribe('room');
  assert.equal(await isCompressed(client, () => connection.send('x'.repeat(999))), false);
  assert.equal(await isCompressed(client, () => connection.send('x'.repeat(1000))), true);
  assert.equal(await isCompressed(client, () => connection.send('x'.repeat(5000))), true);
  assert.equal(await isCompressed(client, () => connection.send('x'.repeat(5001))), false);
  assert.equal(await isCompressed(client, () => node.transport.publish('room', TEXT, 'json')), false);
  client.destroy();
});

test('a client that has not offered it gets none', async () => {
  const node = await serve();
  const client = await RawSocket.upgraded(node.port);
  assert.equal(await isCompressed(client, () => node.guest().connection.send(TEXT)), false);
  assert.equal(node.tally.compressed, 0);
  client.destroy();
});

test('while the loop is late nothing is compressed, and the figures say so', async () => {
  const node = await serve();
  const client = await RawSocket.upgraded(node.port, OFFER);
  const { connection } = node.guest();
  node.transport.observeLag(20.1);
  assert.equal(node.tally.compressing, false);
  assert.equal(await isCompressed(client, () => connection.send(TEXT)), false);
  assert.deepEqual([node.tally.compressed, node.tally.uncompressed], [0, 1]);
  node.transport.observeLag(20);
  assert.equal(await isCompressed(client, () => connection.send(TEXT)), true);
  assert.equal(node.tally.compressing, true);
  client.destroy();
});

test('one message of a second says what compression saves', async () => {
  const node = await serve();
  const client = await RawSocket.upgraded(node.port, OFFER);
  const { connection } = node.guest();
  const { compressionSample } = node.tally;
  for (let at = 0; at < 3; at++) connection.send(TEXT);
  assert.equal(compressionSample.before, TEXT.length);
  assert.ok(compressionSample.after > 0 && compressionSample.after < TEXT.length / 10);
  node.transport.observeLag(1);
  for (let at = 0; at < 3; at++) connection.send(TEXT);
  assert.equal(compressionSample.before, 2 * TEXT.length);
  client.destroy();
});

test('what a client sends compressed arrives inflated, and counts so', async () => {
  const node = await serve();
  const client = await library(node);
  client.send(TEXT, { compress: true });
  await once(client, 'message');
  assert.deepEqual(node.guest().received, [`text ${TEXT}`]);
  client.terminate();
});

const FRAME_BYTES = 16 * 1024;
const MIB = 1024 * 1024;

test('C3.4 a bomb ends its connection before it has grown beyond twice frameBytes', async (t) => {
  const program = await startNode({ limits: { frameBytes: FRAME_BYTES }, compression: UNICAST });
  t.after(() => program.kill());
  const bomb = frame({ rsv: RSV1, payload: deflated(Buffer.alloc(20 * MIB)) });
  assert.ok(bomb.length < 2 * FRAME_BYTES, `${bomb.length} bytes for 20 MiB`);
  const before = (await program.until(() => true)).rss;
  let most = before;
  for (let times = 0; times < 20; times++) {
    const client = await RawSocket.upgraded(program.port, OFFER);
    client.send(bomb);
    await client.ended(3000);
    most = Math.max(most, (await program.until(() => true)).rss);
  }
  const counts = await program.until(({ connections }) => connections === 0);
  assert.equal(counts.messagesIn, 0);
  assert.equal(counts.closes['1006'], 20);
  assert.ok(most - before < 16 * MIB, `${(most - before) / MIB} MiB more`);
});

test('C5.9 small bombs count by what they inflate to', async (t) => {
  const limits = { frameBytes: FRAME_BYTES, turnBytes: 64 * 1024, inboundQueueBytes: 256 * 1024 };
  const program = await startNode({ limits, compression: UNICAST });
  t.after(() => program.kill());
  const one = frame({ rsv: RSV1, payload: deflated(Buffer.alloc(FRAME_BYTES, 'a')) });
  const client = await RawSocket.upgraded(program.port, OFFER);
  assert.ok(
    one.length * 100 < 64 * 1024,
    'all of them fit into the share of a turn by their bytes on the wire',
  );
  client.send(Buffer.concat(Array(100).fill(one)));
  await client.ended(3000);
  const counts = await program.until(({ connections }) => connections === 0);
  assert.equal(counts.closes['4101'], 1);
  assert.ok(counts.messagesIn <= 20, `${counts.messagesIn} handled`);
});
