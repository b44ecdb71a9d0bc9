/** Ephemeral publishes with a key, in rooms that say how many there may be. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RoomPolicy } from '../../src/broker/settings.ts';
import type { EventFrame, ServerFrame } from '../../src/protocol/frames.ts';
import { LIMITS } from '../support/limits.ts';
import { SimNode, type SimOptions, type SimSocket } from '../support/sim.ts';

const WINDOW_MS = 100;
const EPHEMERAL = { perSecond: 1000 / WINDOW_MS, expireMs: 4000 };
const matches = () => true;
const history = { count: 100, bytes: 65_536, ageMs: 600_000 };

const ROOMS: readonly RoomPolicy[] = [
  { match: 'plain:*', matches: (name) => name.startsWith('plain:'), overflow: 'skip' },
  {
    match: 'live:*',
    matches: (name) => name.startsWith('live:'),
    overflow: 'skip',
    ephemeral: EPHEMERAL,
    capacity: 9,
  },
  { match: '**', matches, overflow: 'backfill', history, ephemeral: EPHEMERAL },
];

class Node extends SimNode {
  constructor(options: SimOptions = {}) {
    super({ rooms: ROOMS, ...options });
  }

  /** Ends the turns of the loop, without time. */
  rest(): void {
    for (let turns = 0; turns < 5; turns++) this.turn();
  }

  passing(ms: number): void {
    this.pass(ms);
    this.rest();
  }

  watcher(room = 'r'): SimSocket {
    const socket = this.connect('watcher');
    socket.write({ type: 'join', room });
    this.rest();
    socket.take();
    return socket;
  }
}

function signal(
  node: Node,
  socket: SimSocket,
  payload: unknown,
  fields: object = { key: 'k' },
): ServerFrame[] {
  socket.write({ type: 'pub', room: 'r', payload, ephemeral: true, id: 1, ...fields });
  node.rest();
  return socket.take();
}

function events(socket: SimSocket): EventFrame[] {
  return socket.take().filter((frame) => frame.type === 'event');
}

const payloads = (socket: SimSocket): unknown[] => events(socket).map(({ payload }) => payload);

test('C3.9.4.1 the first at once, of the rest the newest at the end of the window, all of them acked', () => {
  const node = new Node();
  const watcher = node.watcher();
  const ann = node.connect('ann');
  ann.take();
  for (const payload of [1, 2, 3]) {
    const [ack, ...more] = signal(node, ann, payload);
    assert.deepEqual([ack, more], [{ type: 'ack', room: 'r', id: 1 }, []]);
  }
  const [first, ...none] = events(watcher);
  assert.deepEqual([first?.payload, first?.key, first?.ephemeral, none], [1, 'k', true, []]);
  node.passing(WINDOW_MS - 1);
  assert.deepEqual(payloads(watcher), []);
  node.passing(1);
  assert.deepEqual(payloads(watcher), [3]);
  signal(node, ann, 4);
  assert.deepEqual(payloads(watcher), [], 'the window of 3');
  node.passing(WINDOW_MS);
  assert.deepEqual(payloads(watcher), [4]);
  node.passing(WINDOW_MS);
  assert.equal(node.tally.signalSlots, 0, 'forgotten by itself');
  signal(node, ann, 5);
  assert.deepEqual(payloads(watcher), [5], 'at once again');
  node.passing(10 * WINDOW_MS);
  assert.equal(node.busy, false, 'no timer runs for nothing');
  assert.deepEqual(Object.fromEntries(node.tally.signals), { sent: 4, superseded: 1 });
});

test('C4.6 C4.2.1 the event and `joined` say how long it holds, where the room does and there is a key', () => {
  const node = new Node();
  const watcher = node.watcher();
  for (const room of ['live:1', 'plain:1']) watcher.write({ type: 'join', room });
  node.rest();
  const limits = watcher.take().map((frame) => (frame.type === 'joined' ? frame.limits : frame.type));
  assert.deepEqual(limits, [{ capacity: 9, ephemeral: EPHEMERAL }, undefined]);
  const ann = node.connect('ann');
  for (const room of ['r', 'live:1', 'plain:1']) {
    signal(node, ann, 1, { room, key: 'k' });
    signal(node, ann, 1, { room });
  }
  ann.write({ type: 'pub', room: 'r', payload: 1, key: 'k' });
  node.rest();
  assert.deepEqual(
    events(watcher).map(({ expireMs }) => expireMs),
    [4000, undefined, 4000, undefined, undefined, undefined, undefined],
  );
});

