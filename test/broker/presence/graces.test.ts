/** How long the lost are kept, on one node. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SimNode } from '../../support/sim.ts';

const ROOM = 'r';

test('C4.8.3 whom the node sends away has longer to come back, with a slot or without; a client that closes has left', () => {
  const sim = new SimNode({ presence: { graceMs: 5000, drainGraceMs: 15_000 } });
  const watcher = sim.connect('watcher');
  watcher.write({ type: 'join', room: ROOM, presence: true });
  const codes = { quits: 1000, lost: 1006, drained: 4200, hasty: 4100 };
  const members = Object.keys(codes).map((user) => sim.connect(user));
  for (const socket of members) socket.write({ type: 'join', room: ROOM });
  sim.turn();
  for (const [at, code] of Object.values(codes).entries()) members[at]?.end(code);
  const left = () =>
    watcher.received.flatMap((frame) => (frame.type === 'presence' ? (frame.left ?? []) : []));
  const pass = (seconds: number) => {
    for (let at = 0; at < seconds; at++) {
      sim.pass(1000);
      sim.hub.tick();
      sim.turn();
    }
  };
  pass(2);
  assert.deepEqual(left(), ['quits']);
  pass(5);
  assert.deepEqual(left(), ['quits', 'lost']);
  pass(6);
  assert.deepEqual(left(), ['quits', 'lost']);
  pass(4);
  assert.deepEqual(left().slice(2).sort(), ['drained', 'hasty']);
});
