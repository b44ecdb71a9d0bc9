/** Nodes agree on who is in a room, whatever the network does to what they tell one another. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PresenceSettings } from '../../../src/broker/settings.ts';
import { Rng } from '../../support/rng.ts';
import { Network, SETTINGS, type SimPod } from './network.ts';

const USERS = Array.from({ length: 12 }, (_, at) => `user${at}`);
/** Present on a node that is never killed, from the beginning to the end. */
const STEADY = 'steady';
/** From the last death on, until nothing is left of it: what is late, and the time given to strangers. */
const AFTERMATH_S = 12;
const HEARTBEAT_S = SETTINGS.heartbeatMs / 1000;

/** Connections by user, as they are. */
type Truth = Map<SimPod, Map<string, number>>;

function truthOf(net: Network, truth: Truth): string[] {
  const users = new Map<string, number>();
  for (const pod of net.pods)
    for (const [user, connections] of truth.get(pod) ?? [])
      if (connections > 0) users.set(user, (users.get(user) ?? 0) + connections);
  return [...users].map(([user, connections]) => `${user} ${connections}`).sort();
}

function seenBy(pod: SimPod): string[] {
  return pod.view
    .list()
    .map(({ user, connections }) => `${user} ${connections}`)
    .sort();
}

/** @param of users of whom somebody may come or go. */
function step(net: Network, truth: Truth, of: number, deaths: boolean): void {
  const { rng } = net;
  const pod = net.pods[rng.below(net.pods.length)] as SimPod;
  const mine = truth.get(pod) ?? new Map<string, number>();
  truth.set(pod, mine);
  const user = USERS[rng.below(of)] as string;
  const here = mine.get(user) ?? 0;
  const dice = rng.below(100);
  if (dice < 20) {
    mine.set(user, here + 1);
    pod.view.arrived({ user, info: { of: pod.node } });
  } else if (dice < 40 && here > 0) {
    mine.set(user, here - 1);
    pod.view.own.departed(user, false);
  } else if (dice < 60) pod.flush();
  else if (dice < 63) {
    pod.connected = !pod.connected;
    pod.reconnected(pod.connected);
  } else if (dice < 65 && deaths && pod.node !== 'n0') {
    net.kill(pod);
    truth.delete(pod);
    net.start(pod.node);
  } else if (dice < 68) net.second();
  else net.deliver();
}

function heal(net: Network): void {
  net.faults = { lost: 0, twice: 0, late: 0 };
  for (const pod of net.pods) {
    if (pod.connected) continue;
    pod.connected = true;
    pod.reconnected(true);
  }
}

/** Everybody but some leave: rooms shrink as well. */
function empty(truth: Truth, kept: number): void {
  for (const [pod, mine] of truth)
    for (const [user, connections] of mine) {
      if (USERS.indexOf(user) < kept) continue;
      for (let each = 0; each < connections; each++) pod.view.own.departed(user, false);
      mine.delete(user);
    }
}

function chaos(net: Network, truth: Truth): void {
  for (let steps = 0; steps < 300; steps++) step(net, truth, USERS.length, true);
  if (net.rng.chance(0.5)) {
    empty(truth, 3);
    truth.get(net.pods[0] as SimPod)?.set(STEADY, 1);
    net.pods[0]?.view.has(STEADY) || net.pods[0]?.view.arrived({ user: STEADY, info: undefined });
  }
  for (let second = 0; second < AFTERMATH_S; second++) {
    for (let steps = 0; steps < 10; steps++) step(net, truth, 3, false);
    net.second();
  }
  for (let steps = 0; steps < 20; steps++) step(net, truth, 3, false);
}

function agreeWithinOneHeartbeat(seed: number, settings: PresenceSettings): SimPod[] {
  const net = new Network(new Rng(seed), 4, settings);
  const truth: Truth = new Map();
  const first = net.pods[0] as SimPod;
  truth.set(first, new Map([[STEADY, 1]]));
  first.view.arrived({ user: STEADY, info: undefined });
  chaos(net, truth);
  heal(net);
  for (let second = 0; second < HEARTBEAT_S; second++) net.second();
  const expected = truthOf(net, truth);
  const users = new Set(expected.map((line) => line.split(' ')[0]));
  for (const pod of net.pods) {
    assert.equal(pod.view.count, users.size, pod.incarnation);
    assert.ok(!pod.left.includes(STEADY), `${pod.incarnation} saw ${STEADY} leave`);
    if (!pod.view.counted) assert.deepEqual(seenBy(pod), expected, pod.incarnation);
  }
  return net.pods;
}

describe('loss, repetition, delay, cuts and restarts: all agree one heartbeat later, nobody steady has left', () => {
  for (let seed = 1; seed <= 300; seed++)
    test(`by name, seed ${seed}`, () => {
      const pods = agreeWithinOneHeartbeat(seed, SETTINGS);
      for (const { view } of pods) assert.ok(!view.counted);
    });

  for (let seed = 1; seed <= 300; seed++)
    test(`rooms that grow beyond names and back, seed ${seed}`, () => {
      agreeWithinOneHeartbeat(seed, { ...SETTINGS, fullMembers: 3, deltaMembers: 5 });
    });
});
