/** When small frames become one array, and how long the first of them may wait. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimNode, type SimOptions, type SimSocket } from '../support/sim.ts';

/** A node whose sockets tell messages apart: each entry is one message, with the types of its frames. */
class Node extends SimNode {
  messages(socket: SimSocket): string[][] {
    return socket.messages.splice(0).map((message) => message.map(({ type }) => type));
  }
}

function node(options: SimOptions): Node {
  return new Node(options);
}

function joined(sim: Node, user: string, room: string): SimSocket {
  const socket = sim.connect(user);
  socket.write({ type: 'join', room });
  sim.settle();
  sim.messages(socket);
  return socket;
}

function publish(socket: SimSocket, room: string, payload: unknown, more: object = {}): void {
  socket.write({ type: 'pub', room, payload, ...more });
}

test('C4.0 a room with batchMs gathers its events up to that, then sends one array', () => {
  const sim = node({ roomBatchMs: 10 });
  const reader = joined(sim, 'reader', 'a');
  const writer = sim.connect('writer');
  for (let at = 0; at < 5; at++) {
    publish(writer, 'a', at);
    sim.turn();
    sim.pass(1);
  }
  assert.deepEqual(sim.messages(reader), [], 'nothing within 5 ms');
  sim.pass(4);
  assert.deepEqual(sim.messages(reader), []);
  sim.pass(1);
  assert.deepEqual(sim.messages(reader), [Array(5).fill('event')], 'all after 10 ms');
});

test('an array that is full leaves at the end of its turn', () => {
  const sim = node({ roomBatchMs: 10, batching: { batchEvents: 3, batchBytes: 1024 } });
  const reader = joined(sim, 'reader', 'a');
  const writer = sim.connect('writer');
  for (let at = 0; at < 3; at++) publish(writer, 'a', at);
  assert.deepEqual(sim.messages(reader), [], 'not within the handler');
  sim.turn();
  assert.deepEqual(sim.messages(reader), [['event', 'event', 'event']], 'by number');
  publish(writer, 'a', 'x'.repeat(1024));
  sim.turn();
  assert.deepEqual(sim.messages(reader), [['event']], 'by bytes');
  publish(writer, 'a', 'small');
  sim.turn();
  assert.deepEqual(sim.messages(reader), []);
});

test('no array is longer than batchBytes, unless it is one event', () => {
  const sim = node({ batching: { batchEvents: 64, batchBytes: 2000 } });
  const reader = joined(sim, 'reader', 'a');
  const writer = sim.connect('writer');
  for (const length of [960, 960, 960, 3000, 10, 10]) publish(writer, 'a', 'ä'.repeat(length / 2));
  sim.turn();
  const bytes = reader.messages.map((frames) => Buffer.byteLength(JSON.stringify(frames)));
  assert.deepEqual(
    sim.messages(reader).map((types) => types.length),
    [1, 1, 1, 1, 2],
  );
  assert.deepEqual(
    bytes.map((size) => size <= 2000),
    [true, true, true, false, true],
  );
});

test('C5.2 in a room that waits the ack of a member waits as well; others get theirs at once', () => {
  const sim = node({ roomBatchMs: 10 });
  const member = joined(sim, 'member', 'a');
  const stranger = sim.connect('stranger');
  sim.messages(stranger);
  publish(member, 'a', 1, { id: 1 });
  publish(stranger, 'a', 2, { id: 2 });
  sim.turn();
  assert.deepEqual(sim.messages(member), []);
  assert.deepEqual(sim.messages(stranger), [['ack']]);
  sim.pass(10);
  sim.turn();
  assert.deepEqual(sim.messages(member), [['event', 'event'], ['ack']]);
});

test('C3.9.5 with echo: false the ack stands where the event would have, also in a room that waits', () => {
  const sim = node({ roomBatchMs: 10 });
  const member = joined(sim, 'member', 'a');
  const other = sim.connect('other');
  publish(other, 'a', 1);
  publish(member, 'a', 2, { echo: false });
  publish(other, 'a', 3);
  sim.turn();
  assert.deepEqual(sim.messages(member), []);
  sim.pass(10);
  assert.deepEqual(sim.messages(member), [['event'], ['ack'], ['event']]);
});

