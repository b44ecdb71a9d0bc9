/** Nodes agree on who is in a room, whatever the network does to what they tell one another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../../support/rng.ts';
import { Network, type SimPod } from './network.ts';

const USERS = ['ann', 'bob', 'cid', 'dan', 'eve', 'fay'];
/** Present on a node that is never killed, from the beginning to the end. */
const STEADY = 'steady';

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

function step(net: Network, truth: Truth): void {
  const { rng } = net;
  const pod = net.pods[rng.below(net.pods.length)] as SimPod;
  const mine = truth.get(pod) ?? new Map<string, number>();
  truth.set(pod, mine);
  const user = USERS[rng.below(USERS.length)] as string;
  const here = mine.get(user) ?? 0;
  const dice = rng.below(100);
  if (dice < 20) {
    mine.set(user, here + 1);
    pod.view.arrived({ user, info: { of: pod.node } });
  } else if (dice < 40 && here > 0) {
    mine.set(user, here - 1);
    pod.view.departed(user, false);
  } else if (dice < 60) pod.flush();
  else if (dice < 63) {
    pod.connected = !pod.connected;
    pod.reconnected(pod.connected);
  } else if (dice < 65 && pod.node !== 'n0') {
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
  net.settle();
}

for (let seed = 1; seed <= 300; seed++)
  test(`loss, repetition, delay, cuts and restarts, seed ${seed}: all agree, nobody steady has left`, () => {
    const net = new Network(new Rng(seed), 4);
    const truth: Truth = new Map();
    const first = net.pods[0] as SimPod;
    truth.set(first, new Map([[STEADY, 1]]));
    first.view.arrived({ user: STEADY, info: undefined });
    for (let steps = 0; steps < 300; steps++) step(net, truth);
    heal(net);
    const calm = net.pods.map(({ left }) => left.length);
    // A heartbeat of 2 s; then the graces of the nodes that were killed last.
    for (let second = 0; second < 7; second++) net.second();
    const expected = truthOf(net, truth);
    for (const pod of net.pods) {
      assert.deepEqual(seenBy(pod), expected, pod.incarnation);
      assert.equal(pod.view.count, new Set(expected.map((line) => line.split(' ')[0])).size);
      assert.ok(!pod.left.includes(STEADY), `${pod.incarnation} saw ${STEADY} leave`);
      const late = pod.left.slice(calm[net.pods.indexOf(pod)]);
      assert.equal(new Set(late).size, late.length, `once each: ${late}`);
    }
  });
