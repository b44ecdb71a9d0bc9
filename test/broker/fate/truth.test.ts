/** What is said of messages, against what the sockets have got: whole nodes, anything happening in any order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Fate } from '../../../src/broker/fate/infer.ts';
import type { EventFrame } from '../../../src/protocol/frames.ts';
import { SimNode, type SimSocket } from '../../support/sim.ts';

const ROOMS = ['kept', 'live:1'] as const;
const OVERFLOWS = ['backfill', 'skip', 'latest', 'close'] as const;
const USERS = 4;

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('join' as const),
      who: fc.nat(USERS - 1),
      room: fc.nat(1),
      how: fc.nat(3),
      back: fc.option(fc.nat(30)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('leave' as const), who: fc.nat(USERS - 1), room: fc.nat(1) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('pub' as const),
      who: fc.nat(USERS - 1),
      room: fc.nat(1),
      key: fc.nat(2),
      kind: fc.constantFrom('plain', 'plain', 'plain', 'silent', 'ephemeral'),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('slow' as const), who: fc.nat(USERS - 1) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('drain' as const), who: fc.nat(USERS - 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), who: fc.nat(USERS - 1) }) },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

interface Client {
  readonly user: string;
  readonly socket: SimSocket;
}

class World {
  readonly node: SimNode;
  readonly all: Client[] = [];
  readonly clients: Client[] = [];
  readonly messages: { readonly room: string; readonly msgId: string; readonly ephemeral: boolean }[] = [];

  constructor(batchMs: number) {
    this.node = new SimNode({
      history: { count: 15, bytes: 1 << 20, ageMs: 600_000 },
      limits: { bufferedSoftBytes: 2000, bufferedHardBytes: 4000, catchUpBytes: 700 },
      roomBatchMs: batchMs,
      explain: { sessionNotes: 1000 },
    });
    for (let who = 0; who < USERS; who++) this.#connect(who);
  }

  do(step: Step): void {
    this.node.pass(1);
    if (step.do === 'turn') return this.node.turn();
    const client = this.clients[step.who] as Client;
    const { socket } = client;
    if (socket.closedWith !== undefined) return this.#connect(step.who);
    if (step.do === 'slow') socket.slow = true;
    else if (step.do === 'cut') socket.end(1006);
    else if (step.do === 'drain') {
      socket.slow = false;
      socket.drain();
    } else this.#write(step, socket);
  }

  #write(step: Extract<Step, { room: number }>, socket: SimSocket): void {
    const room = ROOMS[step.room] as string;
    if (step.do === 'leave') return socket.write({ type: 'leave', room });
    if (step.do === 'join') {
      const joined = this.#position(room);
      const since =
        step.back === null || joined === undefined
          ? {}
          : { since: { ...joined, seq: Math.max(0, joined.seq - step.back) } };
      return socket.write({ type: 'join', room, overflow: OVERFLOWS[step.how], ...since });
    }
    const msgId = `m${this.messages.length}`;
    const ephemeral = step.kind === 'ephemeral';
    this.messages.push({ room, msgId, ephemeral });
    const how = { ...(ephemeral && { ephemeral }), ...(step.kind === 'silent' && { echo: false }) };
    socket.write({ type: 'pub', room, msgId, key: `k${step.key}`, payload: 'x'.repeat(300), ...how });
  }

  /** As anybody has heard of it. */
  #position(room: string): { epoch: string; seq: number } | undefined {
    for (const { socket } of this.all)
      for (const frame of socket.received)
        if (frame.type === 'joined' && frame.room === room) return { epoch: frame.epoch, seq: frame.seq };
    return undefined;
  }

  #connect(who: number): void {
    const user = `u${this.all.length}`;
    const client = { user, socket: this.node.connect(user) };
    this.clients[who] = client;
    this.all.push(client);
  }

  /** Positions by msgId: from whoever was told. */
  position(msgId: string): number | undefined {
    for (const { socket } of this.all)
      for (const frame of socket.received)
        if (
          (frame.type === 'event' || frame.type === 'ack') &&
          frame.msgId === msgId &&
          frame.seq !== undefined
        )
          return frame.seq;
    return undefined;
  }
}

const has = ({ socket }: Client, room: string, msgId: string) =>
  socket.received.some(
    (frame) => frame.type === 'event' && frame.room === room && (frame as EventFrame).msgId === msgId,
  );

const GIVEN: readonly Fate[] = ['handed', 'replayed'];

function check(world: World, fates: Map<Fate, number>): void {
  for (const { room, msgId, ephemeral } of world.messages) {
    const seq = ephemeral ? undefined : world.position(msgId);
    if (!ephemeral && seq === undefined) continue;
    for (const client of world.all) {
      const fate = checkOne(world, client, room, { msgId, seq });
      if (fate !== undefined) fates.set(fate, (fates.get(fate) ?? 0) + 1);
    }
  }
}

/** undefined: nothing is said, since the message is ephemeral and has passed nobody. */
function checkOne(
  { node }: World,
  client: Client,
  room: string,
  { msgId, seq }: { readonly msgId: string; readonly seq: number | undefined },
): Fate | undefined {
  const which = seq === undefined ? { msgId } : { seq };
  const question = { tenant: 'default', room, user: client.user, ...which };
  const [said] = node.hub.view.fates.here(question, 'sim').sessions;
  if (said === undefined && seq === undefined) return undefined;
  assert.ok(said, `nothing is said of ${client.user}`);
  const context = `${msgId} (${seq ?? 'ephemeral'}) in ${room} for ${client.user}: ${JSON.stringify(said)}`;
  assert.equal(GIVEN.includes(said.fate), has(client, room, msgId), context);
  return said.fate;
}

test('whatever happens, a message is said to be handed over where it was, and nowhere else', () => {
  const fates = new Map<Fate, number>();
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 20, maxLength: 150 }),
      fc.constantFrom(0, 0, 5),
      (steps, batchMs) => {
        const world = new World(batchMs);
        for (const one of steps) world.do(one);
        check(world, fates);
        world.node.settle();
        check(world, fates);
      },
    ),
    { numRuns: 300, includeErrorInReport: true },
  );
  // Else nothing was shown of these.
  for (const fate of [
    'handed',
    'replayed',
    'own',
    'pending',
    'gap',
    'cut_off',
    'missed',
    'left',
    'before_join',
    'not_joined',
  ] as const)
    assert.ok((fates.get(fate) ?? 0) > 20, `${fate}: ${fates.get(fate)}`);
});
