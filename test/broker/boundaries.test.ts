import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryBus } from '../../src/bus/memory/bus.ts';
import type { AckFrame, EventFrame, JoinedFrame, ServerFrame } from '../../src/protocol/frames.ts';
import { LIMITS } from '../support/limits.ts';
import { QUIET, SimNode, type SimSocket } from '../support/sim.ts';

/** Frame types in the order received, events by payload. */
function story(frames: readonly ServerFrame[]): string[] {
  return frames.map((frame) =>
    frame.type === 'event' ? `event ${JSON.stringify(frame.payload)}` : frame.type,
  );
}

function pair(room = 'r'): { node: SimNode; a: SimSocket; b: SimSocket } {
  const node = new SimNode();
  const a = node.connect('a');
  const b = node.connect('b');
  a.write({ type: 'join', room });
  b.write({ type: 'join', room });
  node.settle();
  a.take();
  b.take();
  return { node, a, b };
}

function only<T extends ServerFrame['type']>(frames: readonly ServerFrame[], type: T) {
  return frames.filter((frame): frame is Extract<ServerFrame, { type: T }> => frame.type === type);
}

test('the events of a turn reach a member that leaves in the same turn, before its `left`', () => {
  const { node, a, b } = pair();
  a.write({ type: 'pub', room: 'r', payload: 1 });
  b.write({ type: 'leave', room: 'r' });
  a.write({ type: 'pub', room: 'r', payload: 2 });
  node.settle();
  assert.deepEqual(story(b.take()), ['event 1', 'left']);
  assert.deepEqual(story(a.take()), ['event 1', 'event 2', 'ack', 'ack']);
});

test('a member that joins between two publishes of one turn gets the second only, and `joined` names the first', () => {
  const { node, a } = pair();
  const c = node.connect('c');
  c.take();
  a.write({ type: 'pub', room: 'r', payload: 1 });
  c.write({ type: 'join', room: 'r' });
  a.write({ type: 'pub', room: 'r', payload: 2 });
  node.settle();
  const frames = c.take();
  assert.deepEqual(story(frames), ['joined', 'event 2']);
  const [joined, event] = frames as [JoinedFrame, EventFrame];
  assert.equal(event.prev, joined.seq);
});

test('with echo: false the ack stands exactly where the event would have stood', () => {
  const { node, a, b } = pair();
  b.write({ type: 'pub', room: 'r', payload: 'before' });
  a.write({ type: 'pub', room: 'r', payload: 'mine', echo: false, msgId: 'm' });
  b.write({ type: 'pub', room: 'r', payload: 'after' });
  node.settle();
  const frames = a.take();
  assert.deepEqual(story(frames), ['event "before"', 'ack', 'event "after"']);
  const [before, ack, after] = frames as [EventFrame, AckFrame, EventFrame];
  assert.equal(after.prev, ack.seq);
  assert.ok((ack.seq as number) > (before.seq as number));
  assert.deepEqual(story(b.take()), ['event "before"', 'event "mine"', 'event "after"', 'ack', 'ack']);
});

test('a publisher that is not in the room gets its ack; echo: false changes nothing for it', () => {
  const { node } = pair();
  const c = node.connect('c');
  c.take();
  c.write({ type: 'pub', room: 'r', payload: 1, echo: false, id: 7 });
  node.settle();
  const [ack] = c.take() as [AckFrame];
  assert.equal(ack.type, 'ack');
  assert.equal(ack.id, 7);
});

test('an ephemeral event has no place in the order and is not kept', () => {
  const { node, a, b } = pair();
  a.write({ type: 'pub', room: 'r', payload: 1 });
  a.write({ type: 'pub', room: 'r', payload: 'typing', ephemeral: true });
  a.write({ type: 'pub', room: 'r', payload: 2 });
  a.write({ type: 'history', room: 'r', id: 1 });
  node.settle();
  const [first, passing, second] = only(b.take(), 'event') as [EventFrame, EventFrame, EventFrame];
  assert.equal(passing.ephemeral, true);
  assert.equal(passing.seq, undefined);
  assert.equal(second.prev, first.seq);
  const [page] = only(a.take(), 'history');
  assert.deepEqual(
    page?.events.map((event) => event.payload),
    [1, 2],
  );
});

