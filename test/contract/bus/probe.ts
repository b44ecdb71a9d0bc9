import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RoomEvent } from '../../../src/broker/event.ts';
import type {
  Accepted,
  Bus,
  Fault,
  HistoryPage,
  HistoryQuery,
  Publication,
  ReplayPage,
  ReplaySince,
  RoomRef,
  RoomSink,
} from '../../../src/broker/ports.ts';
import type { GapReason, Position } from '../../../src/protocol/frames.ts';

const PATIENCE_MS = 5000;

/** A sink that writes down what it is told, in one list. */
export class Probe implements RoomSink {
  readonly positions: Position[] = [];
  readonly faults: Fault[] = [];
  readonly events: RoomEvent[] = [];
  readonly gaps: { readonly from: number; readonly to: number; readonly reason: GapReason }[] = [];
  /** Called after each event is written down. */
  onEvent: (event: RoomEvent) => void = () => {};
  #changed: () => void = () => {};

  opened(position: Position): void {
    this.positions.push(position);
    this.#changed();
  }

  failed(fault: Fault): void {
    this.faults.push(fault);
    this.#changed();
  }

  event(event: RoomEvent): void {
    this.events.push(event);
    this.onEvent(event);
    this.#changed();
  }

  gap(from: number, to: number, reason: GapReason): void {
    this.gaps.push({ from, to, reason });
    this.#changed();
  }

  /** The position that the feed began at. */
  get position(): Position {
    const first = this.positions[0];
    assert.ok(first, 'the feed runs');
    return first;
  }

  get seqs(): number[] {
    return this.events.map((event) => event.seq);
  }

  get payloads(): unknown[] {
    return this.events.map((event) => JSON.parse(event.payload));
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = Date.now() + PATIENCE_MS;
    while (!holds()) {
      const left = deadline - Date.now();
      if (left <= 0)
        assert.fail(`waited ${PATIENCE_MS} ms in vain for ${what}; events: ${this.seqs.join(' ')}`);
      await Promise.race([
        new Promise<void>((resolve) => (this.#changed = resolve)),
        sleep(Math.min(left, 50)),
      ]);
    }
  }

  async count(events: number): Promise<void> {
    await this.until(`${events} events`, () => this.events.length >= events);
  }
}

/** Opens the room and waits until its feed runs. */
export async function opened(bus: Bus, room: RoomRef): Promise<Probe> {
  const probe = new Probe();
  bus.open(room, probe);
  await probe.until('the feed', () => probe.positions.length + probe.faults.length > 0);
  assert.deepEqual(probe.faults, []);
  return probe;
}

export type Fields = Partial<Omit<Publication, 'room' | 'payload'>>;

/** Resolves when the publish is settled; a second settle fails the process. */
export function publish(
  bus: Bus,
  room: RoomRef,
  payload: unknown,
  fields: Fields = {},
): Promise<Accepted | Fault> {
  return new Promise((resolve) => {
    let settled = false;
    bus.publish(
      { room, from: 'ann', payload: JSON.stringify(payload), ephemeral: false, ...fields },
      (outcome) => {
        if (settled) throw new Error('a publish was settled twice');
        settled = true;
        resolve(outcome);
      },
    );
  });
}

/** Publishes in a durable or live room; the position of the event. */
export async function accepted(
  bus: Bus,
  room: RoomRef,
  payload: unknown,
  fields: Fields = {},
): Promise<number> {
  const outcome = await publish(bus, room, payload, fields);
  assert.ok(outcome.ok, `accepted: ${JSON.stringify(outcome)}`);
  assert.equal(outcome.duplicate, false);
  assert.ok(outcome.seq !== undefined && Number.isSafeInteger(outcome.seq) && outcome.seq > 0);
  return outcome.seq;
}

/** Publishes 0, 1, 2, … one after the other; their positions. */
export async function fill(
  bus: Bus,
  room: RoomRef,
  count: number,
  payload = (n: number): unknown => n,
): Promise<number[]> {
  const seqs: number[] = [];
  for (let n = 0; n < count; n++) seqs.push(await accepted(bus, room, payload(n)));
  return seqs;
}

const WIDE = { count: 10_000, maxBytes: 64 * 1024 * 1024 };

export async function replay(bus: Bus, room: RoomRef, since: ReplaySince, page = WIDE): Promise<ReplayPage> {
  const result = await new Promise<ReplayPage | Fault>((resolve) => bus.replay(room, since, page, resolve));
  assert.ok(result.ok, `replayed: ${JSON.stringify(result)}`);
  return result;
}

export async function history(
  bus: Bus,
  room: RoomRef,
  query: Partial<HistoryQuery> = {},
): Promise<HistoryPage> {
  const wide = { limit: WIDE.count, maxBytes: WIDE.maxBytes, ...query };
  const result = await new Promise<HistoryPage | Fault>((resolve) => bus.history(room, wide, resolve));
  assert.ok(result.ok, `read: ${JSON.stringify(result)}`);
  return result;
}

export function seqsOf(page: { readonly events: readonly RoomEvent[] }): number[] {
  return page.events.map((event) => event.seq);
}

export function payloadsOf(page: { readonly events: readonly RoomEvent[] }): unknown[] {
  return page.events.map((event) => JSON.parse(event.payload));
}

/** Each event names the one before it, the first one `from`, and positions grow. */
export function assertChain(events: readonly RoomEvent[], from: number): void {
  let last = from;
  for (const event of events) {
    assert.equal(event.prev, last, `event ${event.seq} follows ${last}`);
    assert.ok(event.seq > last, `event ${event.seq} is after ${last}`);
    last = event.seq;
  }
}

/** Long enough for a stray event of any implementation to arrive on a quiet machine. */
export async function quiet(): Promise<void> {
  await sleep(60);
}
