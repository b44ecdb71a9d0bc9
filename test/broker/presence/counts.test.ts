/** What nodes tell and keep of rooms too large for names, and what they ask of one another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Part } from '../../../src/broker/presence/state.ts';
import { Teller } from '../../../src/broker/presence/teller.ts';
import { RoomPresence } from '../../../src/broker/presence/view.ts';
import type { PresenceSettings } from '../../../src/broker/settings.ts';
import { Rng } from '../../support/rng.ts';
import { Network, SETTINGS, type SimPod } from './network.ts';

/** Nothing is lost. */
function calm(settings: Partial<PresenceSettings>, nodes = 3): Network {
  const net = new Network(new Rng(1), nodes, { ...SETTINGS, ...settings });
  net.faults = { lost: 0, twice: 0, late: 0 };
  net.settle();
  return net;
}

function enter(pod: SimPod | undefined, from: number, to: number): void {
  for (let at = from; at < to; at++) pod?.view.arrived({ user: `u${at}`, info: undefined });
}

function leave(pod: SimPod | undefined, from: number, to: number): void {
  for (let at = from; at < to; at++) pod?.view.own.departed(`u${at}`, false);
}

const countsOf = (net: Network): number[] => net.pods.map(({ view }) => view.count);
const topic = (net: Network): string => `p.${net.pods[0]?.view.key}`;

test('beyond presence.deltaMembers no names of others are kept; below four fifths of it they are known again', () => {
  const net = calm({ deltaMembers: 100 });
  for (const [node, pod] of net.pods.entries())
    for (let at = 0; at < 50; at++) {
      enter(pod, node * 50 + at, node * 50 + at + 1);
      net.settle();
      assert.ok(pod.load.names <= 100, `${pod.load.names} names`);
    }
  net.second();
  assert.deepEqual(countsOf(net), [150, 150, 150]);
  for (const { view, load } of net.pods) assert.deepEqual([view.counted, load.names], [true, 0]);
  leave(net.pods[0], 0, 50);
  for (let second = 0; second < 3; second++) net.second();
  // 100: between the bounds.
  for (const { view } of net.pods) assert.ok(view.counted);
  leave(net.pods[1], 50, 70);
  for (let second = 0; second < 3; second++) net.second();
  for (const { view, load } of net.pods) {
    assert.equal(view.counted, false);
    assert.equal(view.list().length, 80);
    assert.equal(load.hashes, 0);
  }
  assert.deepEqual(
    net.pods.map(({ left }) => left),
    [[], [], []],
    'nobody is said to have left by a change of form',
  );
});

test('a count is told at most once in presence.countMs, and not where nothing has changed', () => {
  const net = calm({ deltaMembers: 10, countMs: 5000 });
  enter(net.pods[0], 0, 20);
  for (let second = 0; second < 6; second++) net.second();
  const before = net.sent.get(topic(net)) ?? 0;
  for (let second = 0; second < 20; second++) {
    enter(net.pods[0], 100 + second, 101 + second);
    net.second();
  }
  const told = (net.sent.get(topic(net)) ?? 0) - before;
  assert.ok(told >= 4 * 2 && told <= 5 * 2, `${told} messages in 20 s to two others`);
  for (let second = 0; second < 6; second++) net.second();
  const after = net.sent.get(topic(net)) ?? 0;
  for (let second = 0; second < 20; second++) net.second();
  assert.equal(net.sent.get(topic(net)), after);
  assert.deepEqual(countsOf(net), [40, 40, 40]);
});

test('who is there is asked of all nodes; one that does not answer is said to be missing', async () => {
  const net = calm({ deltaMembers: 10 });
  for (const [node, pod] of net.pods.entries()) enter(pod, node * 20, node * 20 + 20);
  net.settle();
  const [first, , last] = net.pods as [SimPod, SimPod, SimPod];
  const who = () =>
    new Promise((resolve) =>
      first.gossip.who(first.view, ['u1', 'u25', 'u45', 'nobody'], (there, all) => resolve([there, all])),
    );
  assert.deepEqual(await who(), [['u1', 'u25', 'u45'], true]);
  last.connected = false;
  assert.deepEqual(await who(), [['u1', 'u25'], false]);
});

