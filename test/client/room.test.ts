import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CarillonError, Gap, Healed, Presence, RoomEvent } from '../../src/client/index.ts';
import { event, joined, record, scripted, until } from './scripted.ts';

test('join, events by callback and by iterator, leave', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const room = client.join<number>('r', { overflow: 'latest' });
  assert.equal(client.join('r'), room, 'a client is in a room once');
  const heard = record<RoomEvent<number>>((listener) => room.on('event', listener));
  const peer = (await server.peer()).info();
  const frame = await peer.joins({ seq: 4 });
  assert.equal(frame.overflow, 'latest');
  assert.equal(frame.since, undefined);
  assert.equal((await room.whenJoined()).seq, 4);
  assert.deepEqual(room.position, { epoch: 'e', seq: 4 });
  const read: number[] = [];
  const reading = (async () => {
    for await (const { payload } of room) read.push(payload);
  })();
  peer.send(event(5), event(6));
  await until(() => heard.length === 2, 'two events');
  const leaving = room.leave();
  const { id = 0 } = await peer.expect('leave');
  peer.send(event(7), { type: 'left', room: 'r', id });
  await leaving;
  await reading;
  assert.deepEqual(read, [5, 6]);
  assert.equal(heard.length, 2);
  assert.equal(room.state, 'left');
  assert.notEqual(client.join('r'), room, 'after leaving, a new Room');
});

test('events in the same message as joined wait for an iterator that is made after whenJoined', async (t) => {
  const server = await scripted(t);
  const room = server.client().join<number>('r', { since: { last: 2 } });
  const peer = (await server.peer()).info();
  const frame = await peer.expect('join');
  assert.deepEqual(frame.since, { last: 2 });
  peer.send(joined(frame, { seq: 9, replay: 2 }), event(8), event(9), {
    type: 'caught_up',
    room: 'r',
    seq: 9,
  });
  await room.whenJoined();
  const seqs: (number | undefined)[] = [];
  for await (const { seq } of room) {
    seqs.push(seq);
    if (seqs.length === 2) break;
  }
  assert.deepEqual(seqs, [8, 9]);
});

test('after a loss all rooms come back in one message, each after its last position', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  for (const name of ['a', 'b', 'c']) client.join(name);
  const peer = (await server.peer()).info();
  for (const seq of [1, 2, 3]) await peer.joins({ seq });
  peer.send(event(9, 2, { room: 'b' }));
  await until(() => client.join('b').position?.seq === 9, 'the event');
  peer.socket.terminate();
  const next = (await server.peer()).info();
  const frames = [await next.expect('join'), await next.expect('join'), await next.expect('join')];
  assert.equal(next.messages, 1);
  assert.deepEqual(
    frames.map(({ room, since }) => [room, since]),
    [
      ['a', { epoch: 'e', seq: 1 }],
      ['b', { epoch: 'e', seq: 9 }],
      ['c', { epoch: 'e', seq: 3 }],
    ],
  );
});

test('more rooms than the server takes at once are sent in several messages', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  for (let n = 0; n < 25; n++) client.join(`room-${n}`);
  const peer = (await server.peer()).info({ limits: { batch: 10 } });
  for (let n = 0; n < 25; n++) await peer.joins();
  assert.equal(peer.messages, 3);
  peer.socket.terminate();
  const small = (await server.peer()).info({ limits: { batch: 1000 }, maxFrame: 400 });
  for (let n = 0; n < 25; n++) await small.joins();
  assert.ok(small.messages > 3, `${small.messages} messages for frames of 400 bytes`);
});

