/**
 * The bus of a worker: the hub orders, keeps and feeds, and what it says comes in one order, so that an answer stands
 * exactly where it was given between the events.
 */
import type { RoomEvent } from '../../broker/event.ts';
import type {
  Accepted,
  Bus,
  BusHealth,
  Fault,
  HistoryPage,
  HistoryQuery,
  Publication,
  ReplayPage,
  ReplaySince,
  RoomRef,
  RoomSink,
  Settle,
  Skip,
} from '../../broker/ports.ts';
import { CLOSED, DRAINING } from '../refusals.ts';
import type { Page } from '../tail.ts';
import type { HubLine } from './line.ts';
import { eventOf, LOST, type WireEvent, type WirePage, wireRoom } from './wire.ts';

const RETRY_MS = 1000;
const FULL: Fault = {
  ok: false,
  code: 'overloaded',
  reason: 'as much waits for the hub of the workers as may',
  retryAfterMs: RETRY_MS,
};

interface Feed {
  /** The room may be shut and opened again before the hub has said the first word about it. */
  readonly generation: number;
  readonly sink: RoomSink;
  open: boolean;
}

interface InFlight {
  readonly settle: Settle;
  readonly skip: Skip | undefined;
}

export class LocalBus implements Bus {
  readonly kind = 'local';
  readonly #line: HubLine;
  readonly #feeds = new Map<string, Feed>();
  readonly #inFlight = new Map<number, InFlight>();
  #publishes = 0;
  #generations = 0;
  /** Of all rooms; known before the first event of any. */
  #epoch = '';
  #state: 'open' | 'draining' | 'closed' = 'open';
  #idle: () => void = () => undefined;
  #replays = 0;
  #histories = 0;

  constructor(line: HubLine) {
    this.#line = line;
    line.on({
      opened: (key, generation, position) => {
        const feed = this.#feeds.get(key);
        this.#epoch = position.epoch;
        if (feed?.generation !== generation) return;
        feed.open = true;
        feed.sink.opened(position);
      },
      failed: (key, generation, fault) => this.#failed(key, generation, fault),
      event: (key, event, publisher, id) => this.#event(key, event, publisher, id),
      gap: (key, from, to, reason) => this.#fed(key)?.gap(from, to, reason),
      settled: (id, outcome) => this.#settled(id, outcome),
    });
    line.whenLost(() => this.#lost());
  }

  async start(): Promise<void> {
    if (!this.#line.up) throw new Error(LOST.reason);
  }

  async drain(ms: number): Promise<void> {
    if (this.#state === 'open') this.#state = 'draining';
    if (this.#inFlight.size === 0) return;
    await new Promise<void>((resolve) => {
      const late = setTimeout(resolve, ms);
      this.#idle = () => {
        clearTimeout(late);
        resolve();
      };
    });
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    this.#feeds.clear();
    this.#abandon(CLOSED);
    this.#line.close();
  }

  open(room: RoomRef, sink: RoomSink): void {
    if (this.#state === 'closed') return sink.failed(CLOSED);
    if (!this.#line.up) return sink.failed(LOST);
    if (this.#feeds.has(room.key)) throw new Error(`the room ${room.name} is open here already`);
    const generation = ++this.#generations;
    this.#feeds.set(room.key, { generation, sink, open: false });
    this.#line.send('open', generation, wireRoom(room));
  }

  shut(room: RoomRef): void {
    if (this.#feeds.delete(room.key)) this.#line.send('shut', room.key);
  }

  publish({ room, skip, ...publication }: Publication, settle: Settle): void {
    const refused = this.#refused();
    if (refused !== undefined) return settle(refused);
    const id = ++this.#publishes;
    this.#inFlight.set(id, { settle, skip });
    this.#line.send('publish', id, wireRoom(room), publication);
  }

  replay(room: RoomRef, since: ReplaySince, page: Page, done: (result: ReplayPage | Fault) => void): void {
    this.#replays++;
    if (this.#state === 'closed') return done(CLOSED);
    this.#line.call('replay', { room: wireRoom(room), since, page }, (answer) => done(pageOf(answer)));
  }

  history(room: RoomRef, query: HistoryQuery, done: (result: HistoryPage | Fault) => void): void {
    this.#histories++;
    if (this.#state === 'closed') return done(CLOSED);
    this.#line.call('history', { room: wireRoom(room), query }, (answer) => done(pageOf(answer)));
  }

  keeps(room: RoomRef): boolean {
    return room.policy.history !== undefined;
  }

  /** Of rooms and history the hub tells, which has them. */
  health(): BusHealth {
    const up = this.#state !== 'closed' && this.#line.up;
    const detail = up ? '' : LOST.reason;
    return {
      state: up ? 'up' : 'down',
      detail: this.#state === 'open' ? detail : this.#state,
      figures: {
        connected: Number(this.#line.up),
        open_rooms: this.#feeds.size,
        inflight: this.#inFlight.size,
        queued_bytes: this.#line.queued,
        replays_store: this.#replays,
        histories_store: this.#histories,
      },
    };
  }

  #refused(): Fault | undefined {
    if (this.#state !== 'open') return this.#state === 'closed' ? CLOSED : DRAINING;
    if (!this.#line.up) return LOST;
    return this.#line.full ? FULL : undefined;
  }

  #fed(key: string): RoomSink | undefined {
    const feed = this.#feeds.get(key);
    return feed?.open === true ? feed.sink : undefined;
  }

  /** The event first; a sink that throws does not take the publisher's answer with it. */
  #event(key: string, wire: WireEvent, publisher: number, id: number): void {
    const own = publisher === this.#line.number ? this.#inFlight.get(id) : undefined;
    const event = eventOf(wire, own?.skip);
    try {
      this.#fed(key)?.event(event);
    } finally {
      if (own !== undefined) this.#settled(id, this.#accepted(event));
    }
  }

  #accepted({ ephemeral, seq }: RoomEvent): Accepted {
    const accepted = { ok: true, epoch: this.#epoch, duplicate: false } as const;
    return ephemeral ? accepted : { ...accepted, seq };
  }

  #settled(id: number, outcome: Accepted | Fault): void {
    const publish = this.#inFlight.get(id);
    this.#inFlight.delete(id);
    publish?.settle(outcome);
    if (this.#inFlight.size === 0) this.#idle();
  }

  #failed(key: string, generation: number, fault: Fault): void {
    const feed = this.#feeds.get(key);
    if (feed?.generation !== generation) return;
    this.#feeds.delete(key);
    feed.sink.failed(fault);
  }

  /** This process ends soon; until then it says why nothing goes on. */
  #lost(): void {
    this.#abandon(LOST);
    const feeds = [...this.#feeds.values()];
    this.#feeds.clear();
    for (const { sink } of feeds) sink.failed(LOST);
  }

  #abandon(fault: Fault): void {
    for (const id of [...this.#inFlight.keys()]) this.#settled(id, fault);
  }
}

function pageOf<T extends ReplayPage | HistoryPage>(answer: WirePage<T> | Fault | undefined): T | Fault {
  if (answer === undefined) return LOST;
  if (!answer.ok) return answer as Fault;
  const page = answer as WirePage<T>;
  return { ...page, events: page.events.map((event) => eventOf(event)) } as unknown as T;
}