test('beyond presence.othersNames a room is counted however small, and named again when there is room', () => {
  const net = calm({ othersNames: 10 });
  enter(net.pods[1], 0, 12);
  net.settle();
  assert.deepEqual([net.pods[0]?.view.counted, net.pods[0]?.view.count], [true, 12]);
  assert.equal(net.pods[0]?.load.names, 0);
  leave(net.pods[1], 0, 6);
  for (let second = 0; second < 3; second++) net.second();
  assert.deepEqual([net.pods[0]?.view.counted, net.pods[0]?.view.list().length], [false, 6]);
});

test('beyond presence.othersSketches counts go on without the samples', () => {
  const net = calm({ deltaMembers: 10, othersSketches: 8 * 30 });
  for (const [node, pod] of net.pods.entries()) enter(pod, node * 20, node * 20 + 20);
  for (let second = 0; second < 3; second++) net.second();
  assert.deepEqual(countsOf(net), [60, 60, 60]);
  for (const { load } of net.pods) assert.equal(load.hashes, 20);
});

test('the part of a dead node is out of a count at once', () => {
  const net = calm({ deltaMembers: 10, graceMs: 60_000 });
  for (const [node, pod] of net.pods.entries()) enter(pod, node * 20, node * 20 + 20);
  // As if its users had come back elsewhere before it was known to be dead.
  enter(net.pods[0], 40, 50);
  net.settle();
  assert.deepEqual(countsOf(net), [60, 60, 60]);
  net.kill(net.pods[2] as SimPod);
  net.settle();
  assert.deepEqual(countsOf(net), [50, 50]);
});

test('the parts of a whole make it whole in any order, and without places as former builds tell them', () => {
  const parts = (['u1', 'u2', 'u3'] as const).map((user, at) => ({
    key: '',
    v: 1,
    s: [[user, 1] as const],
    more: at < 2 ? (1 as const) : (0 as const),
    at,
  }));
  const [first, second, third] = parts as [(typeof parts)[0], (typeof parts)[0], (typeof parts)[0]];
  const heard = (told: readonly Part[]): string[] => {
    const view = new RoomPresence('', { sketch: 64, load: { names: 0, hashes: 0 } });
    const slice = view.slice('n', 'i');
    for (const part of told) slice.part(part);
    return view.list().map(({ user }) => user);
  };
  assert.deepEqual(heard([third, first, second]), ['u1', 'u2', 'u3']);
  assert.deepEqual(heard([first, first, third]), [], 'one is lost');
  assert.deepEqual(heard(parts.map(({ at, ...former }) => former)), ['u1', 'u2', 'u3']);
});

test('a beat is as many messages as it takes, one after another without a hole', () => {
  const net = calm({}, 1);
  const [pod] = net.pods as [SimPod];
  const told: { topic: string; after: number; to: number; rooms: (readonly [string, number])[] }[] = [];
  const views = new Map<string, RoomPresence>();
  const teller = new Teller({
    cluster: Object.assign(Object.create(pod), {
      tell: (to: string, message: object) => {
        const text = JSON.stringify(message);
        assert.ok(text.length <= SETTINGS.messageBytes, `${text.length} bytes`);
        if (to === 'presence.beat') told.push({ topic: to, ...JSON.parse(text) });
        return 'sent';
      },
    }),
    settings: SETTINGS,
    clock: { now: () => net.now },
    views,
    changed: () => undefined,
  });
  for (let at = 0; at < 300; at++) {
    const view = new RoomPresence(`t\0room${at}`, { sketch: 64, load: { names: 0, hashes: 0 } });
    views.set(view.key, view);
    view.arrived({ user: 'ann', info: undefined });
    teller.tell(view);
  }
  teller.tick();
  assert.ok(told.length > 1);
  let after = 0;
  for (const beat of told) {
    assert.equal(beat.after, after);
    for (const [, version] of beat.rooms) assert.ok(version > after && version <= beat.to);
    after = beat.to;
  }
  assert.equal(after, 300);
  assert.equal(told.flatMap(({ rooms }) => rooms).length, 300);
  net.now += SETTINGS.heartbeatMs;
  teller.tick();
  assert.deepEqual([told.at(-1)?.after, told.at(-1)?.to, told.at(-1)?.rooms], [300, 300, []]);
});
