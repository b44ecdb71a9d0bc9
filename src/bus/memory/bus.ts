import { RoomEvent } from '../../broker/event.ts';
import type {
  Accepted,
  Bus,
  BusHealth,
  Clock,
  Fault,
  HistoryPage,
  HistoryQuery,
  Log,
  Publication,
  ReplayPage,
  ReplaySince,
  RoomRef,
  RoomSink,
  Settle,
} from '../../broker/ports.ts';
import type { HistoryPolicy } from '../../broker/settings.ts';
import { historyAnswer, type RoomView, replayAnswer } from '../answers.ts';
import { type DedupeLimits, publishIdentity, TenantDedupe } from '../dedupe.ts';
import { CLOSED, DRAINING } from '../refusals.ts';
import type { Page } from '../tail.ts';
import { type RoomLimits, RoomTable } from './rooms.ts';

export interface MemoryBusOptions {
  readonly limits: RoomLimits & DedupeLimits;
  /** Rooms with members or stored events that a tenant may have. 0, or absent: as many as its share. */
  readonly openRooms?: (tenant: string) => number;
  readonly clock: Clock;
  /** Different at each start of the process: history does not survive it. */
  readonly epoch: string;
  readonly log: Log;
}

const SWEEP_MS = 1000;
/** Rooms that one sweep may look at: a few milliseconds at the most. */
const SWEEP_ROOMS = 10_000;

interface Waiting {
  readonly publication: Publication;
  readonly settle: Settle;
}

/**
 * The bus of a single node: history in memory, one order, every answer before the call returns.
 *
 * One counter numbers the events of all rooms, so that positions of a room have holes here as they have on
 * every other bus, and nobody comes to rely on the contrary.
 */
export class MemoryBus implements Bus {
  readonly kind = 'embedded';
  readonly #clock: Clock;
  readonly #epoch: string;
  readonly #log: Log;
  readonly #rooms: RoomTable;
  readonly #dedupe: TenantDedupe;
  #seq = 0;
  #open = 0;
  #replays = 0;
  #histories = 0;
  #state: 'open' | 'draining' | 'closed' = 'open';
  #timer: NodeJS.Timeout | undefined;
  /** Evictions at the last sweep, and whether the log has been told that there are any. */
  #evictedBefore = 0;
  #evicting = false;
  #publishing = false;
  /** Publishes made by a sink or a settle during a publish; they run after it, in order. */
  readonly #waiting: Waiting[] = [];

  constructor({ limits, openRooms = () => 0, clock, epoch, log }: MemoryBusOptions) {
    this.#clock = clock;
    this.#epoch = epoch;
    this.#log = log;
    this.#rooms = new RoomTable(limits, openRooms);
    this.#dedupe = new TenantDedupe(limits);
  }

  async start(): Promise<void> {
    this.#timer ??= setInterval(() => this.sweep(this.#clock.now()), SWEEP_MS).unref();
  }