test('a payload reaches every receiver byte for byte', () => {
  const { node, a } = pair();
  const raw: string[] = [];
  const send = a.send.bind(a);
  a.send = (data) => {
    raw.push(String(data));
    return send(data);
  };
  const payload = '{ "n": 12345678901234567890, "f": 1.0, "e":1e300 }';
  a.peer?.receive(new TextEncoder().encode(`{"type":"pub","room":"r","payload":${payload}}`), false);
  node.settle();
  assert.ok(
    raw.some((text) => text.endsWith(`"payload":${payload}}`)),
    raw.join('\n'),
  );
});

test('presence: the newcomer gets the members in `joined`, the others a delta; users are merged', () => {
  const node = new SimNode();
  const a = node.connect('a', { info: { colour: 'red' } });
  a.write({ type: 'join', room: 'r', presence: true });
  node.settle();
  const [joined] = only(a.take(), 'joined');
  assert.deepEqual(joined?.members, [{ user: 'a', info: { colour: 'red' }, connections: 1 }]);
  const b1 = node.connect('b');
  const b2 = node.connect('b');
  b1.write({ type: 'join', room: 'r', presence: true });
  b2.write({ type: 'join', room: 'r' });
  node.settle();
  assert.deepEqual(only(a.take(), 'presence'), [
    {
      type: 'presence',
      room: 'r',
      mode: 'delta',
      joined: [{ user: 'b', connections: 1 }],
      left: [],
      count: 2,
    },
  ]);
  assert.deepEqual(only(b1.take(), 'presence'), [], 'not told of itself');
  b1.end(1000);
  node.settle();
  assert.deepEqual(only(a.take(), 'presence'), [], 'b is still here by its other connection');
  b2.end(1000);
  node.settle();
  assert.deepEqual(only(a.take(), 'presence'), [
    { type: 'presence', room: 'r', mode: 'delta', joined: [], left: ['b'], count: 1 },
  ]);
});

test('nobody is told anything in a room where nobody asked for presence', () => {
  const { node, a } = pair();
  node.connect('c').write({ type: 'join', room: 'r' });
  node.settle();
  assert.deepEqual(a.take(), []);
});

test('@echo answers its publisher and nobody else, joined or not', () => {
  const { node, a, b } = pair();
  a.write({ type: 'pub', room: '@echo', payload: { probe: 1 }, id: 1 });
  node.settle();
  assert.deepEqual(story(a.take()), ['event {"probe":1}', 'ack']);
  assert.deepEqual(b.take(), []);
});

test('C3.9.2: a publish that fails inside is answered with its id and msgId, and costs nothing else', () => {
  class Broken extends MemoryBus {
    override publish(): never {
      throw new Error('a broken invariant');
    }
  }
  const node = new SimNode({
    bus: (clock) => new Broken({ limits: LIMITS, clock, epoch: 'e1', log: QUIET }),
  });
  const a = node.connect('a');
  a.take();
  a.write({ type: 'pub', room: 'r', payload: 1, id: 7, msgId: 'm' });
  a.write({ type: 'ping', id: 8 });
  node.settle();
  const [error, pong] = a.take();
  assert.ok(error?.type === 'error');
  assert.deepEqual([error.code, error.id, error.msgId, error.room], ['internal', 7, 'm', 'r']);
  assert.equal(pong?.type, 'pong');
});

/** A node that knows an earlier position of a silent room than the client does, with no event between the two. */
class Behind extends MemoryBus {
  override replay(...[room, since, page, done]: Parameters<MemoryBus['replay']>): void {
    super.replay(room, since, page, (result) => {
      if (result.ok && 'seq' in since)
        done({ ok: true, epoch: 'e1', recovered: 'full', events: [], remaining: 0 });
      else done(result);
    });
  }
}

test('a client that is ahead of its node, with nothing in between, is handed over at once', () => {
  const node = new SimNode({
    bus: (clock) => new Behind({ limits: LIMITS, clock, epoch: 'e1', log: QUIET }),
  });
  const a = node.connect('a');
  a.write({ type: 'join', room: 'r', since: { epoch: 'e1', seq: 500 } });
  node.settle();
  assert.deepEqual(story(a.take()), ['server_info', 'joined', 'caught_up']);
});
