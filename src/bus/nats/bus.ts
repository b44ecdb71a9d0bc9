import type { NatsConnection } from '@nats-io/nats-core';
import type {
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
} from '../../broker/ports.ts';
import type { HistoryPolicy } from '../../broker/settings.ts';
import { CLOSED, DRAINING } from '../refusals.ts';
import type { Page } from '../tail.ts';
import { dial, follow, type Link, type LinkEvents } from './connection.ts';
import { NatsCursors } from './cursors.ts';
import { Durable } from './durable.ts';
import { type Env, environment } from './env.ts';
import { GuardedSink, guarded } from './guard.ts';
import { encodeMeta } from './headers.ts';
import { LiveRooms } from './live.ts';
import { Outlet } from './outlet.ts';
import type { NatsBusParts } from './parts.ts';
import { HEADER_BYTES, retentionOf, type WiderStreams, withoutHistory } from './streams.ts';
import { type RoomSubjects, Subjects } from './subject.ts';
import type { Cancel } from './timers.ts';
import { Turns } from './turns.ts';

const SWEEP_MS = 100;
/** What a close without a drain gives the cursors, which wait for nothing but their turn. */
const CLOSE_MS = 500;
const BAD_NAME: Fault = {
  ok: false,
  code: 'bad_room',
  reason: 'tenant and room are too long for a subject of NATS',
};

/** More than this has been written and not taken: live events for other nodes are dropped rather than piled up. */
const UNSENT_BYTES = 16 * 1024 * 1024;

/** The bus of several nodes: durable rooms over JetStream streams, live rooms over core NATS. */
export class NatsBus implements Bus {
  readonly kind = 'nats';
  readonly cursors: NatsCursors;
  readonly #parts: NatsBusParts;
  readonly #env: Env;
  readonly #subjects: Subjects;
  readonly #turns = new Turns();
  readonly #timers: Cancel[] = [];
  #state: 'new' | 'open' | 'draining' | 'closed' = 'new';
  #connection: NatsConnection | undefined;
  #outlet: Outlet | undefined;
  #live: LiveRooms | undefined;
  /** undefined: no room has a history, or NATS cannot keep one. */
  #durable: Durable | undefined;
  #connected = false;
  #congested = false;
  #reconnects = 0;
  readonly #following = new Set<LinkEvents>();
  readonly #wider: WiderStreams = new Set();

  constructor(parts: NatsBusParts) {
    this.#parts = parts;
    this.#env = environment(parts.clock, parts.log, parts.timers, parts.ticks, parts.random);
    this.#subjects = new Subjects(parts.options.prefix, parts.options.shards);
    this.cursors = new NatsCursors({
      env: this.#env,
      subjects: this.#subjects,
      writeMs: parts.options.cursorWriteMs,
      perSecond: parts.options.cursorWritesPerSecond,
      max: parts.limits.cursors,
    });
  }