  /** Nothing is ever in flight here, so there is nothing to wait for. */
  async drain(_ms: number): Promise<void> {
    if (this.#state === 'open') this.#state = 'draining';
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#rooms.clear();
    this.#dedupe.clear();
    this.#open = 0;
  }

  open(ref: RoomRef, sink: RoomSink): void {
    const room = this.#state === 'closed' ? CLOSED : this.#rooms.claim(ref, this.#startOf(ref));
    if ('ok' in room) return sink.failed(room);
    if (room.sink !== undefined) throw new Error(`the room ${ref.name} is open here already`);
    room.sink = sink;
    this.#open++;
    this.#rooms.occupied(room);
    sink.opened({ epoch: this.#epoch, seq: room.last });
  }

  shut(ref: RoomRef): void {
    const room = this.#rooms.get(ref);
    if (room?.sink === undefined) return;
    room.sink = undefined;
    this.#open--;
    this.#rooms.vacated(room, ref.policy.history, this.#clock.now());
  }

  /**
   * Settles before it returns, unless a sink or a settle calls it: then after the event that is being handed
   * out, so that a sink is never called for an event while it is still busy with the one before.
   */
  publish(publication: Publication, settle: Settle): void {
    if (this.#publishing) {
      this.#waiting.push({ publication, settle });
      return;
    }
    this.#publishing = true;
    try {
      this.#accept(publication, settle);
    } finally {
      this.#publishing = false;
      if (this.#waiting.length > 0) this.#publishWaiting();
    }
  }

  replay(ref: RoomRef, since: ReplaySince, page: Page, done: (result: ReplayPage | Fault) => void): void {
    this.#replays++;
    done(this.#state === 'closed' ? CLOSED : replayAnswer(this.#view(ref), this.#epoch, since, page));
  }

  history(ref: RoomRef, query: HistoryQuery, done: (result: HistoryPage | Fault) => void): void {
    this.#histories++;
    done(this.#state === 'closed' ? CLOSED : historyAnswer(this.#view(ref), this.#epoch, query));
  }

  keeps(room: RoomRef): boolean {
    return room.policy.history !== undefined;
  }

  health(): BusHealth {
    return {
      state: this.#state === 'closed' ? 'down' : 'up',
      detail: this.#state === 'open' ? '' : this.#state,
      figures: {
        rooms: this.#rooms.size,
        open_rooms: this.#open,
        history_events: this.#rooms.ledger.events,
        history_bytes: this.#rooms.ledger.bytes,
        history_evicted: this.#rooms.evicted,
        replays_memory: this.#replays,
        histories_memory: this.#histories,
        dedupe_entries: this.#dedupe.size,
        dedupe_evicted: this.#dedupe.evicted,
      },
    };
  }

  /** Drops what is over its age. `start` has it called once a second. */
  sweep(now: number): void {
    this.#rooms.sweep(now, SWEEP_ROOMS);
    this.#dedupe.sweep(now);
    this.#tellEvictions();
  }

  #publishWaiting(): void {
    this.#publishing = true;
    let taken = 0;
    try {
      for (let next = this.#waiting[taken]; next !== undefined; next = this.#waiting[taken]) {
        taken++;
        this.#accept(next.publication, next.settle);
      }
    } finally {
      this.#waiting.splice(0, taken);
      this.#publishing = false;
      // A sink has thrown: those behind it were promised their settle all the same.
      if (this.#waiting.length > 0) this.#publishWaiting();
    }
  }

  #accept(publication: Publication, settle: Settle): void {
    const { history } = publication.room.policy;
    if (this.#state !== 'open') settle(this.#state === 'closed' ? CLOSED : DRAINING);
    else if (publication.ephemeral) this.#pass(publication, settle);
    else if (history === undefined) this.#relay(publication, settle);
    else this.#store(publication, history, settle);
  }

  /** Ephemeral: to whoever is here, outside the order. */
  #pass(publication: Publication, settle: Settle): void {
    const accepted = { ok: true, epoch: this.#epoch, duplicate: false } as const;
    const room = this.#rooms.get(publication.room);
    if (room?.sink === undefined) settle(accepted);
    else hand(room.sink, eventOf(publication, this.#clock.now(), true), accepted, settle);
  }

  /** Live room: in order, kept nowhere. */
  #relay(publication: Publication, settle: Settle): void {
    const accepted = this.#accepted();
    const room = this.#rooms.get(publication.room);
    if (room?.sink === undefined) {
      settle(accepted);
      return;
    }
    const event = eventOf(publication, this.#clock.now(), true, accepted.seq, room.last);
    room.last = accepted.seq;
    hand(room.sink, event, accepted, settle);
  }

  #store(publication: Publication, history: HistoryPolicy, settle: Settle): void {
    const now = this.#clock.now();
    const { room: ref, from, msgId } = publication;
    const identity = msgId === undefined ? undefined : publishIdentity(ref.key, from, msgId);
    const first = identity === undefined ? undefined : this.#dedupe.get(ref.tenant, identity, now);
    if (first !== undefined) {
      settle({ ok: true, epoch: this.#epoch, seq: first, duplicate: true });
      return;
    }
    const room = this.#rooms.claim(ref, this.#rooms.floorOf(ref.tenant));
    if ('ok' in room) return settle(room);
    const { sink } = room;
    const partial = identity !== undefined && this.#dedupe.partial(ref.tenant, now);
    const accepted: Accepted & { readonly seq: number } = {
      ...this.#accepted(),
      ...(partial && { dedupe: 'partial' }),
    };
    const event = eventOf(publication, now, sink !== undefined, accepted.seq, room.last);
    room.last = accepted.seq;
    this.#rooms.keep(room, event, history, now);
    if (identity !== undefined) this.#dedupe.add(ref.tenant, identity, accepted.seq, now);
    if (sink === undefined) settle(accepted);
    else hand(sink, event, accepted, settle);
  }

  #accepted(): Accepted & { readonly seq: number } {
    return { ok: true, epoch: this.#epoch, seq: ++this.#seq, duplicate: false };
  }

  #startOf(ref: RoomRef): number {
    return ref.policy.history === undefined ? this.#seq : this.#rooms.floorOf(ref.tenant);
  }

  #view(ref: RoomRef): RoomView {
    const room = this.#rooms.get(ref);
    if (room === undefined) {
      const start = this.#startOf(ref);
      return { start, last: start, tail: undefined };
    }
    if (ref.policy.history !== undefined) this.#rooms.refresh(room, ref.policy.history, this.#clock.now());
    return room;
  }

  /** Once when it begins: it goes on for as long as the rooms together are given more than they may keep. */
  #tellEvictions(): void {
    const { evicted, ledger } = this.#rooms;
    const evicting = evicted > this.#evictedBefore;
    if (evicting && !this.#evicting)
      this.#log.warn({ evicted, bytes: ledger.bytes }, 'history is over limits.historyTotalBytes: evicting');
    this.#evictedBefore = evicted;
    this.#evicting = evicting;
  }
}

function eventOf(
  publication: Publication,
  ts: number,
  heard: boolean,
  seq?: number,
  prev?: number,
): RoomEvent {
  const { room, payload, from, msgId, key, expireMs, traceparent } = publication;
  // Kept with an event that nobody here gets, `skip` would only hold a closed connection in memory.
  const skip = heard ? publication.skip : undefined;
  return new RoomEvent({
    room: room.name,
    payload,
    seq,
    prev,
    ts,
    from,
    msgId,
    key,
    expireMs,
    skip,
    traceparent,
  });
}

/** The event first; a sink that throws does not take the publisher's answer with it. */
function hand(sink: RoomSink, event: RoomEvent, accepted: Accepted, settle: Settle): void {
  try {
    sink.event(event);
  } finally {
    settle(accepted);
  }
}
