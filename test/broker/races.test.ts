/** What a bus between nodes may do to a session: each of these was found by test/simulation first. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bus, Clock, Fault, RoomSink } from '../../src/broker/ports.ts';
import { MemoryBus } from '../../src/bus/memory/bus.ts';
import type { ServerFrame } from '../../src/protocol/frames.ts';
import { LIMITS } from '../support/limits.ts';
import { QUIET, SimNode, type SimSocket } from '../support/sim.ts';

const UNSEEN: Fault = { ok: false, code: 'unavailable', reason: 'its event has not come back' };

/** The embedded bus behind a delay that the test ends by hand, for the calls that `late` names. */
class LateBus {
  late: readonly ('open' | 'publish' | 'settle' | 'replay')[] = [];
  /** In place of what the bus answers. */
  outcome: Fault | undefined;
  readonly sinks: RoomSink[] = [];
  readonly #waiting: (() => void)[] = [];

  over(clock: Clock): Bus {
    const bus = new MemoryBus({ limits: LIMITS, clock, epoch: 'e1', log: QUIET });
    const open: Bus['open'] = (room, sink) => {
      this.sinks.push(sink);
      this.#when('open', () => bus.open(room, sink));
    };
    const publish: Bus['publish'] = (publication, settle) =>
      this.#when('publish', () =>
        bus.publish(publication, (outcome) => this.#when('settle', () => settle(this.outcome ?? outcome))),
      );
    const replay: Bus['replay'] = (room, since, page, done) =>
      this.#when('replay', () => bus.replay(room, since, page, done));
    const overrides: Partial<Bus> = { open, publish, replay };
    return new Proxy<Bus>(bus, {
      get: (target, name) => {
        const value = Reflect.get(name in overrides ? overrides : target, name);
        return name in overrides || typeof value !== 'function' ? value : value.bind(target);
      },
    });
  }

  arrive(): void {
    for (const task of this.#waiting.splice(0)) task();
  }

  #when(call: (typeof this.late)[number], task: () => void): void {
    if (this.late.includes(call)) this.#waiting.push(task);
    else task();
  }
}

function setUp(): { bus: LateBus; node: SimNode; ann: SimSocket; bob: SimSocket } {
  const bus = new LateBus();
  const node = new SimNode({ bus: (clock) => bus.over(clock) });
  const [ann, bob] = [node.connect('ann'), node.connect('bob')];
  return { bus, node, ann, bob };
}

function inRoom(): ReturnType<typeof setUp> {
  const world = setUp();
  world.ann.write({ type: 'join', room: 'a' });
  world.ann.take();
  return world;
}

const brief = (frames: readonly ServerFrame[]): unknown[] =>
  frames.map((frame) => [frame.type, 'seq' in frame ? frame.seq : undefined]);

test('C3.9.5 the ack of a silent publish stands in the place of its event, also when the bus answers later', () => {
  const { bus, node, ann, bob } = inRoom();
  bus.late = ['settle'];
  ann.write({ type: 'pub', room: 'a', id: 1, echo: false, payload: 1 });
  bob.write({ type: 'pub', room: 'a', payload: 2 });
  node.settle();
  const expected = [
    ['ack', 1],
    ['event', 2],
  ];
  assert.deepEqual(brief(ann.take()), expected);
  bus.arrive();
  node.settle();
  assert.deepEqual(ann.take(), [], 'answered once');
});

test('C3.9.5 and when the room was left and joined again meanwhile', () => {
  const { bus, node, ann, bob } = inRoom();
  bus.late = ['publish'];
  ann.write({ type: 'pub', room: 'a', id: 1, echo: false, payload: 1 });
  bob.write({ type: 'pub', room: 'a', payload: 2 });
  ann.write({ type: 'leave', room: 'a' });
  ann.write({ type: 'join', room: 'a' });
  ann.take();
  bus.arrive();
  node.settle();
  const expected = [
    ['ack', 1],
    ['event', 2],
  ];
  assert.deepEqual(brief(ann.take()), expected);
});

test('C3.9.2 a silent publish whose event has come is answered ack, whatever the bus says, and once', () => {
  const { bus, node, ann } = inRoom();
  bus.outcome = UNSEEN;
  ann.write({ type: 'pub', room: 'a', id: 1, echo: false, payload: 1 });
  node.settle();
  assert.deepEqual(brief(ann.take()), [['ack', 1]]);
});

test('C3.9.2 what is published while the room is still opening is answered', () => {
  const { bus, node, ann } = setUp();
  bus.late = ['open'];
  ann.take();
  ann.write({ type: 'join', room: 'a' });
  ann.write({ type: 'pub', room: 'a', id: 1, payload: 1 });
  node.settle();
  assert.deepEqual(ann.take(), []);
  bus.arrive();
  node.settle();
  const expected = [
    ['joined', 1],
    ['ack', 1],
  ];
  assert.deepEqual(brief(ann.take()), expected);
});

test('C5.4 events of the old epoch come before the news of its end', () => {
  const { bus, node, ann } = inRoom();
  ann.write({ type: 'pub', room: 'a', payload: 1 });
  bus.sinks[0]?.opened({ epoch: 'e2', seq: 0 });
  node.settle();
  assert.deepEqual(
    ann.take().map(({ type }) => type),
    ['event', 'gap', 'left', 'ack'],
  );
});

test('C3.7.2 a join is answered joined or error, also when the feed fails or changes its epoch under it', () => {
  const { bus, node, ann } = setUp();
  bus.late = ['replay'];
  ann.take();
  ann.write({ type: 'join', room: 'a', id: 1, since: { last: 5 } });
  bus.sinks[0]?.opened({ epoch: 'e2', seq: 0 });
  assert.deepEqual(ann.take(), []);
  bus.sinks[0]?.failed(UNSEEN);
  node.settle();
  const [answer, ...rest] = ann.take();
  assert.deepEqual(rest, []);
  assert.equal(answer?.type, 'error');
  assert.equal(answer.type === 'error' && answer.id, 1);
});

test('C5.2 when the server ends a session, its last acks come behind their events', () => {
  const { node, ann } = inRoom();
  ann.write({ type: 'pub', room: 'a', payload: 1 });
  node.drain();
  assert.deepEqual(
    ann.take().map(({ type }) => type),
    ['drain', 'event', 'ack'],
  );
});

test('the time to an ack is measured, and a publish that the bus refuses is slower than any', () => {
  const { bus, node, ann } = inRoom();
  const observed = () => {
    const { boundsMs, counts } = node.tally.acks;
    return [...boundsMs, 'beyond'].filter((_, at) => (counts[at] ?? 0) > 0);
  };
  bus.late = ['settle'];
  ann.write({ type: 'pub', room: 'a', payload: 1 });
  node.now += 40;
  bus.arrive();
  assert.deepEqual(observed(), [50]);
  bus.outcome = { ok: false, code: 'payload_too_large', reason: 'its own fault' };
  ann.write({ type: 'pub', room: 'a', payload: 2 });
  bus.arrive();
  assert.deepEqual(observed(), [50]);
  bus.outcome = UNSEEN;
  ann.write({ type: 'pub', room: 'a', payload: 3 });
  bus.arrive();
  assert.deepEqual(observed(), [50, 'beyond']);
});