  /** Throws with the reason when NATS cannot be reached, or does not have what the settings need. */
  async start(): Promise<void> {
    const { options, node } = this.#parts;
    const inbox = this.#subjects.inbox(node);
    const connection = await dial(`carillon ${node}`, inbox, options, this.#env);
    const outlet = new Outlet(connection, this.#env);
    this.#connection = connection;
    this.#outlet = outlet;
    this.#connected = true;
    try {
      this.#durable = await this.#startDurable(connection, outlet);
      if (this.#durable?.cursors !== undefined) this.cursors.attach(this.#durable.cursors);
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#live = new LiveRooms({
      ...this.#env,
      connection,
      outlet,
      options,
      epoch: `l${node}`,
      turns: this.#turns,
      reachable: () => this.#connected && !this.#congested,
    });
    follow(connection, 'live', this.#env, { lost: () => this.#lost(), back: () => this.#back() });
    this.#timers.push(this.#env.timers.every(SWEEP_MS, () => this.#sweep()));
    this.#state = 'open';
  }

  /** The connection of live rooms, for what is no event of a room; after `start`, until `close`. */
  link(): Link {
    const [connection, outlet] = [this.#connection, this.#outlet];
    if (connection === undefined || outlet === undefined) throw new Error('the bus has not been started');
    return {
      connection,
      outlet,
      connected: () => this.#connected,
      reachable: () => this.#connected && !this.#congested,
      wider: this.#wider,
      watch: (events) => {
        this.#following.add(events);
        return () => this.#following.delete(events);
      },
    };
  }

  async drain(ms: number): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'draining';
    const until = this.#env.ticks() + ms;
    while (this.#durable?.busy && this.#env.ticks() < until) await this.#env.sleep(20);
    await this.cursors.drain(until);
    this.#durable?.leaving();
    this.#outlet?.flush();
    if (this.#connected)
      await Promise.race([this.#connection?.flush(), this.#env.sleep(until - this.#env.ticks())]);
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    await this.cursors.drain(this.#env.ticks() + CLOSE_MS);
    for (const cancel of this.#timers.splice(0)) cancel();
    this.#durable?.leaving();
    this.#outlet?.flush();
    this.#live?.close();
    await this.#durable?.close();
    await this.#connection?.close();
    this.#connected = false;
  }

  open(ref: RoomRef, plain: RoomSink): void {
    const sink = new GuardedSink(plain, this.#env.log);
    const subjects = this.#subjects.room(ref.tenant, ref.name);
    if (this.#state === 'new' || this.#state === 'closed') sink.failed(CLOSED);
    else if (subjects === undefined) sink.failed(BAD_NAME);
    else if (!this.#hasPlaceFor(ref, subjects)) sink.failed(this.#full());
    else {
      const history = this.#historyOf(ref);
      if (history === undefined) this.#live?.open(ref, subjects.live, sink);
      else this.#durable?.open(ref, history, subjects, sink);
    }
  }

  shut(ref: RoomRef): void {
    const subjects = this.#subjects.room(ref.tenant, ref.name);
    if (subjects === undefined || this.#state === 'closed') return;
    if (this.#historyOf(ref) === undefined) this.#live?.shut(ref);
    else this.#durable?.shut(subjects);
  }

  publish(publication: Publication, plain: Settle): void {
    const { room, ephemeral } = publication;
    const settle = guarded(this.#env.log, 'the answer to a publish', plain);
    const subjects = this.#subjects.room(room.tenant, room.name);
    if (this.#state !== 'open') settle(this.#state === 'draining' ? DRAINING : CLOSED);
    else if (subjects === undefined) settle(BAD_NAME);
    else if (this.#historyOf(room) === undefined) this.#live?.publish(publication, subjects.live, settle);
    else if (ephemeral) this.#pass(publication, subjects, settle);
    else this.#durable?.publish(publication, subjects, settle);
  }

  replay(ref: RoomRef, since: ReplaySince, page: Page, plain: (result: ReplayPage | Fault) => void): void {
    const done = guarded(this.#env.log, 'the answer to a replay', plain);
    const subjects = this.#subjects.room(ref.tenant, ref.name);
    if (subjects === undefined || this.#state === 'closed' || this.#live === undefined) done(CLOSED);
    else if (this.#historyOf(ref) === undefined) done(this.#live.replay(ref, since));
    else this.#durable?.replay(subjects, since, page, done);
  }

  history(ref: RoomRef, query: HistoryQuery, plain: (result: HistoryPage | Fault) => void): void {
    const done = guarded(this.#env.log, 'the answer to a history question', plain);
    const subjects = this.#subjects.room(ref.tenant, ref.name);
    const history = this.#historyOf(ref);
    if (subjects === undefined || this.#state === 'closed' || this.#live === undefined) done(CLOSED);
    else if (history === undefined) done(this.#live.history(ref, query));
    else this.#durable?.history(ref, history, subjects, query, done);
  }

  keeps(room: RoomRef): boolean {
    return this.#historyOf(room) !== undefined;
  }

  health(): BusHealth {
    const [state, detail] = this.#verdict();
    return {
      state,
      detail,
      figures: {
        connected: this.#connected ? 1 : 0,
        reconnects: this.#reconnects,
        wider_streams: this.#wider.size,
        live_rooms: this.#live?.size ?? 0,
        live_unsent: this.#live?.unsent ?? 0,
        ...this.#durable?.figures(),
        ...this.cursors.figures(),
      },
      shards: this.#durable?.shards(),
    };
  }

  #verdict(): [BusHealth['state'], string] {
    if (this.#state !== 'open') return [this.#state === 'draining' ? 'up' : 'down', this.#state];
    if (!this.#connected) return ['down', 'NATS is away: live rooms go on here only, durable publishes wait'];
    if (this.#congested)
      return ['degraded', 'NATS does not take what is sent: live events stay on this node'];
    const trouble = this.#durable?.trouble();
    return trouble === undefined ? ['up', ''] : ['degraded', trouble];
  }

  /** Rooms that are only kept warm make place for one that is wanted. */
  #hasPlaceFor(ref: RoomRef, subjects: RoomSubjects): boolean {
    const rooms = (this.#live?.size ?? 0) + (this.#durable?.rooms ?? 0);
    if (rooms < this.#parts.limits.rooms) return true;
    const known = this.#historyOf(ref) === undefined ? this.#live?.has(ref) : this.#durable?.has(subjects);
    return known === true || this.#durable?.release() === true || this.#live?.release() === true;
  }

  #full(): Fault {
    const reason = 'this node holds as many rooms as it may';
    return { ok: false, code: 'overloaded', reason, retryAfterMs: 1000, limit: this.#parts.limits.rooms };
  }

  #historyOf(ref: RoomRef): HistoryPolicy | undefined {
    return this.#durable === undefined ? undefined : ref.policy.history;
  }

  async #startDurable(connection: NatsConnection, outlet: Outlet): Promise<Durable | undefined> {
    const { options, policies, limits, log } = this.#parts;
    checkPayload(connection, limits.payloadBytes);
    const retention = retentionOf(policies, limits);
    if (retention === undefined) return undefined;
    const cannot = withoutHistory(connection);
    if (cannot !== undefined) {
      if (!options.coreOnly)
        throw new Error(
          `NATS cannot keep the history that the rooms in the settings have: ${cannot}. Use a newer server with ` +
            'JetStream, take the history out of the settings, or set nats.coreOnly, which serves all rooms as live.',
        );
      log.warn({ reason: cannot }, 'NATS cannot keep history: all rooms are served as live');
      return undefined;
    }
    return Durable.start({
      ...this.#parts,
      env: this.#env,
      connection,
      outlet,
      retention,
      wider: this.#wider,
      subjects: this.#subjects,
      connected: () => this.#connected,
    });
  }

  /** Ephemeral, in a durable room: to whoever is there now, outside the order. */
  #pass(publication: Publication, subjects: RoomSubjects, settle: Settle): void {
    const { from, payload, msgId, key, expireMs, skip, traceparent } = publication;
    const ts = this.#env.now();
    const meta = { ts, from, msgId, key, ephemeral: true, expireMs, origin: undefined, skip: 0, traceparent };
    this.#live?.send(subjects.live, payload, encodeMeta(meta, undefined));
    this.#turns.run(() => {
      const epoch = this.#durable?.passed(publication.room, subjects, meta, payload, skip) ?? '';
      settle({ ok: true, epoch, duplicate: false });
    });
  }

  #lost(): void {
    this.#connected = false;
    this.#durable?.lost();
    for (const events of this.#following) events.lost();
  }

  #back(): void {
    if (this.#state === 'closed') return;
    this.#connected = true;
    this.#reconnects++;
    this.#live?.missed();
    this.#durable?.back();
    for (const events of this.#following) events.back();
  }

  #sweep(): void {
    this.#congested = unsentBytes(this.#connection) > UNSENT_BYTES;
    this.#live?.expire();
    this.#durable?.sweep();
    this.cursors.sweep();
  }
}

function checkPayload(connection: NatsConnection, payloadBytes: number): void {
  const max = connection.info?.max_payload ?? 0;
  if (payloadBytes + HEADER_BYTES <= max) return;
  throw new Error(
    `the NATS server takes messages of ${max} bytes (max_payload), and limits.payloadBytes is ${payloadBytes}, which ` +
      `takes ${payloadBytes + HEADER_BYTES} with its headers: raise the one or lower the other.`,
  );
}

/** The client has no back-pressure of its own; its socket tells, where it can be reached. */
function unsentBytes(connection: NatsConnection | undefined): number {
  const inner = connection as
    | { protocol?: { transport?: { socket?: { writableLength?: number } } } }
    | undefined;
  return inner?.protocol?.transport?.socket?.writableLength ?? 0;
}
