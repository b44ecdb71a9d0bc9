/** Who is typing: what is sent, how often, and when it is over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CarillonError, RoomEvent } from '../../src/client/index.ts';
import type { EventFrame } from '../../src/protocol/frames.ts';
import { event, type Peer, record, scripted, until } from './scripted.ts';

const EXPIRE_MS = 300;
const LIMITS = { ephemeral: { perSecond: 10, expireMs: EXPIRE_MS } };

function signal(from: string, typing: boolean, more: Partial<EventFrame> = {}): EventFrame {
  const frame = { room: 'r', payload: { typing }, ts: 0, from, key: 'carillon.typing' };
  return { type: 'event', ...frame, ephemeral: true, expireMs: EXPIRE_MS, ...more };
}

async function joinedRoom(t: Parameters<typeof scripted>[0], limits: object | undefined = LIMITS) {
  const server = await scripted(t);
  const client = server.client();
  const room = client.join('r', { presence: true });
  const typing = room.typing();
  typing.start();
  const peer = (await server.peer()).info();
  await peer.joins({ ...(limits !== undefined && { limits }), members: [], count: 0 });
  await room.whenJoined();
  assert.equal(room.typing(), typing);
  return { client, room, typing, peer };
}

async function said(peer: Peer): Promise<boolean> {
  const { msgId = '', room, key, ephemeral, echo, payload } = await peer.expect('pub');
  assert.deepEqual([room, key, ephemeral, echo], ['r', 'carillon.typing', true, false]);
  peer.send({ type: 'ack', room, msgId });
  return (payload as { typing: boolean }).typing;
}

test('at once, not at every key, again before it expires, and its end', async (t) => {
  const { client, typing, peer } = await joinedRoom(t);
  const from = performance.now();
  for (let n = 0; n < 20; n++) typing.start();
  assert.equal(await said(peer), true);
  while (performance.now() - from < EXPIRE_MS * 0.6) {
    typing.start();
    await sleep(5);
  }
  typing.start();
  assert.equal(await said(peer), true, 'renewed at half of its time');
  typing.stop();
  typing.stop();
  assert.equal(await said(peer), false);
  typing.start();
  assert.equal(await said(peer), true, 'at once after an end');
  await sleep(EXPIRE_MS);
  typing.stop();
  await client.flush();
  await sleep(20);
  assert.deepEqual(peer.unread, [], 'it was over by itself, and nothing before the join was sent');
});

test('who has written without an end before it is told as typing again at the next key', async (t) => {
  const { room, typing, peer } = await joinedRoom(t, { ephemeral: { perSecond: 10, expireMs: 600_000 } });
  const heard = record<RoomEvent>((listener) => room.on('event', listener));
  typing.start();
  assert.equal(await said(peer), true);
  peer.send(event(1, 0, { from: 'me' }));
  await until(() => heard.length === 1);
  typing.start();
  assert.equal(await said(peer), true);
});

test('others: in the order in which they began, until they end, write, leave or fall silent', async (t) => {
  const { room, typing, peer } = await joinedRoom(t);
  const events = record<RoomEvent>((listener) => room.on('event', listener));
  const changes = record<readonly string[]>((listener) => typing.on('change', listener));
  peer.send(signal('cid', true), signal('ann', true), signal('me', true), signal('ann', true));
  await until(() => changes.length === 2, 'two who type');
  assert.deepEqual(changes, [['cid'], ['cid', 'ann']]);
  peer.send(event(1, 0, { from: 'cid' }));
  await until(() => changes.length === 3, 'cid has written');
  assert.deepEqual(typing.users, ['ann']);
  const from = performance.now();
  peer.send(signal('ann', false), signal('bob', true), signal('eve', true, { expireMs: 5000 }));
  await until(() => typing.users.join() === 'bob,eve', 'ann has ended');
  await until(() => typing.users.join() === 'eve', 'bob is forgotten');
  const took = performance.now() - from;
  assert.ok(took > EXPIRE_MS - 5, `after ${took} ms`);
  peer.send({
    type: 'presence',
    room: 'r',
    mode: 'delta',
    joined: [{ user: 'eve', connections: 1 }],
    count: 1,
  });
  peer.send({ type: 'presence', room: 'r', mode: 'delta', left: ['eve'], count: 0 });
  await until(() => typing.users.length === 0, 'eve has left');
  assert.deepEqual(
    events.map(({ seq }) => seq),
    [1],
    'signals are no events',
  );
});

test('a signal that is renewed holds on; other ephemeral events are events', async (t) => {
  const { room, typing, peer } = await joinedRoom(t);
  const events = record<RoomEvent>((listener) => room.on('event', listener));
  const changes = record<readonly string[]>((listener) => typing.on('change', listener));
  for (let n = 0; n < 4; n++) {
    peer.send(signal('ann', true, { expireMs: 1500 }));
    await sleep(500);
  }
  assert.deepEqual(changes, [['ann']]);
  peer.send(signal('bob', true, { key: 'cursor' }), signal('ann', true, { payload: 'odd' }));
  await until(() => changes.length === 2, 'a payload of another kind is no typing');
  assert.deepEqual(
    events.map(({ key }) => key),
    ['cursor'],
  );
  peer.send(signal('ann', true));
  await until(() => changes.length === 3, 'ann again');
  void room.leave();
  assert.deepEqual(changes.at(-1), []);
});

test('a refusal that passes is not repeated and holds nothing up; one that stays is told', async (t) => {
  const { room, typing, peer } = await joinedRoom(t, undefined);
  const errors = record<CarillonError>((listener) => room.on('error', listener));
  const refuse = async (code: 'rate_limited' | 'forbidden', retry: boolean) => {
    typing.stop();
    typing.start();
    const { msgId = '' } = await peer.expect('pub');
    peer.send({
      type: 'error',
      code,
      reason: '',
      retry,
      msgId,
      room: 'r',
      ...(retry && { retryAfterMs: 2000 }),
    });
  };
  await refuse('rate_limited', true);
  const sent = room.publish('text');
  const { payload, msgId = '' } = await peer.expect('pub');
  assert.equal(payload, 'text', 'at once');
  peer.send({ type: 'ack', room: 'r', msgId, seq: 1, epoch: 'e' });
  await sent;
  assert.deepEqual(errors, []);
  typing.stop();
  await peer.expect('pub');
  await refuse('forbidden', false);
  await until(() => errors.length === 1, 'the error');
  assert.deepEqual(
    errors.map(({ code }) => code),
    ['forbidden'],
  );
});
