/** Rooms and their feeds: one from the bus into the hub, from there one to each worker that has members. */
import type { RoomEvent } from '../../../broker/event.ts';
import type { Accepted, Bus, Fault, RoomRef, RoomSink } from '../../../broker/ports.ts';
import type { GapReason, Position } from '../../../protocol/frames.ts';
import { packed } from '../link.ts';
import { type FromHub, roomOf, type WirePublication, type WireRoom, wireEvent } from '../wire.ts';
import type { Worker } from './worker.ts';

/** The publish that is being carried out. */
interface Publishing {
  readonly worker: Worker;
  readonly id: number;
  /** Its event has gone to the worker that it came from, which settles it by that. */
  heard: boolean;
}

const NOBODY = [0, 0] as const;

export class HubRooms {
  readonly #bus: Bus;
  readonly #feeds = new Map<string, Feed>();
  /** The bus settles before `publish` returns. */
  #publishing: Publishing | undefined;

  /** @param bus one that answers at once, the embedded one */
  constructor(bus: Bus) {
    this.#bus = bus;
  }

  get size(): number {
    return this.#feeds.size;
  }

  open(worker: Worker, generation: number, wire: WireRoom): void {
    const ref = roomOf(wire);
    let feed = this.#feeds.get(ref.key);
    worker.rooms.add(ref.key);
    if (feed !== undefined) return feed.add(worker, generation);
    feed = new Feed(ref, {
      origin: (room) => this.#origin(room),
      failed: () => this.#feeds.delete(ref.key),
    });
    this.#feeds.set(ref.key, feed);
    feed.add(worker, generation);
    this.#bus.open(ref, feed);
  }

  shut(worker: Worker, key: string): void {
    worker.rooms.delete(key);
    const feed = this.#feeds.get(key);
    if (feed === undefined || feed.remove(worker) > 0) return;
    this.#feeds.delete(key);
    this.#bus.shut(feed.ref);
  }

  publish(worker: Worker, id: number, wire: WireRoom, publication: WirePublication): void {
    const publishing: Publishing = { worker, id, heard: false };
    this.#publishing = publishing;
    this.#bus.publish({ ...publication, room: roomOf(wire) }, (outcome) => settled(publishing, outcome));
    this.#publishing = undefined;
  }

  gone(worker: Worker): void {
    for (const key of [...worker.rooms]) this.shut(worker, key);
  }

  #origin(feed: Feed): readonly [number, number] {
    const publishing = this.#publishing;
    if (publishing === undefined) return NOBODY;
    publishing.heard = feed.feeds(publishing.worker);
    return [publishing.worker.number, publishing.id];
  }
}

function settled({ worker, id, heard }: Publishing, outcome: Accepted | Fault): void {
  if (!heard) worker.say('settled', id, outcome);
}

interface FeedHost {
  /** Of the event that is being handed out: the worker and its id of the publish. */
  readonly origin: (feed: Feed) => readonly [number, number];
  readonly failed: () => void;
}

class Feed implements RoomSink {
  readonly ref: RoomRef;
  readonly #host: FeedHost;
  /** With the generation of the worker's own feed: one that it has shut must not be taken for the next. */
  readonly #workers = new Map<Worker, number>();
  #position: Position | undefined;

  constructor(ref: RoomRef, host: FeedHost) {
    this.ref = ref;
    this.#host = host;
  }

  feeds(worker: Worker): boolean {
    return this.#workers.has(worker);
  }

  add(worker: Worker, generation: number): void {
    this.#workers.set(worker, generation);
    if (this.#position !== undefined) this.#tellOpened(worker, generation, this.#position);
  }

  /** How many are left. */
  remove(worker: Worker): number {
    this.#workers.delete(worker);
    return this.#workers.size;
  }

  opened(position: Position): void {
    this.#position = position;
    for (const [worker, generation] of this.#workers) this.#tellOpened(worker, generation, position);
  }

  failed(fault: Fault): void {
    this.#host.failed();
    for (const [worker, generation] of this.#workers) {
      worker.rooms.delete(this.ref.key);
      worker.say('failed', this.ref.key, generation, fault);
    }
  }

  event(event: RoomEvent): void {
    this.#moved(event.ephemeral ? undefined : event.seq);
    const bytes = packed<FromHub, 'event'>(
      'event',
      this.ref.key,
      wireEvent(event),
      ...this.#host.origin(this),
    );
    for (const worker of this.#workers.keys()) worker.link.sendPacked(bytes);
  }

  gap(from: number, to: number, reason: GapReason): void {
    this.#moved(to);
    for (const worker of this.#workers.keys()) worker.say('gap', this.ref.key, from, to, reason);
  }

  #moved(seq: number | undefined): void {
    if (seq !== undefined && this.#position !== undefined) this.#position = { ...this.#position, seq };
  }

  #tellOpened(worker: Worker, generation: number, position: Position): void {
    worker.say('opened', this.ref.key, generation, position);
  }
}