test('without a key, and in rooms that do not say how many, all go out', () => {
  const node = new Node();
  const watcher = node.watcher();
  watcher.write({ type: 'join', room: 'plain:1' });
  const ann = node.connect('ann');
  for (const payload of [1, 2]) signal(node, ann, payload, {});
  for (const payload of [3, 4]) signal(node, ann, payload, { room: 'plain:1', key: 'k' });
  assert.deepEqual(payloads(watcher), [1, 2, 3, 4]);
  assert.equal(node.tally.signalSlots, 0);
});

test('C3.9.4.1 what waits is dropped with its connection; another one of the user goes on', () => {
  const node = new Node();
  const watcher = node.watcher();
  const [gone, stays] = [node.connect('ann'), node.connect('ann')];
  for (const payload of [1, 2]) signal(node, gone, payload);
  gone.end(1006);
  node.passing(WINDOW_MS);
  assert.deepEqual(payloads(watcher), [1]);
  assert.equal(node.tally.signals.get('dropped'), 1);
  assert.equal(node.tally.signalBytes, 0);
  const again = node.connect('ann');
  for (const payload of [3, 4]) signal(node, again, payload);
  signal(node, stays, 5);
  again.end(1006);
  node.passing(WINDOW_MS);
  assert.deepEqual(payloads(watcher), [3, 5]);
});

test('echo: false holds for what waits, too', () => {
  const node = new Node();
  const watcher = node.watcher();
  const ann = node.connect('ann');
  ann.write({ type: 'join', room: 'r' });
  node.rest();
  ann.take();
  for (const payload of [1, 2, 3]) {
    const [ack, ...more] = signal(node, ann, payload, { key: 'k', echo: false });
    assert.deepEqual([ack?.type, more], ['ack', []]);
  }
  node.passing(WINDOW_MS);
  assert.deepEqual(ann.take(), []);
  assert.deepEqual(payloads(watcher), [1, 3]);
});

test('a payload that waits is a copy: it does not keep the frame that it came in', () => {
  const node = new Node({ limits: { ephemeral: { ...LIMITS.ephemeral, bytes: 100 } } });
  const watcher = node.watcher();
  const ann = node.connect('ann');
  const text = '"é€😀"';
  signal(node, ann, 0);
  signal(node, ann, JSON.parse(text));
  assert.equal(node.tally.signalBytes, Buffer.byteLength(text));
  node.passing(WINDOW_MS);
  assert.deepEqual(payloads(watcher), [0, JSON.parse(text)]);
});

test('C7.4.1 limits: of a connection, of the tenant, of what the node holds; each with its code', () => {
  const refusal = (frames: ServerFrame[]) => {
    const [frame, ...more] = frames;
    assert.ok(frame?.type === 'error', JSON.stringify(frame));
    assert.deepEqual([more, frame.retry, frame.id], [[], true, 1]);
    assert.ok((frame.retryAfterMs ?? 0) > 0);
    return [frame.code, frame.limit, frame.used];
  };
  const limited = (ephemeral: Partial<typeof LIMITS.ephemeral>, tenants = {}) => {
    const node = new Node({ limits: { ephemeral: { ...LIMITS.ephemeral, ...ephemeral } }, tenants });
    const ann = node.connect('ann');
    ann.take();
    return { node, ann };
  };
  const rate = limited({ perSecond: 5, burst: 2 });
  for (const payload of [1, 2]) signal(rate.node, rate.ann, payload);
  assert.deepEqual(refusal(signal(rate.node, rate.ann, 3)), ['rate_limited', 5, 2]);
  rate.node.pass(200);
  assert.equal(signal(rate.node, rate.ann, 4)[0]?.type, 'ack');
  assert.equal(rate.node.tally.refusals.get('connection_ephemeral'), 1);

  const tenant = limited({}, { ephemeral: { perSecond: 1, burst: 1 } });
  signal(tenant.node, tenant.ann, 1, {});
  assert.deepEqual(refusal(signal(tenant.node, tenant.ann, 2, {})), ['rate_limited', 1, 1]);
  assert.equal(tenant.node.tally.refusals.get('tenant_ephemeral'), 1);

  const entries = limited({ entries: 4 });
  for (const key of ['a', 'b']) signal(entries.node, entries.ann, 1, { key });
  assert.deepEqual(
    refusal(signal(entries.node, entries.ann, 1, { key: 'c' })),
    ['quota_exceeded', 2, 2],
    'half of them',
  );
  entries.node.passing(WINDOW_MS);
  assert.equal(signal(entries.node, entries.ann, 1, { key: 'c' })[0]?.type, 'ack');

  const bytes = limited({ bytes: 10 });
  const watcher = bytes.node.watcher();
  for (const payload of [0, 'x'.repeat(8)]) signal(bytes.node, bytes.ann, payload);
  assert.deepEqual(refusal(signal(bytes.node, bytes.ann, 'y'.repeat(9))), ['overloaded', 10, 10]);
  assert.equal(signal(bytes.node, bytes.ann, 'z'.repeat(8))[0]?.type, 'ack', 'in the place of the other');
  bytes.node.passing(WINDOW_MS);
  assert.deepEqual(payloads(watcher), [0, 'z'.repeat(8)]);
});