test('C3.8.1 what a room holds comes before left, and before a newcomer is in', () => {
  const sim = node({ roomBatchMs: 10 });
  const member = joined(sim, 'member', 'a');
  publish(member, 'a', 1);
  sim.turn();
  const newcomer = sim.connect('newcomer');
  newcomer.write({ type: 'join', room: 'a' });
  assert.deepEqual(sim.messages(newcomer), [['server_info'], ['joined']]);
  assert.deepEqual(sim.messages(member), [['event']]);
  publish(member, 'a', 2);
  member.write({ type: 'leave', room: 'a' });
  sim.settle();
  assert.deepEqual(sim.messages(member).flat(), ['event', 'left', 'ack', 'ack']);
});

test('a session that the server ends gets what its rooms hold, and its acks', () => {
  const sim = node({ roomBatchMs: 10 });
  const member = joined(sim, 'member', 'a');
  publish(member, 'a', 1);
  sim.turn();
  sim.drain();
  assert.deepEqual(sim.messages(member).flat(), ['drain', 'event', 'ack']);
});

function resumeAll(sim: Node, rooms: readonly string[]): SimSocket {
  const epoch = 'e1';
  const socket = sim.connect('back');
  sim.messages(socket);
  for (const room of rooms) socket.write({ type: 'join', room, since: { epoch, seq: 0 } });
  return socket;
}

const ROOMS = ['a', 'b', 'c'];

function withHistory(options: SimOptions): Node {
  const sim = node(options);
  const writer = sim.connect('writer');
  for (const room of ROOMS) for (let at = 0; at < 2; at++) publish(writer, room, at);
  sim.settle();
  return sim;
}

const REPLAY = ['joined', 'event', 'event', 'caught_up'];

test('C4.3 without a ceiling a short replay is one array, answer and end included', () => {
  const sim = withHistory({});
  assert.deepEqual(sim.messages(resumeAll(sim, ROOMS)), [REPLAY, REPLAY, REPLAY]);
});

test('with a ceiling the rooms of one connection share an array, and what comes meanwhile is in it', () => {
  const sim = withHistory({ batching: { batchMs: 10 } });
  const socket = resumeAll(sim, ROOMS);
  const writer = sim.connect('writer');
  sim.pass(9);
  publish(writer, 'b', 'late');
  sim.turn();
  assert.deepEqual(sim.messages(socket), []);
  sim.pass(1);
  const [array, ...more] = sim.messages(socket);
  assert.deepEqual(more, []);
  const starts = ROOMS.flatMap(() => ['joined', 'event', 'event']);
  assert.deepEqual(array, [...starts, 'caught_up', 'event', 'caught_up', 'caught_up']);
  publish(writer, 'b', 'live');
  sim.turn();
  assert.deepEqual(sim.messages(socket), [['event']], 'native from here on');
});

test('what is sent to the connection alone does not overtake what waits for it', () => {
  const sim = withHistory({ batching: { batchMs: 10 } });
  const socket = resumeAll(sim, ['a']);
  socket.write({ type: 'ping', ts: 1 });
  assert.deepEqual(sim.messages(socket), [['joined', 'event', 'event'], ['pong']]);
  sim.pass(10);
  assert.deepEqual(sim.messages(socket), [['caught_up']]);
});

test('a catch-up whose wait ended while its socket was full is handed over by itself', () => {
  const sim = withHistory({ batching: { batchMs: 10 }, limits: { catchUpBytes: 2000 } });
  const socket = resumeAll(sim, ['a']);
  socket.slow = true;
  socket.waiting = 3000;
  sim.pass(10);
  sim.turn();
  assert.deepEqual(sim.messages(socket), [['joined', 'event', 'event']]);
  socket.slow = false;
  socket.drain();
  sim.turn();
  assert.deepEqual(sim.messages(socket), [['caught_up']], 'at once: it is subscribed from here on');
});

test('a reader that comes back from latest gets gaps and events as one array', () => {
  const sim = node({ limits: { bufferedSoftBytes: 100, catchUpBytes: 50 } });
  const socket = sim.connect('slow');
  socket.write({ type: 'join', room: 'live:x', overflow: 'latest' });
  const writer = sim.connect('writer');
  socket.slow = true;
  for (let at = 0; at < 200; at++) {
    publish(writer, 'live:x', 'x'.repeat(60_000), { key: 'big' });
    sim.turn();
    if (!socket.topics.size) break;
  }
  assert.equal(socket.topics.size, 0, 'taken off its topic');
  for (let at = 0; at < 6; at++) publish(writer, 'live:x', at, { key: `k${at % 3}` });
  sim.turn();
  sim.messages(socket);
  socket.slow = false;
  socket.drain();
  assert.deepEqual(sim.messages(socket), [['gap', 'event', 'event', 'event']]);
});