test('a hole is healed from the history, in order, while live events wait', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('r');
  const heard = record<RoomEvent>((listener) => room.on('event', listener));
  const healed = record<Healed>((listener) => room.on('healed', listener));
  const gaps = record<Gap>((listener) => room.on('gap', listener));
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 1 });
  peer.send(event(2), event(5));
  const asked = await peer.expect('history');
  assert.equal(asked.after, 2);
  peer.send(event(6));
  const { id = 0 } = asked;
  peer.send({ type: 'history', room: 'r', id, epoch: 'e', events: [event(3), event(4)], more: true });
  await until(() => heard.length === 5, 'five events');
  assert.deepEqual(
    heard.map(({ seq }) => seq),
    [2, 3, 4, 5, 6],
  );
  assert.deepEqual(healed, [{ room: 'r', from: 2, to: 4, events: 2 }]);
  assert.deepEqual(gaps, []);
  assert.deepEqual(peer.unread, [], 'the hole is full: nothing more is asked');
});

test('a hole that the server will not fill is a gap and an error, and the room goes on', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('r');
  const heard = record<RoomEvent>((listener) => room.on('event', listener));
  const gaps = record<Gap>((listener) => room.on('gap', listener));
  const errors = record<CarillonError>((listener) => room.on('error', listener));
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 1 });
  peer.send(event(5));
  const { id = 0 } = await peer.expect('history');
  peer.send({ type: 'error', code: 'forbidden', reason: 'no history', retry: false, id });
  await until(() => heard.length === 1, 'the event');
  assert.deepEqual(gaps, [
    { room: 'r', epoch: 'e', from: 1, to: 4, reason: 'lost', action: 'skip', foundBy: 'client' },
  ]);
  assert.equal(errors[0]?.code, 'forbidden');
});

test('a connection lost while healing: the resume fills the hole, and no gap is told', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('r');
  const heard = record<RoomEvent>((listener) => room.on('event', listener));
  const gaps = record<Gap>((listener) => room.on('gap', listener));
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 1 });
  peer.send(event(4));
  await peer.expect('history');
  peer.socket.terminate();
  const next = (await server.peer()).info();
  const { since } = await next.joins({ seq: 4, recovered: 'full', replay: 3 });
  assert.deepEqual(since, { epoch: 'e', seq: 1 });
  next.send(event(2), event(3), event(4), { type: 'caught_up', room: 'r', seq: 4 });
  await until(() => heard.length === 3, 'three events');
  assert.deepEqual(
    heard.map(({ seq }) => seq),
    [2, 3, 4],
  );
  assert.deepEqual(gaps, []);
});

test('4203: the positions are dropped, and what may be missing is told', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('r');
  const gaps = record<Gap>((listener) => room.on('gap', listener));
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 7 });
  await room.whenJoined();
  peer.socket.close(4203, 'restored from backup');
  const next = (await server.peer()).info();
  const { since } = await next.joins({ epoch: 'f', seq: 2 });
  assert.equal(since, undefined);
  await until(() => gaps.length === 1, 'the gap');
  assert.deepEqual([gaps[0]?.from, gaps[0]?.to, gaps[0]?.reason], [7, 2, 'epoch']);
  assert.deepEqual(room.position, { epoch: 'f', seq: 2 });
});

test('an epoch that changes under the room: rejoined by itself, told as one gap', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('r');
  const gaps = record<Gap>((listener) => room.on('gap', listener));
  const heard = record<RoomEvent>((listener) => room.on('event', listener));
  const peer = (await server.peer()).info();
  await peer.joins({ seq: 7 });
  peer.send(
    { type: 'gap', room: 'r', from: 7, to: 0, reason: 'epoch', action: 'rejoin' },
    { type: 'left', room: 'r', code: 'unavailable', reason: 'the epoch changed' },
  );
  const { since } = await peer.joins({ epoch: 'f', seq: 1, recovered: 'none', replay: 1 });
  assert.deepEqual(since, { epoch: 'e', seq: 7 });
  peer.send({ type: 'gap', room: 'r', from: 7, to: 0, reason: 'epoch', action: 'backfill' }, event(1), {
    type: 'caught_up',
    room: 'r',
    seq: 1,
  });
  await until(() => heard.length === 1, 'the event');
  assert.equal(gaps.length, 1);
  assert.deepEqual(room.position, { epoch: 'f', seq: 1 });
});

