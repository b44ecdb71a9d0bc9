import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JoinedFrame, ServerFrame } from '../../src/protocol/frames.ts';
import { SimNode, type SimSocket } from '../support/sim.ts';

function inbox(
  node: SimNode,
  user: string,
): { socket: SimSocket; frames: ServerFrame[]; joined: JoinedFrame } {
  const socket = node.connect(user);
  socket.write({ type: 'join', room: `@${user}` });
  node.settle();
  const frames = socket.take().slice(1);
  assert.equal(frames[0]?.type, 'joined');
  return { socket, frames, joined: frames[0] as JoinedFrame };
}

function payloads(frames: readonly ServerFrame[]): unknown[] {
  return frames.flatMap((frame) => (frame.type === 'event' ? [frame.payload] : []));
}

test('an inbox begins after what its user has seen, on any device, and says how much is unread', () => {
  const node = new SimNode();
  const sender = node.connect('bob');
  for (const payload of [1, 2, 3]) sender.write({ type: 'pub', room: '@ann', payload });
  const first = inbox(node, 'ann');
  assert.deepEqual(payloads(first.frames), [1, 2, 3], 'never seen anything: all that is kept');
  assert.equal(first.joined.unread, 3);
  const second = (first.frames[2] as { seq: number }).seq;
  first.socket.write({ type: 'seen', rooms: { '@ann': second } });
  first.socket.end(1006);
  sender.write({ type: 'pub', room: '@ann', payload: 4 });
  const again = inbox(node, 'ann');
  assert.deepEqual(payloads(again.frames), [3, 4]);
  assert.equal(again.joined.unread, 2);
  assert.equal(again.joined.recovered, 'full');
});

test('a cursor only grows, and never beyond what has been published', () => {
  const node = new SimNode();
  const sender = node.connect('bob');
  for (const payload of [1, 2]) sender.write({ type: 'pub', room: '@ann', payload });
  const first = inbox(node, 'ann');
  first.socket.write({ type: 'seen', rooms: { '@ann': 9_000_000 } });
  first.socket.write({ type: 'seen', rooms: { '@ann': 1 } });
  sender.write({ type: 'pub', room: '@ann', payload: 3 });
  assert.deepEqual(payloads(inbox(node, 'ann').frames), [3]);
});

test('a client with a position of its own comes back to that, whatever the cursor says', () => {
  const node = new SimNode();
  const sender = node.connect('bob');
  for (const payload of [1, 2]) sender.write({ type: 'pub', room: '@ann', payload });
  const { socket, joined } = inbox(node, 'ann');
  socket.write({ type: 'seen', rooms: { '@ann': joined.seq } });
  socket.write({ type: 'leave', room: '@ann' });
  socket.write({ type: 'join', room: '@ann', since: { epoch: joined.epoch, seq: 0 } });
  node.settle();
  assert.deepEqual(payloads(socket.take()), [1, 2]);
});

test('`seen` for a room that is not joined is refused; rooms without cursors take it and keep nothing', () => {
  const node = new SimNode();
  const socket = node.connect('ann');
  socket.write({ type: 'join', room: 'r' });
  node.settle();
  socket.take();
  socket.write({ type: 'seen', id: 5, rooms: { r: 1, other: 2 } });
  node.settle();
  const [refusal, ...more] = socket.take();
  assert.deepEqual(more, []);
  assert.ok(
    refusal?.type === 'error' &&
      refusal.code === 'not_joined' &&
      refusal.room === 'other' &&
      refusal.id === 5,
  );
});
