/** A storm of resumes against the clock: what catch-ups take of one turn of the loop, and who waits for whom. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ServerFrame } from '../../src/protocol/frames.ts';
import { SimNode, type SimSocket } from '../support/sim.ts';

const ROOM = 'storm';
const RESUMES = 300;
const EVENTS = 150;
/** Milliseconds that sending one frame takes here; a real one takes about a tenth. */
const SEND_MS = 0.25;

/** A node on which time passes only by sending. */
function node(): SimNode {
  let sent = 0;
  const made = new SimNode({ ticks: () => sent * SEND_MS });
  const connect = made.connect.bind(made);
  made.connect = (...args) => {
    const socket = connect(...args);
    const send = socket.send.bind(socket);
    socket.send = (data) => {
      sent++;
      return send(data);
    };
    return socket;
  };
  return made;
}

function publishAll(sim: SimNode): void {
  const publisher = sim.connect('publisher');
  for (let n = 0; n < EVENTS; n++) publisher.write({ type: 'pub', room: ROOM, payload: n, msgId: `m${n}` });
  sim.settle();
}

function resume(sim: SimNode, user: string, epoch: string): SimSocket {
  const socket = sim.connect(user);
  socket.take();
  socket.write({ type: 'join', room: ROOM, since: { epoch, seq: 0 } });
  return socket;
}

const of = <T extends ServerFrame['type']>(socket: SimSocket, type: T) =>
  socket.received.filter((frame): frame is Extract<ServerFrame, { type: T }> => frame.type === type);

test('C5.4 a storm of resumes takes at most 5 ms of any turn, and everybody is served', () => {
  const sim = node();
  publishAll(sim);
  const sockets = Array.from({ length: RESUMES }, (_, n) => resume(sim, `u${n}`, 'e1'));
  const atOnce = sockets.filter((socket) => of(socket, 'joined').length > 0).length;
  assert.ok(atOnce > 0 && atOnce < 10, `${atOnce} began in the turn that they came in`);
  sim.settle();
  for (const socket of sockets) {
    assert.equal(of(socket, 'joined').length, 1);
    assert.deepEqual(
      of(socket, 'event').map(({ payload }) => payload),
      Array.from({ length: EVENTS }, (_, n) => n),
    );
    assert.equal(of(socket, 'caught_up').length, 1);
  }
  const { maxMs, counts } = sim.tally.catchUpTurn;
  assert.ok(maxMs <= 5, `a turn of ${maxMs} ms`);
  const turns = counts.reduce((sum, count) => sum + count, 0);
  assert.ok(turns > (RESUMES * 3 * SEND_MS) / 5, `${turns} turns`);
  assert.equal(sim.tally.catchUps, 0);
});

test('a catch-up under way goes on while others begin, and one that leaves is forgotten', () => {
  const sim = node();
  publishAll(sim);
  const early = resume(sim, 'early', 'e1');
  const gone = resume(sim, 'gone', 'e1');
  gone.write({ type: 'leave', room: ROOM });
  for (let turn = 0; of(early, 'caught_up').length === 0; turn++) {
    assert.ok(turn < 10, 'those that begin keep the first one from going on');
    for (let n = 0; n < 20; n++) resume(sim, `u${turn}-${n}`, 'e1');
    sim.turn();
  }
  sim.settle();
  assert.equal(of(gone, 'caught_up').length, 0);
  assert.equal(sim.tally.catchUps, 0);
});
