import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StrictReader } from '../support/reader.ts';
import { Rng } from '../support/rng.ts';
import { SimNode, type SimSocket } from '../support/sim.ts';

const ROOMS = ['a', 'b', 'live:c'];
const SEEDS = Number(process.env['SIM_SEEDS'] ?? 150);
const STEPS = 400;

interface Client {
  readonly user: string;
  socket: SimSocket;
  readonly reader: StrictReader;
  readonly published: { room: string; msgId: string; seq?: number }[];
}

/** Random sessions against one node: joins, resumes, publishes of every kind, slow readers, lost connections. */
class Scenario {
  readonly rng: Rng;
  readonly node: SimNode;
  readonly clients: Client[];
  #ids = 0;

  constructor(seed: number) {
    this.rng = new Rng(seed);
    const history = { count: this.rng.chance(0.5) ? 5 : 200, bytes: 1 << 20, ageMs: 600_000 };
    this.node = new SimNode({
      history,
      limits: { catchUpBytes: 2000, bufferedSoftBytes: 4500, bufferedHardBytes: 8000 },
      roomBatchMs: this.rng.pick([0, 0, 5]),
      batching: {
        batchMs: this.rng.pick([0, 8]),
        batchEvents: this.rng.pick([1, 3, 64]),
        batchBytes: this.rng.pick([700, 5000]),
      },
    });
    this.clients = Array.from({ length: 5 }, (_, at) => {
      const user = `u${at}`;
      return { user, socket: this.node.connect(user), reader: new StrictReader(), published: [] };
    });
  }

  step(): void {
    const client = this.rng.pick(this.clients);
    const room = this.rng.pick(ROOMS);
    const roll = this.rng.below(100);
    if (roll < 15) this.join(client, room);
    else if (roll < 22) client.socket.write({ type: 'leave', room });
    else if (roll < 62) this.publish(client, room);
    else if (roll < 66) this.reconnect(client);
    else if (roll < 74) client.socket.slow = !client.socket.slow;
    else if (roll < 84) client.socket.drain();
    else this.turn();
    this.read(client);
  }

  join(client: Client, room: string): void {
    const before = client.reader.left.get(room);
    const since = before !== undefined && this.rng.chance(0.8) ? { since: before } : {};
    const overflow = this.rng.pick(['backfill', 'latest', 'skip', 'close'] as const);
    client.socket.write({ type: 'join', room, overflow, presence: this.rng.chance(0.3), ...since });
  }

  publish(client: Client, room: string): void {
    const again = this.rng.chance(0.1) ? client.published.find((sent) => sent.room === room) : undefined;
    const msgId = again?.msgId ?? `${client.user}-${++this.#ids}`;
    const echo = this.rng.chance(0.7);
    if (!echo) client.reader.expectSilent(msgId);
    if (again === undefined) client.published.push({ room, msgId });
    const key = this.rng.chance(0.5) ? { key: this.rng.pick(['k1', 'k2']) } : {};
    client.socket.write({
      ...key,
      type: 'pub',
      room,
      msgId,
      echo,
      payload: { msgId, fill: 'x'.repeat(this.rng.below(600)) },
    });
    if (this.rng.chance(0.1)) client.socket.write({ type: 'pub', room, ephemeral: true, payload: 'passing' });
  }

  reconnect(client: Client): void {
    this.read(client);
    client.socket.end(1006);
    client.reader.disconnect();
    client.socket = this.node.connect(client.user);
  }

  turn(): void {
    this.node.pass(this.rng.below(4));
    this.node.turn();
    for (const client of this.clients) this.read(client);
  }

  read(client: Client): void {
    client.reader.read(client.socket.take());
    if (client.socket.closedWith === undefined) return;
    client.reader.disconnect();
    client.socket = this.node.connect(client.user);
  }

  /** Lets everything come to rest, with readers that read. */
  rest(): void {
    for (let round = 0; round < 1000; round++) {
      for (const { socket } of this.clients) {
        socket.slow = false;
        socket.drain();
      }
      this.turn();
      if (!this.node.busy) return;
    }
    assert.fail('the node never comes to rest');
  }
}

test('every session sees each room in its one order, with every hole named', () => {
  const met = { slow: 0, backpressure: 0, retention: 0, replayed: 0, duplicates: 0 };
  for (let seed = 1; seed <= SEEDS; seed++) {
    const scenario = new Scenario(seed);
    try {
      for (let step = 0; step < STEPS; step++) scenario.step();
      scenario.rest();
      check(scenario);
      const { tally } = scenario.node;
      met.slow += tally.slow.get('demoted') ?? 0;
      met.backpressure += tally.gaps.get('backpressure') ?? 0;
      met.retention += tally.gaps.get('retention') ?? 0;
      met.replayed += tally.replayed;
      met.duplicates += tally.duplicates;
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.stack : error}`);
    }
  }
  // What never happened was not tested.
  for (const [what, times] of Object.entries(met)) assert.ok(times > SEEDS, `${what}: ${times} times`);
});

function check({ clients, node }: Scenario): void {
  const heads = new Map<string, Set<number>>(ROOMS.map((room) => [room, new Set()]));
  for (const { reader } of clients) {
    for (const [room, place] of reader.rooms) {
      assert.equal(place.catchingUp, false, `${room} is caught up`);
      heads.get(room)?.add(place.seq);
    }
  }
  for (const [room, positions] of heads) assert.ok(positions.size <= 1, `${room}: one head for all members`);
  sameEventsForAll(clients);
  acksAreTrue(clients);
  assert.equal(
    node.tally.memberships,
    clients.reduce((sum, { reader }) => sum + reader.rooms.size, 0),
  );
}

function sameEventsForAll(clients: readonly Client[]): void {
  const payloads = new Map<number, string>();
  for (const { reader } of clients) {
    for (const [seq, payload] of reader.payloads) {
      const text = JSON.stringify(payload);
      assert.equal(payloads.get(seq) ?? text, text, `event ${seq} is the same for all`);
      payloads.set(seq, text);
    }
  }
}

function acksAreTrue(clients: readonly Client[]): void {
  const seen = new Map<number, string>();
  for (const { reader } of clients)
    for (const [seq, payload] of reader.payloads) seen.set(seq, (payload as { msgId: string }).msgId);
  for (const { reader } of clients)
    for (const [msgId, seq] of reader.acked)
      assert.equal(seen.get(seq) ?? msgId, msgId, `the ack of ${msgId}`);
}
