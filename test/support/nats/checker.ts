import assert from 'node:assert/strict';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { RoomEvent } from '../../../src/broker/event.ts';
import type { Bus, Fault, RoomRef, RoomSink } from '../../../src/broker/ports.ts';

interface Seen {
  readonly seq: number;
  readonly id: string;
}

/** What one node was told of one room. Fails at once where the chain of the room breaks. */
export class RoomLog implements RoomSink {
  readonly node: string;
  readonly room: string;
  readonly seen: Seen[] = [];
  readonly gaps: { readonly from: number; readonly to: number; readonly reason: string }[] = [];
  readonly faults: Fault[] = [];
  readonly epochs: string[] = [];
  first = -1;
  last = -1;
  #opened: (() => void)[] = [];

  constructor(node: string, room: string) {
    this.node = node;
    this.room = room;
  }

  get open(): Promise<void> {
    return this.first >= 0 ? Promise.resolve() : new Promise((done) => this.#opened.push(done));
  }

  opened({ epoch, seq }: { epoch: string; seq: number }): void {
    if (epoch !== this.epochs.at(-1)) {
      this.epochs.push(epoch);
      this.first = seq;
    }
    this.last = seq;
    for (const done of this.#opened.splice(0)) done();
  }

  failed(fault: Fault): void {
    this.faults.push(fault);
  }

  event(event: RoomEvent): void {
    if (event.ephemeral) return;
    assert.equal(event.prev, this.last, `${this.node} ${this.room}: prev of ${event.seq}`);
    assert.ok(event.seq > this.last, `${this.node} ${this.room}: ${event.seq} after ${this.last}`);
    this.last = event.seq;
    this.seen.push({ seq: event.seq, id: JSON.parse(event.payload) as string });
  }

  gap(from: number, to: number, reason: string): void {
    assert.equal(from, this.last, `${this.node} ${this.room}: from of the gap`);
    this.gaps.push({ from, to, reason });
    this.last = to;
  }
}

export interface LoadOptions {
  /** Publishes a second, over all rooms and publishers. */
  readonly rate: number;
  readonly senders: number;
  /** Milliseconds between the attempts of a client whose publish was answered with a fault. */
  readonly retryMs?: number;
}

interface Acked {
  readonly seq: number;
  readonly room: string;
}

/**
 * Publishers and subscribers on several nodes, and the whole truth about them in the end. A publisher sends the
 * next message of a room without waiting, and one that was refused again under the same id, as the SDK does.
 */
export class Checker {
  readonly logs: RoomLog[] = [];
  readonly acked = new Map<string, Acked>();
  readonly sent: { readonly id: string; readonly room: string; readonly sender: string }[] = [];
  readonly #buses: readonly Bus[];
  readonly #rooms: readonly RoomRef[];
  #timer: NodeJS.Timeout | undefined;
  #open = 0;
  /** By reason. */
  readonly faults = new Map<string, number>();
  duplicates = 0;
  /** Acks of own publishes that came before their event, at a node that listens to the room. */
  early = 0;
  longestMs = 0;

  constructor(buses: readonly Bus[], rooms: readonly RoomRef[]) {
    this.#buses = buses;
    this.#rooms = rooms;
  }

  async subscribe(): Promise<void> {
    for (const [node, bus] of this.#buses.entries())
      for (const room of this.#rooms) {
        const log = new RoomLog(`node ${node}`, room.name);
        this.logs.push(log);
        bus.open(room, log);
      }
    await Promise.all(this.logs.map(({ open }) => open));
  }

  load({ rate, senders, retryMs = 250 }: LoadOptions): void {
    const began = performance.now();
    let count = 0;
    this.#timer = setInterval(() => {
      const due = ((performance.now() - began) / 1000) * rate;
      for (; count < due; count++) this.#publish(count, count % senders, retryMs);
    }, 5);
  }

  /** No new publishes; those that are under way are answered. */
  async stop(ms: number): Promise<void> {
    clearInterval(this.#timer);
    const until = performance.now() + ms;
    while (this.#open > 0 && performance.now() < until) await new Promise((resume) => setTimeout(resume, 20));
    assert.equal(this.#open, 0, `${this.#open} publishes are not answered`);
  }

  /** Until every node has seen the newest event of every room, or `ms` are over. */
  async settle(stored: ReadonlyMap<string, readonly Seen[]>, ms: number): Promise<void> {
    const until = performance.now() + ms;
    const behind = () => this.logs.filter((log) => log.last < (stored.get(log.room)?.at(-1)?.seq ?? 0));
    while (behind().length > 0 && performance.now() < until)
      await new Promise((resume) => setTimeout(resume, 50));
  }

  #publish(count: number, sender: number, retryMs: number): void {
    const room = this.#rooms[Math.floor(count / this.#buses.length) % this.#rooms.length] as RoomRef;
    const at = count % this.#buses.length;
    const id = `${sender}-${count}`;
    this.sent.push({ id, room: room.name, sender: `${sender}@${at}` });
    this.#open++;
    this.#attempt(at, room, `${sender}@${at}`, id, retryMs, performance.now());
  }

  #attempt(at: number, room: RoomRef, from: string, id: string, retryMs: number, began: number): void {
    const bus = this.#buses[at] as Bus;
    const log = this.logs[at * this.#rooms.length + this.#rooms.indexOf(room)] as RoomLog;
    bus.publish({ room, from, payload: JSON.stringify(id), msgId: id, ephemeral: false }, (outcome) => {
      if (!outcome.ok) {
        this.faults.set(outcome.reason, (this.faults.get(outcome.reason) ?? 0) + 1);
        setTimeout(() => this.#attempt(at, room, from, id, retryMs, began), retryMs);
        return;
      }
      this.#open--;
      this.longestMs = Math.max(this.longestMs, performance.now() - began);
      if (outcome.duplicate) this.duplicates++;
      if ((outcome.seq ?? 0) > log.last && outcome.epoch === log.epochs.at(-1)) this.early++;
      this.acked.set(id, { seq: outcome.seq ?? 0, room: room.name });
    });
  }

  /**
   * Every acked message stored once, at the place its ack says; every stored message seen once by every node, in
   * order, or named in a gap. Throws with what is wrong; the answer is how many were excused by gaps.
   */
  verify(stored: ReadonlyMap<string, readonly Seen[]>): number {
    this.#verifyAcks(stored);
    let excused = 0;
    for (const log of this.logs) excused += verifyLog(log, stored.get(log.room) ?? []);
    assert.equal(this.early, 0, 'acks before their event');
    return excused;
  }

  #verifyAcks(stored: ReadonlyMap<string, readonly Seen[]>): void {
    const places = new Map<string, number[]>();
    for (const events of stored.values())
      for (const { id, seq } of events) places.set(id, [...(places.get(id) ?? []), seq]);
    const wrong = [...this.acked].filter(
      ([id, { seq }]) => places.get(id)?.length !== 1 || places.get(id)?.[0] !== seq,
    );
    assert.deepEqual(
      wrong.slice(0, 5).map(([id, acked]) => ({ id, acked, stored: places.get(id) })),
      [],
      `${wrong.length} acked messages are not stored once where the ack says`,
    );
  }
}

function verifyLog(log: RoomLog, stored: readonly Seen[]): number {
  const expected = stored.filter(({ seq }) => seq > log.first);
  const lost = expected.filter(({ seq }) => log.gaps.some(({ from, to }) => seq > from && seq <= to));
  const gone = new Set(lost.map(({ seq }) => seq));
  const wanted = expected.filter(({ seq }) => !gone.has(seq));
  const got = new Set(log.seen.map(({ seq }) => seq));
  const missing = wanted.filter(({ seq }) => !got.has(seq));
  assert.deepEqual(
    missing.slice(0, 5),
    [],
    `${log.node} ${log.room}: ${missing.length} events missing, none said so`,
  );
  assert.deepEqual(
    log.seen.map(({ seq, id }) => `${seq} ${id}`),
    wanted.map(({ seq, id }) => `${seq} ${id}`),
    `${log.node} ${log.room}: another order or content than stored`,
  );
  return lost.length;
}

/** What the streams hold, room by room, read by the client's own means and not by ours. */
export async function readStreams(
  servers: readonly string[],
  streams: readonly string[],
  roomOf: (subject: string) => string,
): Promise<Map<string, Seen[]>> {
  const connection = await connect({ servers: [...servers] });
  const rooms = new Map<string, Seen[]>();
  try {
    const manager = await jetstreamManager(connection);
    for (const stream of streams) {
      const { state } = await manager.streams.info(stream);
      for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; ) {
        const batch = await manager.direct.getBatch(stream, { seq, batch: 1000 });
        let count = 0;
        for await (const message of batch) {
          count++;
          seq = message.seq + 1;
          const room = roomOf(message.subject);
          rooms.set(room, [...(rooms.get(room) ?? []), { seq: message.seq, id: message.json<string>() }]);
        }
        if (count === 0) break;
      }
    }
  } finally {
    await connection.close();
  }
  return rooms;
}
