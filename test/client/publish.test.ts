import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RoomEvent } from '../../src/client/index.ts';
import type { PubFrame } from '../../src/protocol/frames.ts';
import { event, type Peer, record, scripted, until } from './scripted.ts';

function ack(peer: Peer, { room, msgId = '' }: PubFrame, seq: number, duplicate = false): void {
  peer.send({ type: 'ack', room, msgId, seq, epoch: 'e', ...(duplicate && { duplicate }) });
}

test('publish before the connection is open waits for it; the ack resolves', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const publishing = client.publish('r', { text: 'hi' }, { key: 'k' });
  assert.equal(client.pending, 1);
  const peer = (await server.peer()).info();
  const frame = await peer.expect('pub');
  assert.deepEqual(frame.payload, { text: 'hi' });
  assert.equal(frame.key, 'k');
  assert.match(frame.msgId ?? '', /^[a-z0-9]{21}-1$/);
  ack(peer, frame, 7);
  assert.deepEqual(await publishing, {
    room: 'r',
    msgId: frame.msgId,
    seq: 7,
    epoch: 'e',
    duplicate: false,
  });
  await client.flush();
  assert.equal(client.pending, 0);
});

test('an ack that is lost: the same msgId again, after the joins, and the duplicate settles it', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  client.join('r');
  const peer = (await server.peer()).info();
  await peer.joins();
  const publishing = [client.publish('r', 1), client.publish('r', 2)];
  const first = await peer.expect('pub');
  const second = await peer.expect('pub');
  ack(peer, second, 2);
  await publishing[1];
  peer.socket.terminate();
  const next = (await server.peer()).info();
  await next.joins({ recovered: 'full' });
  const again = await next.expect('pub');
  assert.equal(again.msgId, first.msgId);
  ack(next, again, 1, true);
  assert.equal((await publishing[0])?.duplicate, true);
  assert.deepEqual(next.unread, []);
});

test('a passing refusal is waited out, a lasting one rejects with its code', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const peer = (await server.peer()).info();
  const limited = client.publish('r', 1);
  const { msgId = '' } = await peer.expect('pub');
  const refusedAt = performance.now();
  peer.send({ type: 'error', code: 'rate_limited', reason: '', retry: true, retryAfterMs: 80, msgId });
  const again = await peer.expect('pub');
  assert.ok(performance.now() - refusedAt > 75);
  assert.equal(again.msgId, msgId);
  ack(peer, again, 1);
  await limited;
  const denied = client.publish('r', 2);
  const { msgId: other = '' } = await peer.expect('pub');
  peer.send({ type: 'error', code: 'forbidden', reason: 'read only', retry: false, msgId: other });
  await assert.rejects(denied, {
    name: 'CarillonError',
    code: 'forbidden',
    reason: 'read only',
    retry: false,
  });
});

test("what the server says of the room's schema: the place on an error, the warning on an ack", async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const peer = (await server.peer()).info();
  const publishing = client.publish('r', 1);
  const { msgId = '' } = await peer.expect('pub');
  const warning = { code: 'schema_violation', reason: '/id must be integer', path: '/id' } as const;
  peer.send({ type: 'ack', room: 'r', msgId, seq: 1, epoch: 'e', warning });
  assert.deepEqual((await publishing).warning, warning);
  const refused = client.publish('r', 2);
  const { msgId: other = '' } = await peer.expect('pub');
  peer.send({ type: 'error', ...warning, retry: false, limit: 7, used: 8, msgId: other });
  await assert.rejects(refused, { ...warning, retry: false, limit: 7, used: 8 });
});

test('the queue is bounded, deadlines reject, close rejects the rest', async (t) => {
  const server = await scripted(t);
  const client = server.client({ publish: { queue: 2 } });
  const slow = client.publish('r', 1, { timeoutMs: 40 });
  const kept = client.publish('r', 2);
  await assert.rejects(client.publish('r', 3), { code: 'queue_full', retry: true });
  await assert.rejects(slow, { code: 'timeout' });
  const flushed = client.flush();
  client.close();
  await assert.rejects(kept, { code: 'closed' });
  await flushed;
});

test('a message over maxFrame is refused here: it would end the connection each time it is sent', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const peer = (await server.peer()).info({ maxFrame: 500 });
  await assert.rejects(client.publish('r', 'é'.repeat(300)), { code: 'frame_too_large' });
  await assert.rejects(client.publish('r', 1n), { code: 'bad_frame' });
  const fine = client.publish('r', 'é');
  ack(peer, await peer.expect('pub'), 1);
  await fine;
});

test('echo:false: the ack moves the position, and a replay of the own event stays silent', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const room = client.join('r');
  const heard = record<RoomEvent>((listener) => room.on('event', listener));
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 4 });
  const publishing = room.publish('mine', { echo: false });
  const frame = await peer.expect('pub');
  assert.equal(frame.echo, false);
  ack(peer, frame, 5);
  await publishing;
  assert.deepEqual(room.position, { epoch: 'e', seq: 5 });
  const lost = room.publish('mine too', { echo: false });
  const { msgId = '' } = await peer.expect('pub');
  peer.socket.terminate();
  const next = (await server.peer()).info();
  await next.joins({ seq: 6, recovered: 'full', replay: 1 });
  const again = await next.expect('pub');
  ack(next, again, 6, true);
  next.send(
    event(6, 5, { from: 'me', msgId }),
    { type: 'caught_up', room: 'r', seq: 6 },
    event(7, 6, { from: 'other', msgId }),
  );
  assert.equal((await lost).duplicate, true);
  await until(() => heard.length === 1, 'the other event');
  assert.equal(heard[0]?.seq, 7, 'somebody else may use the same msgId');
});

test('ephemeral publishes give up early', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const started = performance.now();
  const typing = client.publish('r', 'typing', { ephemeral: true, timeoutMs: 30 });
  await assert.rejects(typing, { code: 'timeout' });
  assert.ok(performance.now() - started < 1000);
});

test('a burst is sent in a window, so that a reconnect does not flood the server', async (t) => {
  const server = await scripted(t);
  const client = server.client({ publish: { inFlight: 10 } });
  const publishing = Array.from({ length: 35 }, (_, n) => client.publish('r', n));
  const peer = (await server.peer()).info();
  const order: unknown[] = [];
  for (let n = 0; n < 35; n++) {
    const frame = await peer.expect('pub');
    order.push(frame.payload);
    assert.ok(peer.unread.length < 10);
    ack(peer, frame, n + 1);
  }
  await Promise.all(publishing);
  assert.deepEqual(
    order,
    Array.from({ length: 35 }, (_, n) => n),
  );
});
