/** When nodes ask one another, and when a dead one's members leave: measured on four brokers with 10,000 members. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '../../support/rng.ts';
import { Network, SETTINGS, type SimPod } from './network.ts';

function calm(digestMs: number): Network {
  const net = new Network(new Rng(1), 3, { ...SETTINGS, digestMs });
  net.faults = { lost: 0, twice: 0, late: 0 };
  net.settle();
  return net;
}

test('a room is compared with the other nodes once in presence.digestMs, also where it is the only one', () => {
  const net = calm(8_000);
  const asked = net.sent.get('presence.ask') ?? 0;
  for (let second = 0; second < 48; second++) net.second();
  // Six times, by each of three nodes, with two others.
  assert.equal((net.sent.get('presence.ask') ?? 0) - asked, 6 * 3 * 2);
});

test('the members of a dead node leave when the grace ends, not with the tick after it', () => {
  const net = calm(300_000);
  const [first, , dead] = net.pods as [SimPod, SimPod, SimPod];
  dead.view.arrived({ user: 'ann', info: undefined });
  net.settle();
  assert.ok(first.view.has('ann'));
  net.kill(dead);
  const left = SETTINGS.graceMs - SETTINGS.silenceMs;
  net.pass(left - 1);
  assert.ok(first.view.has('ann'));
  net.pass(1);
  assert.ok(!first.view.has('ann'));
});