test('a refused join: for good it ends the room, for now it is tried again', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const peer = (await server.peer()).info();
  const closed = client.join('closed');
  const errors = record<CarillonError>((listener) => closed.on('error', listener));
  const { id: first = 0 } = await peer.expect('join');
  peer.send({ type: 'error', code: 'forbidden', reason: 'no', retry: false, id: first, room: 'closed' });
  await assert.rejects(closed.whenJoined(), { code: 'forbidden' });
  await assert.rejects(closed[Symbol.asyncIterator]().next(), { code: 'forbidden' });
  assert.equal(errors.length, 1);
  const full = client.join('full');
  const { id: second = 0 } = await peer.expect('join');
  peer.send({ type: 'error', code: 'room_full', reason: '', retry: true, retryAfterMs: 30, id: second });
  await peer.joins({ room: 'full' });
  assert.equal((await full.whenJoined()).room, 'full');
});

test('taken out by the server: for good, unless the reason passes', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const peer = (await server.peer()).info();
  const room = client.join('r');
  await peer.joins({ seq: 3 });
  peer.send({ type: 'left', room: 'r', code: 'overloaded', reason: 'feed lost' });
  assert.deepEqual((await peer.joins({ seq: 3, recovered: 'full' })).since, { epoch: 'e', seq: 3 });
  await room.whenJoined();
  peer.send({ type: 'left', room: 'r', code: 'room_closed', reason: 'done' });
  const { error } = await new Promise<{ error?: CarillonError }>((resolve) => room.on('left', resolve));
  assert.equal(error?.code, 'room_closed');
  peer.socket.terminate();
  const next = (await server.peer()).info();
  await client.whenOpen();
  assert.deepEqual(next.unread, [], 'it is not joined again');
});

test('leave while a join is under way, then join again: nothing of the first reaches the second', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const peer = (await server.peer()).info();
  await client.whenOpen();
  const first = client.join('r');
  const frame = await peer.expect('join');
  const leaving = first.leave();
  const { id: leaveId = 0 } = await peer.expect('leave');
  const second = client.join('r');
  const heard = record<RoomEvent>((listener) => second.on('event', listener));
  const again = await peer.expect('join');
  peer.send(joined(frame, { seq: 1 }), event(2), { type: 'left', room: 'r', id: leaveId });
  peer.send(joined(again, { seq: 2 }), event(3));
  await leaving;
  await until(() => heard.length === 1, 'the event');
  assert.equal(heard[0]?.seq, 3);
  assert.equal(first.state, 'left');
});

test('presence: members and count follow joined and deltas', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const room = client.join('r', { presence: true });
  const changes = record<Presence>((listener) => room.on('presence', listener));
  const peer = (await server.peer()).info();
  const { presence } = await peer.joins({ members: [{ user: 'ann', connections: 1 }], count: 1 });
  assert.equal(presence, true);
  const bob = { user: 'bob', connections: 1 };
  peer.send({ type: 'presence', room: 'r', mode: 'delta', joined: [bob], left: ['ann'], count: 1 });
  await until(() => changes.length === 2, 'two changes');
  assert.deepEqual([...room.members.keys()], ['bob']);
  assert.deepEqual(changes[1]?.left, ['ann']);
  // A state, not a change: bob is known already, and eve was never here.
  peer.send({ type: 'presence', room: 'r', mode: 'delta', joined: [bob], left: ['eve'], count: 1 });
  const eve = { user: 'eve', connections: 1 };
  peer.send({ type: 'presence', room: 'r', mode: 'full', members: [eve], count: 1 });
  await until(() => changes.length === 4, 'four changes');
  assert.deepEqual([changes[2]?.joined, changes[2]?.left], [[], []]);
  assert.deepEqual([changes[3]?.joined, changes[3]?.left], [[eve], ['bob']]);
  peer.send({ type: 'presence', room: 'r', mode: 'count', count: 7000 });
  await until(() => changes.length === 5, 'a count');
  assert.deepEqual([room.members.size, room.count], [0, 7000]);
  peer.send({ type: 'presence', room: 'r', mode: 'delta', joined: [bob], left: [], count: 1 });
  const present = client.present('elsewhere', ['ann', 'bob']);
  const asked = await peer.expect('presence');
  assert.deepEqual(asked.users, ['ann', 'bob']);
  peer.send({
    type: 'presence',
    room: 'elsewhere',
    id: asked.id ?? 0,
    mode: 'count',
    users: ['ann'],
    count: 9,
  });
  assert.deepEqual(await present, ['ann']);
  const asking = client.presence('elsewhere');
  const { id = 0 } = await peer.expect('presence');
  peer.send({ type: 'presence', room: 'elsewhere', id, mode: 'full', members: [bob, bob], count: 2 });
  assert.equal((await asking).count, 2);
  assert.equal(room.count, 1);
});

