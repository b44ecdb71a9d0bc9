/** What a client has done with, and what it has missed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Gap, Missed } from '../../src/client/index.ts';
import type { EventFrame } from '../../src/protocol/frames.ts';
import { event, scripted, until } from './scripted.ts';

test('seen is gathered, cumulative, and waits for the next connection if there is none', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const [a, b] = [client.join('a'), client.join('b')];
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 5 });
  await peer.joins({ seq: 7 });
  await b.whenJoined();
  a.seen(3);
  a.seen(2);
  b.seen();
  assert.deepEqual((await peer.expect('seen')).rooms, { a: 3, b: 7 });
  peer.socket.terminate();
  await until(() => client.state.name !== 'open', 'the loss');
  a.seen(5);
  b.seen(9);
  const next = (await server.peer()).info();
  await next.joins({ seq: 5, recovered: 'full' });
  await next.joins({ seq: 9, epoch: 'another', recovered: 'none' });
  const { rooms, epochs } = await next.expect('seen');
  assert.deepEqual([rooms, epochs], [{ a: 5 }, { a: 'e' }], 'positions of b mean nothing any more');
});

test('what is seen is told before a leave and before the close', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const [a, b] = [client.join('a'), client.join('b')];
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 5 });
  await peer.joins({ seq: 7 });
  await b.whenJoined();
  a.seen();
  void a.leave();
  assert.deepEqual((await peer.expect('seen')).rooms, { a: 5 });
  await peer.expect('leave');
  b.seen();
  client.close();
  assert.deepEqual((await peer.expect('seen')).rooms, { b: 7 });
});

test('seen in many rooms goes out in frames that a server takes', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const rooms = Array.from({ length: 150 }, (_, n) => client.join(`r${n}`));
  const peer = (await server.peer()).info();
  for (const _ of rooms) await peer.joins({ seq: 5 });
  await Promise.all(rooms.map((room) => room.whenJoined()));
  for (const room of rooms) room.seen();
  const frames = [await peer.expect('seen'), await peer.expect('seen')];
  assert.deepEqual(
    frames.map((frame) => Object.keys(frame.rooms).length),
    [100, 50],
  );
});

test('seen by itself: what was consumed, own messages without echo, nothing of an epoch before', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const room = client.join('r', { seen: 'auto' });
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 5 });
  await room.whenJoined();
  const events = room[Symbol.asyncIterator]();
  peer.send(event(6), event(7), event(8));
  for (const seq of [6, 7]) assert.equal((await events.next()).value?.seq, seq);
  assert.deepEqual((await peer.expect('seen')).rooms, { r: 6 }, '7 is being worked on');
  room.seen();
  assert.deepEqual((await peer.expect('seen')).rooms, { r: 7 }, 'by default what was handed out');
  await events.next();
  const pending = events.next();
  assert.deepEqual((await peer.expect('seen')).rooms, { r: 8 });
  void room.publish(1, { echo: false });
  const { msgId = '' } = await peer.expect('pub');
  peer.send({ type: 'ack', room: 'r', msgId, seq: 9, epoch: 'e' });
  assert.deepEqual((await peer.expect('seen')).rooms, { r: 9 });
  peer.send(event(10), event(11));
  await pending;
  peer.socket.terminate();
  const next = (await server.peer()).info();
  await next.joins({ epoch: 'new', seq: 1, recovered: 'none', replay: 1 });
  next.send({ type: 'gap', room: 'r', from: 11, to: 0, reason: 'epoch', action: 'backfill' });
  next.send(event(1), { type: 'caught_up', room: 'r', seq: 1 });
  await until(() => room.position?.epoch === 'new' && room.position.seq === 1, 'the new epoch');
  for (const seq of [11, 1]) assert.equal((await events.next()).value?.seq, seq);
  void events.next();
  assert.deepEqual((await next.expect('seen')).rooms, { r: 1 }, 'neither 10 nor 11');
});

test('missed: the events of a gap from the history, page by page, and whether they are all', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('r');
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 0 });
  await room.whenJoined();
  const gap: Gap = {
    room: 'r',
    epoch: 'e',
    from: 2,
    to: 6,
    reason: 'backpressure',
    action: 'skip',
    foundBy: 'server',
  };
  const answer = async (after: number, more: boolean, epoch: string, ...events: EventFrame[]) => {
    const frame = await peer.expect('history');
    assert.equal(frame.after, after);
    peer.send({ type: 'history', room: 'r', id: frame.id ?? 0, epoch, events, more });
  };
  const seqs = ({ events, complete }: Missed) => [events.map(({ seq }) => seq), complete];
  const whole = room.missed(gap);
  await answer(2, true, 'e', event(4, 2), event(5));
  await answer(5, true, 'e', event(6), event(7));
  assert.deepEqual(seqs(await whole), [[4, 5, 6], true]);
  const cut = room.missed(gap);
  await answer(2, false, 'e', event(5), event(6));
  assert.deepEqual(seqs(await cut), [[5, 6], false], '5 follows 4, which is not there');
  const short = room.missed(gap);
  await answer(2, false, 'e', event(3));
  assert.deepEqual(seqs(await short), [[3], false]);
  const beyond = room.missed(gap);
  await answer(2, false, 'e', event(7));
  assert.deepEqual(seqs(await beyond), [[], false]);
  const other = room.missed(gap);
  await answer(2, false, 'new', event(3), event(6, 3));
  assert.deepEqual(seqs(await other), [[], false]);
  assert.deepEqual(seqs(await room.missed({ ...gap, reason: 'epoch' })), [[], false], 'without a request');
});
