import { CLOSE_CODES } from '../protocol/codes.ts';
import type {
  AckFrame,
  ClientFrame,
  ErrorFrame,
  HistoryPageFrame,
  RefreshedFrame,
  ServerFrame,
  ServerInfoFrame,
} from '../protocol/frames.ts';
import { sizeOf } from './codec.ts';
import { Connection, type ConnectionOwner, type State } from './connection.ts';
import { Credentials } from './credentials.ts';
import { Emitter } from './emitter.ts';
import { CarillonError, errorOf } from './errors.ts';
import type { ClientEvents } from './events.ts';
import type { Membership, MembershipHost, RoomFrame } from './membership.ts';
import { type ConnectOptions, DEFAULTS, type PublishOptions } from './options.ts';
import { Publisher } from './publisher.ts';
import { QualityMeter, qualityLimits } from './quality.ts';
import { Refresher } from './refresher.ts';
import { type Answer, Requests } from './requests.ts';
import type { Ack, HistoryPage, HistoryQuery } from './room.ts';

/** Milliseconds between looks at deadlines; only while something is pending. */
const SWEEP_MS = 250;
/** Milliseconds over which `seen` is gathered: it is cumulative, so only the last one counts. */
const SEEN_MS = 100;
/** Rooms in one such frame: servers limit its keys and its bytes. */
const SEEN_ROOMS = 100;
/** Frames per array where the server does not say how many it takes. */
const BATCH = 16;
/** Codes after which a request is made again by itself. */
const AGAIN: ReadonlySet<string> = new Set(['rate_limited', 'unavailable', 'overloaded']);
const RETRY_MS = 500;
const SLOW = 'slow_consumer';
/** Rooms that nobody joins: a backend's events for all connections of the tenant, and for this one. */
const DIRECT: ReadonlySet<string> = new Set(['@*', '@!']);
/** Ends that the server announces: they say nothing about the link. */
const PLANNED: ReadonlySet<string> = new Set(['drain', 'token_expired', 'state_invalidated']);

/** The works of a Client: frames of the connection to rooms, requests and publishes, and back. */
export class Core implements ConnectionOwner, MembershipHost {
  readonly events = new Emitter<ClientEvents>();
  readonly memberships = new Map<string, Membership>();
  readonly publisher: Publisher;
  readonly quality: QualityMeter;
  readonly #connection: Connection;
  readonly #credentials: Credentials;
  readonly #refresher: Refresher;
  readonly #requests = new Requests();
  readonly #requestTimeoutMs: number;
  /** From the joins after `server_info` to the loss. */
  #open = false;
  #user: string | undefined;
  #session: string | undefined;
  #lostAt: number | undefined;
  #attempts = 0;
  #sweeper: ReturnType<typeof setInterval> | undefined;
  /** Rooms with a position to tell by `seen`. */
  readonly #unseen = new Set<Membership>();
  #seenTimer: ReturnType<typeof setTimeout> | undefined;
  latencyMs: number | undefined;

  constructor(url: string, options: ConnectOptions) {
    this.quality = new QualityMeter(
      qualityLimits(options.quality),
      (quality) => this.events.emit('quality', quality),
      () => performance.now(),
    );
    this.#credentials = new Credentials(options.token, options.ticket);
    this.#connection = new Connection(url, options, this.#credentials, this);
    this.#refresher = new Refresher({
      refresh: () => this.refresh(),
      failed: (error) => this.#refreshFailed(error),
      endsAt: () => (this.#credentials.renewable ? this.#credentials.endsAt : undefined),
      random: options.random ?? Math.random,
    });
    this.publisher = new Publisher(this.#connection, options.publish);
    this.#requestTimeoutMs = options.requestTimeoutMs ?? DEFAULTS.requestTimeoutMs;
  }

  get state(): State {
    return this.#connection.state;
  }

  get open(): boolean {
    return this.#open;
  }

  /** What the next attempt would show; undefined: a token. */
  get ticket(): string | undefined {
    return this.#credentials.ticket;
  }

  get user(): string | undefined {
    return this.#user;
  }

  /** Of the newest connection; undefined before the first. */
  get session(): string | undefined {
    return this.#session;
  }

  close(): void {
    this.flushSeen();
    this.#connection.close();
  }

  // ConnectionOwner

  changed(state: State): void {
    if (state.name === 'waiting') {
      this.#attempts = state.attempt;
      if (SLOW === state.error.code) this.quality.slow();
      this.quality.lost(PLANNED.has(state.error.code));
      this.events.emit('error', state.error);
    }
    this.events.emit('state', state);
    if (state.name === 'closed') this.#shut(state.error);
  }

