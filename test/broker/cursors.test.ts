import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cursors, Fault, RoomRef } from '../../src/broker/ports.ts';
import { MemoryCursors } from '../../src/bus/memory/cursors.ts';
import type { JoinedFrame, ServerFrame } from '../../src/protocol/frames.ts';
import { roomRef } from '../support/rooms.ts';
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

test('C3.14.1 a move that cannot be taken is answered, room by room', () => {
  const node = new SimNode({ cursors: new FullCursors() });
  node.connect('bob').write({ type: 'pub', room: '@ann', payload: 1 });
  const { socket, joined } = inbox(node, 'ann');
  socket.write({ type: 'seen', id: 'x', rooms: { '@ann': joined.seq } });
  const [refusal, ...more] = socket.take();
  assert.deepEqual(more, []);
  assert.ok(refusal?.type === 'error');
  const { code, limit, room, id, retry } = refusal;
  assert.deepEqual(
    { code, limit, room, id, retry },
    { code: 'overloaded', limit: 9, room: '@ann', id: 'x', retry: true },
  );
});

test('C3.14.3 a join that needs a cursor which cannot be read is refused, one with a position is not', () => {
  const cursors = new FullCursors();
  const node = new SimNode({ cursors });
  cursors.away = true;
  const socket = node.connect('ann');
  socket.take();
  socket.write({ type: 'join', room: '@ann', id: 1 });
  const [refusal, ...more] = socket.take();
  assert.deepEqual(more, []);
  assert.ok(refusal?.type === 'error' && refusal.code === 'unavailable' && refusal.retry && refusal.id === 1);
  socket.write({ type: 'join', room: '@ann', since: { epoch: 'e1', seq: 0 } });
  assert.equal(socket.take()[0]?.type, 'joined');
});

test('C3.14.3 whoever leaves, by request or by a broken line, has its cursor stored at once', () => {
  const cursors = new FullCursors();
  const node = new SimNode({ cursors });
  const first = inbox(node, 'ann');
  first.socket.write({ type: 'leave', room: '@ann' });
  assert.deepEqual(cursors.flushed, ['@ann ann']);
  const second = inbox(node, 'ann');
  second.socket.end(1006);
  assert.deepEqual(cursors.flushed, ['@ann ann', '@ann ann']);
});

/** Takes no moves; answers when it is not away. */
class FullCursors implements Cursors {
  away = false;
  readonly flushed: string[] = [];

  get(_room: RoomRef, _user: string, done: (cursor: undefined | Fault) => void): void {
    done(this.away ? { ok: false, code: 'unavailable', reason: 'away' } : undefined);
  }

  put(): Fault {
    return { ok: false, code: 'overloaded', reason: 'full', limit: 9 };
  }

  flush(room: RoomRef, user: string): void {
    this.flushed.push(`${room.name} ${user}`);
  }
}

test('C4.2 where retention or a new epoch has taken unseen events, unread is what is left of them', () => {
  const node = new SimNode({ history: { count: 3, bytes: 65_536, ageMs: 600_000 } });
  const sender = node.connect('bob');
  sender.write({ type: 'pub', room: '@ann', payload: 0 });
  const { socket, joined } = inbox(node, 'ann');
  socket.write({ type: 'seen', rooms: { '@ann': joined.seq } });
  for (const payload of [1, 2, 3, 4, 5]) sender.write({ type: 'pub', room: '@ann', payload });
  const cut = inbox(node, 'ann');
  assert.deepEqual([cut.joined.recovered, cut.joined.unread], ['partial', 3]);
  assert.deepEqual(payloads(cut.frames), [3, 4, 5]);
  const cursors = new MemoryCursors(10);
  const later = new SimNode({ cursors });
  cursors.put(roomRef('@ann'), 'ann', { epoch: 'over', seq: 2 });
  later.connect('bob').write({ type: 'pub', room: '@ann', payload: 6 });
  const renewed = inbox(later, 'ann');
  assert.deepEqual([renewed.joined.recovered, renewed.joined.unread], ['none', 1]);
  assert.deepEqual(payloads(renewed.frames), [6]);
});

test('C4.2 unread is the exact number of events kept after the cursor, beyond what one page holds', () => {
  const history = { count: 12_000, bytes: 64 * 1024 * 1024, ageMs: 600_000 };
  const node = new SimNode({ history });
  const sender = node.connect('bob');
  const reader = inbox(node, 'ann').socket;
  const seqs: number[] = [];
  for (let n = 0; n < 11_000; n++) {
    // Positions grow by more than one.
    sender.write({ type: 'pub', room: n % 2 ? '@bob' : '@cid', payload: 0 });
    sender.write({ type: 'pub', room: '@ann', payload: n });
    if (n % 100 === 0) node.settle();
  }
  node.settle();
  for (const frame of reader.take()) if (frame.type === 'event') seqs.push(frame.seq as number);
  assert.equal(seqs.length, 11_000);
  for (const seen of [undefined, 0, 1, 5000, 10_999, 11_000]) {
    if (seen !== undefined && seen > 0) {
      reader.write({ type: 'seen', rooms: { '@ann': seqs[seen - 1] } });
    }
    const again = inbox(node, 'ann');
    assert.equal(again.joined.unread, 11_000 - (seen ?? 0));
    assert.equal(payloads(again.frames).length, again.joined.unread);
    again.socket.end(1000);
  }
});

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

test('C3.14.4 a position of another epoch than the room has is passed over, one of its own is not', () => {
  const node = new SimNode();
  const sender = node.connect('bob');
  for (const payload of [1, 2]) sender.write({ type: 'pub', room: '@ann', payload });
  const { socket, joined } = inbox(node, 'ann');
  // As a client sends it that has not read yet that its join was answered with a new epoch.
  socket.write({ type: 'seen', rooms: { '@ann': joined.seq }, epochs: { '@ann': 'before' } });
  assert.deepEqual(payloads(inbox(node, 'ann').frames), [1, 2]);
  socket.write({ type: 'seen', rooms: { '@ann': joined.seq }, epochs: { '@ann': joined.epoch } });
  assert.deepEqual(payloads(inbox(node, 'ann').frames), []);
  assert.deepEqual(socket.take(), []);
});

test('C3.14.4 rooms without an epoch are taken at their word, whatever they are called', () => {
  const history = { count: 10, bytes: 65_536, ageMs: 600_000 };
  const rooms = [{ match: '**', matches: () => true, overflow: 'skip', history, cursor: true } as const];
  const node = new SimNode({ rooms });
  const socket = node.connect('ann');
  for (const room of ['constructor', 'other']) {
    socket.write({ type: 'pub', room, payload: room });
    socket.write({ type: 'join', room });
  }
  node.settle();
  socket.take();
  socket.write({ type: 'seen', rooms: { constructor: 9, other: 9 }, epochs: { other: 'before' } });
  const again = node.connect('ann');
  for (const room of ['constructor', 'other']) again.write({ type: 'join', room });
  node.settle();
  assert.deepEqual(payloads(again.take()), ['other']);
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