test('C7.4.1 they count against no quota of stored events, and are counted apart', () => {
  const rate = { perSecond: 1, burst: 1 };
  const tenants = {
    publish: rate,
    publishBytes: { perSecond: 1, burst: 4 },
    bytesPerDay: 4,
    deliveriesPerSecond: 1,
  };
  const node = new Node({ tenants });
  node.hub.tick();
  const watcher = node.watcher();
  const ann = node.connect('ann');
  for (let n = 0; n < 20; n++) signal(node, ann, 'longer than the quotas', n % 2 ? {} : { key: `${n}` });
  assert.equal(payloads(watcher).length, 20);
  ann.take();
  ann.write({ type: 'pub', room: 'r', payload: 1 });
  node.rest();
  assert.equal(ann.take()[0]?.type, 'ack', 'nothing was charged');
  ann.write({ type: 'pub', room: 'r', payload: 1 });
  assert.equal(ann.take()[0]?.type, 'error', 'now it is');
  assert.equal(signal(node, ann, 1)[0]?.type, 'ack', 'which is nothing to these');
  const [counts] = node.tenants.ledger.present(node.now);
  assert.ok(counts);
  const { messagesIn, deliveries, payloadBytes, durableBytes, ephemeralIn, ephemeralDeliveries } = counts;
  assert.deepEqual(
    [messagesIn, deliveries, payloadBytes, durableBytes, ephemeralIn, ephemeralDeliveries],
    [1, 1, 1, 1, 21, 21],
  );
});

test('users and keys that together read the same are told apart', () => {
  const node = new Node();
  const watcher = node.watcher();
  signal(node, node.connect('a'), 1, { key: 'bc' });
  signal(node, node.connect('ab'), 2, { key: 'c' });
  signal(node, node.connect('a\u0000b'), 3, { key: 'c' });
  assert.deepEqual(payloads(watcher), [1, 2, 3]);
});

test('a clock that is set back holds nothing up', () => {
  const node = new Node();
  const watcher = node.watcher();
  const ann = node.connect('ann');
  for (const payload of [1, 2]) signal(node, ann, payload);
  node.now -= 3_600_000;
  signal(node, node.connect('bob'), 0);
  watcher.take();
  node.passing(3_600_000 + WINDOW_MS);
  assert.deepEqual(payloads(watcher), [2]);
});

interface Step {
  readonly user: 'ann' | 'bob';
  readonly key: 'x' | 'y';
  readonly waitMs: number;
}

const step: fc.Arbitrary<Step> = fc.record({
  user: fc.constantFrom('ann', 'bob'),
  key: fc.constantFrom('x', 'y'),
  waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3 * WINDOW_MS })),
});

test('whatever comes when: in order, the newest at last, no more than may be, and nothing is left behind', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const node = new Node();
      const watcher = node.watcher();
      const sockets = { ann: node.connect('ann'), bob: node.connect('bob') };
      for (const socket of Object.values(sockets)) socket.take();
      const got = new Map<string, { readonly payload: number; readonly at: number }[]>();
      const last = new Map<string, number>();
      const look = () => {
        for (const { from, key, payload } of events(watcher))
          got.set(`${from} ${key}`, [
            ...(got.get(`${from} ${key}`) ?? []),
            { payload: payload as number, at: node.now },
          ]);
      };
      const passing = (ms: number) => {
        for (let left = ms; left > 0; left--) {
          node.passing(1);
          look();
        }
      };
      for (const [n, { user, key, waitMs }] of steps.entries()) {
        passing(waitMs);
        const [answer, ...more] = signal(node, sockets[user], n, { key });
        assert.deepEqual([answer?.type, more], ['ack', []]);
        last.set(`${user} ${key}`, n);
        look();
      }
      passing(2 * WINDOW_MS + 2);
      for (const [who, newest] of last) {
        const told = got.get(who) ?? [];
        assert.equal(told.at(-1)?.payload, newest, who);
        for (const [n, { payload, at }] of told.slice(1).entries()) {
          const before = told[n] as (typeof told)[0];
          assert.ok(payload > before.payload, `${payload} after ${before.payload}`);
          assert.ok(at - before.at >= WINDOW_MS, `${at - before.at} ms apart`);
        }
      }
      assert.deepEqual([node.tally.signalSlots, node.tally.signalBytes, node.busy], [0, 0, false]);
    }),
    { numRuns: 100 },
  );
});