  opened(info: ServerInfoFrame): void {
    this.#user = info.user;
    this.#session = info.session;
    this.#sendBatched(
      [
        ...[...this.memberships.values()].map((membership) => membership.joinFrame()),
        ...this.#requests.lasting(),
      ],
      info,
    );
    this.#open = true;
    this.publisher.opened(info);
    this.#refresher.opened();
    this.quality.opened();
    const { session, resumed, last } = info;
    if (last?.code === CLOSE_CODES[SLOW].code) this.quality.slow();
    if (resumed) this.events.emit('resumed', { session, ...(last !== undefined && { last }) });
    // A listener may have closed.
    if (this.#lostAt === undefined || !this.#open) return;
    const downMs = performance.now() - this.#lostAt;
    this.#lostAt = undefined;
    this.events.emit('reconnect', { attempts: this.#attempts, downMs });
  }

  lost(dropPositions: boolean): void {
    this.#open = false;
    this.#lostAt = performance.now();
    this.#refresher.stop();
    this.publisher.detached();
    // Rooms first: a hole that was being filled is no loss, since the resume fills it.
    for (const membership of this.memberships.values()) membership.detached(dropPositions);
    this.#requests.detached();
  }

  latency(rttMs: number): void {
    this.latencyMs = rttMs;
    this.events.emit('latency', { rttMs });
    this.quality.roundTrip(rttMs);
  }

  silence(silent: boolean): void {
    this.quality.silence(silent);
  }

  received(frames: readonly ServerFrame[]): void {
    for (const frame of frames) this.#dispatch(frame);
    this.publisher.pump();
  }

  // MembershipHost

  request<Frame extends ClientFrame>(frame: Frame, answer: Answer): Frame {
    return this.#requests.register(frame, { ...answer, deadline: Number.POSITIVE_INFINITY, lasting: false });
  }

  seen(membership: Membership): void {
    this.#unseen.add(membership);
    this.#seenTimer ??= setTimeout(() => this.flushSeen(), SEEN_MS);
  }

  /** Rooms that are not joined yet say it again when they are. */
  flushSeen(): void {
    clearTimeout(this.#seenTimer);
    this.#seenTimer = undefined;
    const seen = [...this.#unseen].flatMap((membership) => membership.takeSeen());
    this.#unseen.clear();
    for (let at = 0; at < seen.length; at += SEEN_ROOMS) {
      const told = seen.slice(at, at + SEEN_ROOMS);
      const rooms = Object.fromEntries(told.map(([room, { seq }]) => [room, seq]));
      const epochs = Object.fromEntries(told.map(([room, { epoch }]) => [room, epoch]));
      this.send({ type: 'seen', rooms, epochs });
    }
  }

  slow(): void {
    this.quality.slow();
  }

  send(frame: ClientFrame): void {
    this.#connection.send(this.#connection.encode(frame));
  }

  forget(membership: Membership): void {
    if (this.memberships.get(membership.name) !== membership) return;
    this.memberships.delete(membership.name);
    this.#unseen.delete(membership);
  }

  publish(room: string, payload: unknown, options: PublishOptions = {}): Promise<Ack> {
    if (this.state.name === 'closed') return Promise.reject(this.#closedError());
    const sent = this.publisher.publish(room, payload, options, (msgId) => {
      if (options.echo === false) this.memberships.get(room)?.unechoed(msgId);
    });
    this.#sweep();
    return sent;
  }

  async history(room: string, query: HistoryQuery = {}): Promise<HistoryPage> {
    const page = (await this.ask({ type: 'history', room, ...query })) as HistoryPageFrame;
    const { epoch, events, more, truncated = false } = page;
    return { epoch, events, more, truncated };
  }

  /** Resolves with the new token's end in seconds since 1970. Rejects with what the token provider throws. */
  async refresh(): Promise<number | undefined> {
    const token = await this.#credentials.fresh();
    const frame = (await this.ask({ type: 'refresh', token })) as RefreshedFrame;
    this.#credentials.shown(token);
    this.#refresher.renewed();
    return frame.exp;
  }

  #refreshFailed(cause: unknown): void {
    // A request that the owner's close ends has not failed.
    if (this.state.name === 'closed') return;
    const known = cause instanceof CarillonError;
    const error = known ? cause : new CarillonError('token_failed', String(cause), { retry: true, cause });
    this.events.emit('error', error);
  }

  /** A request that outlives reconnects and refusals that pass, up to its deadline. */
  async ask(frame: ClientFrame): Promise<ServerFrame> {
    const deadline = performance.now() + this.#requestTimeoutMs;
    for (;;) {
      try {
        return await this.#askOnce(frame, deadline);
      } catch (error) {
        const waitMs = againAfterMs(error, deadline);
        if (waitMs === undefined) throw error;
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  #askOnce(frame: ClientFrame, deadline: number): Promise<ServerFrame> {
    return new Promise((resolve, reject) => {
      if (this.state.name === 'closed') return reject(this.#closedError());
      const answer = { done: resolve, failed: reject };
      const asked = this.#requests.register(frame, { ...answer, deadline, lasting: true });
      this.#sweep();
      if (this.#open) this.send(asked);
    });
  }

  #closedError(): CarillonError {
    const { state } = this;
    const error = state.name === 'closed' ? state.error : undefined;
    return error ?? new CarillonError('closed', 'the client was closed');
  }

  #shut(error: CarillonError | undefined): void {
    this.#open = false;
    this.#refresher.stop();
    this.quality.stop();
    clearInterval(this.#sweeper);
    clearTimeout(this.#seenTimer);
    const why = this.#closedError();
    for (const membership of [...this.memberships.values()]) membership.ended(error);
    this.publisher.rejectAll(why);
    this.#requests.rejectAll(why);
  }

  /** Joins and requests of a new connection, in as few messages as the server takes. */
  #sendBatched(frames: readonly ClientFrame[], info: ServerInfoFrame): void {
    const most = info.limits['batch'] ?? BATCH;
    let batch: ClientFrame[] = [];
    let bytes = 2;
    const flush = () => {
      const [only] = batch;
      if (only !== undefined)
        this.#connection.send(this.#connection.encode(batch.length === 1 ? only : batch));
      batch = [];
      bytes = 2;
    };
    for (const frame of frames) {
      const size = sizeOf(this.#connection.encode(frame), 0) + 1;
      if (batch.length >= most || bytes + size > info.maxFrame) flush();
      batch.push(frame);
      bytes += size;
    }
    flush();
  }

  #dispatch(frame: ServerFrame): void {
    switch (frame.type) {
      case 'event':
        if (DIRECT.has(frame.room)) return this.events.emit('message', frame);
        this.memberships.get(frame.room)?.receive(frame);
        return;
      case 'gap':
      case 'caught_up':
        this.memberships.get(frame.room)?.receive(frame);
        return;
      case 'ack':
        return this.#acked(frame);
      case 'error':
        return this.#failed(frame);
      case 'drain':
        return this.#connection.drain(frame);
      case 'ticket':
        return this.#credentials.keep(frame.ticket, frame.ticketTtl);
      default:
        return this.#answered(frame);
    }
  }

  /** Frames that answer a request or come without one. */
  #answered(frame: Exclude<ServerFrame, RoomFrame | AckFrame | ErrorFrame> | RoomFrame): void {
    if ('id' in frame && this.#requests.answered(frame)) return;
    if (frame.type === 'left' || frame.type === 'presence') this.memberships.get(frame.room)?.receive(frame);
  }

  #acked(ack: AckFrame): void {
    const frame = this.publisher.acked(ack);
    if (frame?.echo === false) this.memberships.get(ack.room)?.acked(ack);
  }

  #failed(frame: ErrorFrame): void {
    const error = errorOf(frame);
    if (frame.msgId !== undefined && this.publisher.failed(frame.msgId, error)) return;
    if (this.#requests.failed(frame.id, error)) return;
    this.events.emit('error', error);
  }

  /** Looks after deadlines as long as there are any. */
  #sweep(): void {
    this.#sweeper ??= setInterval(() => {
      const now = performance.now();
      this.publisher.expire(now);
      this.#requests.expire(now);
      if (this.publisher.pending + this.#requests.size > 0) return;
      clearInterval(this.#sweeper);
      this.#sweeper = undefined;
    }, SWEEP_MS);
  }
}

/** Milliseconds to wait before asking again; undefined: the error stands. */
function againAfterMs(error: unknown, deadline: number): number | undefined {
  if (!(error instanceof CarillonError) || !AGAIN.has(error.code)) return undefined;
  const waitMs = error.retryAfterMs ?? RETRY_MS;
  return performance.now() + waitMs < deadline ? waitMs : undefined;
}