test('presence: nobody has left for not being in a partial list; the whole one is asked for', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('r', { presence: true });
  const changes = record<Presence>((listener) => room.on('presence', listener));
  const [ann, bob, cid] = [
    { user: 'ann', connections: 1 },
    { user: 'bob', connections: 1 },
    { user: 'cid', connections: 1 },
  ];
  const peer = (await server.peer()).info();
  await peer.joins({ mode: 'full', members: [ann, bob, cid], count: 3 });
  peer.socket.terminate();
  const again = (await server.peer()).info();
  await again.joins({ mode: 'full', members: [ann], count: 1, partial: true });
  const full = { type: 'presence', room: 'r', mode: 'full' } as const;
  const first = await again.expect('presence');
  assert.deepEqual([...room.members.keys()], ['ann', 'bob', 'cid']);
  again.send({ ...full, id: first.id ?? 0, members: [ann], count: 1, partial: true });
  const second = await again.expect('presence');
  again.send({ ...full, id: second.id ?? 0, members: [ann, cid], count: 2 });
  await until(() => room.members.size === 2, 'the whole');
  assert.deepEqual(
    changes.flatMap(({ left }) => left),
    ['bob'],
  );
});

test('a join that begins at a cursor of the server: the first event says where', async (t) => {
  const server = await scripted(t);
  const room = server.client().join('@me');
  const heard = record<RoomEvent>((listener) => room.on('event', listener));
  const peer = (await server.peer()).info();
  const { since } = await peer.joins({ seq: 12, recovered: 'full', replay: 2, unread: 2 });
  assert.equal(since, undefined);
  peer.send(event(9, 4, { room: '@me' }), event(12, 9, { room: '@me' }));
  peer.send({ type: 'caught_up', room: '@me', seq: 12 });
  await until(() => heard.length === 2, 'two events');
  assert.deepEqual(room.position, { epoch: 'e', seq: 12 });
  assert.deepEqual(peer.unread, [], 'no hole was seen');
});

test('history is asked again after a loss and after a refusal that passes', async (t) => {
  const server = await scripted(t);
  const client = server.client();
  const peer = (await server.peer()).info();
  const asking = client.history('r', { limit: 5 });
  assert.equal((await peer.expect('history')).limit, 5);
  peer.socket.terminate();
  const next = (await server.peer()).info();
  const { id = 0 } = await next.expect('history');
  next.send({ type: 'error', code: 'rate_limited', reason: '', retry: true, retryAfterMs: 20, id });
  const { id: last = 0 } = await next.expect('history');
  next.send({ type: 'history', room: 'r', id: last, epoch: 'e', events: [event(1)], more: false });
  const page = await asking;
  assert.deepEqual([page.events.length, page.more, page.truncated], [1, false, false]);
});

test('an answer that never comes is a timeout', async (t) => {
  const server = await scripted(t);
  const client = server.client({ requestTimeoutMs: 50 });
  (await server.peer()).info();
  await assert.rejects(client.history('r'), { code: 'timeout' });
});

test('a name that no room can have is refused at once', async (t) => {
  const server = await scripted(t);
  assert.throws(() => server.client().join('no spaces'), TypeError);
});
