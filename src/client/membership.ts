import { ERROR_CODES } from '../protocol/codes.ts';
import type {
  AckFrame,
  CaughtUpFrame,
  ClientFrame,
  EventFrame,
  GapFrame,
  HistoryPageFrame,
  JoinedFrame,
  JoinFrame,
  LeftFrame,
  Position,
  PresenceUpdateFrame,
} from '../protocol/frames.ts';
import { Emitter } from './emitter.ts';
import { CarillonError } from './errors.ts';
import { Members, type PresenceChange } from './members.ts';
import { fetchMissed } from './missed.ts';
import { DEFAULTS, type JoinOptions, type PublishOptions } from './options.ts';
import type { EventQueue } from './queue.ts';
import type { Answer } from './requests.ts';
import {
  type Ack,
  type HistoryPage,
  type HistoryQuery,
  type Missed,
  Room,
  type RoomBacking,
  type RoomEvents,
  type RoomState,
} from './room.ts';
import { type Effect, type Gap, Sequencer } from './sequencer.ts';
import { type Consumed, EventStream } from './stream.ts';
import { TYPING_KEY, Typing } from './typing.ts';
import { WholeList } from './whole.ts';

export type RoomFrame = EventFrame | GapFrame | CaughtUpFrame | PresenceUpdateFrame | LeftFrame;

/** What a room asks of its client. */
export interface MembershipHost {
  readonly open: boolean;
  /** The user that the server knows this client as. */
  readonly user: string | undefined;
  publish(room: string, payload: unknown, options?: PublishOptions): Promise<Ack>;
  history(room: string, query?: HistoryQuery): Promise<HistoryPage>;
  /** Has something for `takeSeen`. */
  seen(membership: Membership): void;
  /** Sends now what waits to be told as seen. */
  flushSeen(): void;
  /** The server told that this client reads too slowly. */
  slow(): void;
  /** Registers a request of this connection and returns the frame with its id. */
  request<Frame extends ClientFrame>(frame: Frame, answer: Answer): Frame;
  send(frame: ClientFrame): void;
  forget(membership: Membership): void;
}

/** Milliseconds before a refused or ended join is tried again, where the server names no time. */
const REJOIN_MS = 1_000;
/** Own `echo: false` messages whose event may still come by a replay. */
const UNECHOED_MAX = 1_024;

/** The state behind a Room. */
export class Membership implements RoomBacking {
  readonly name: string;
  readonly room: Room;
  readonly #host: MembershipHost;
  readonly members = new Members();
  readonly typing: Typing;
  readonly #options: JoinOptions;
  readonly #events = new Emitter<RoomEvents>();
  readonly #stream: EventStream<EventFrame>;
  readonly #sequencer: Sequencer;
  readonly #whole: WholeList;
  readonly #unechoed = new Set<string>();
  #state: RoomState = 'joining';
  #joined: JoinedFrame | undefined;
  #everJoined = false;
  /** A caught_up that comes without a join to answer ends what a slow reader has missed. */
  #replayAsked = false;
  #seen: Position | undefined;
  #epoch: string | undefined;
  /** Events that had come before the epoch of now began: their positions mean nothing any more. */
  #beforeEpoch = 0;
  #ended: CarillonError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(name: string, options: JoinOptions, host: MembershipHost) {
    this.name = name;
    this.#host = host;
    this.room = new Room(this);
    this.#whole = new WholeList(name, host, (list) => {
      if (this.#state === 'joined' && list.members !== undefined) this.#listed(list);
    });
    this.#options = options;
    const { since, buffer = DEFAULTS.buffer } = options;
    this.#sequencer = new Sequencer(name, since !== undefined && 'epoch' in since ? since : undefined);
    this.typing = this.#typing();
    this.#stream = new EventStream({
      limit: buffer,
      emit: (event) => this.#events.emit('event', event),
      overflowed: (error) => this.#events.emit('error', error),
      consumed: (consumed) => {
        if (options.seen === 'auto') this.#seenTo(consumed);
      },
    });
  }

  get state(): RoomState {
    return this.#state;
  }

  get position() {
    return this.#sequencer.position;
  }

  on<Name extends keyof RoomEvents>(name: Name, listener: (value: RoomEvents[Name]) => void): () => void {
    const off = this.#events.on(name, listener);
    if (name !== 'event') return off;
    const unlisten = this.#stream.listened();
    return () => {
      off();
      unlisten();
    };
  }

  iterate(): EventQueue<EventFrame> {
    return this.#stream.iterate();
  }

  publish(payload: unknown, options?: PublishOptions): Promise<Ack> {
    return this.#host.publish(this.name, payload, options);
  }

  history(query?: HistoryQuery): Promise<HistoryPage> {
    return this.#host.history(this.name, query);
  }

  missed(gap: Gap): Promise<Missed> {
    return fetchMissed(gap, (query) => this.history(query));
  }

  seen(seq?: number): void {
    const { position } = this;
    if (seq !== undefined) this.#markSeen(seq);
    else if (this.#stream.idle && position !== undefined) this.#markSeen(position.seq);
    else this.#seenTo(this.#stream.handed);
  }

  /** What `seen` is to say of this room: nothing, or one entry. */
  takeSeen(): [room: string, seen: Position][] {
    const seen = this.#seen;
    if (seen === undefined || this.#joined === undefined) return [];
    this.#seen = undefined;
    // In another epoch the number would name events that nobody has seen.
    return seen.epoch === this.#joined.epoch ? [[this.name, seen]] : [];
  }

  whenJoined(): Promise<JoinedFrame> {
    return new Promise((resolve, reject) => {
      if (this.#joined !== undefined) return resolve(this.#joined);
      if (this.#state === 'left') return reject(this.#ended ?? leftError(this.name));
      const offs = [
        this.#events.on('joined', (frame) => settle(() => resolve(frame))),
        this.#events.on('left', ({ error }) => settle(() => reject(error ?? leftError(this.name)))),
      ];
      const settle = (how: () => void) => {
        for (const off of offs) off();
        how();
      };
    });
  }

  /** The frame that takes us in, or back in after the last position. */
  joinFrame(): JoinFrame {
    const { overflow, presence } = this.#options;
    const since = this.#sequencer.position ?? (this.#everJoined ? undefined : this.#options.since);
    this.#replayAsked = since !== undefined;
    const frame: JoinFrame = {
      type: 'join',
      room: this.name,
      ...(since !== undefined && { since }),
      ...(overflow !== undefined && { overflow }),
      ...(presence !== undefined && { presence }),
    };
    return this.#host.request(frame, {
      done: (answer) => this.#enter(answer as JoinedFrame),
      failed: (error) => this.#refused(error),
    });
  }

  receive(frame: RoomFrame): void {
    if (this.#state !== 'joined') return;
    switch (frame.type) {
      case 'event':
        return this.#run(this.#sequencer.event(frame));
      case 'gap':
        return this.#run(this.#sequencer.gap(frame));
      case 'caught_up':
        return this.#run(this.#sequencer.caughtUp(frame));
      case 'presence':
        return this.#present(frame);
      case 'left':
        return this.#expelled(frame);
    }
  }

  /** Before an `echo: false` message goes out: its event may come back by a replay. */
  unechoed(msgId: string): void {
    this.#unechoed.add(msgId);
    if (this.#unechoed.size <= UNECHOED_MAX) return;
    for (const oldest of this.#unechoed) {
      this.#unechoed.delete(oldest);
      break;
    }
  }

  acked(frame: AckFrame): void {
    if (this.#state !== 'joined') return;
    this.#run(this.#sequencer.acked(frame));
    // Otherwise an own message would count as unread.
    if (this.#options.seen === 'auto' && this.#stream.idle) this.seen();
  }

  /** The connection is lost; `joinFrame` is asked for on the next one. */
  detached(dropPosition: boolean): void {
    clearTimeout(this.#timer);
    this.#whole.cancel();
    this.#sequencer.detached();
    if (dropPosition) this.#sequencer.invalidated();
    if (this.#state === 'joined') this.#state = 'joining';
    this.#joined = undefined;
  }

  async leave(): Promise<void> {
    if (this.#state === 'left') return;
    const { open } = this.#host;
    this.#host.flushSeen();
    this.ended();
    if (!open) return;
    await new Promise<void>((resolve) => {
      const frame = { type: 'leave', room: this.name } as const;
      // not_joined, or a connection that is lost meanwhile: out is out.
      this.#host.send(this.#host.request(frame, { done: () => resolve(), failed: () => resolve() }));
    });
  }

  /** The membership is over for good. */
  ended(error?: CarillonError): void {
    if (this.#state === 'left') return;
    this.detached(false);
    this.#state = 'left';
    this.#ended = error;
    this.typing.ended();
    this.#host.forget(this);
    if (error !== undefined) this.#events.emit('error', error);
    this.#stream.end(error);
    this.#events.emit('left', error === undefined ? {} : { error });
  }

  #enter(frame: JoinedFrame): void {
    if (this.#state !== 'joining') return;
    this.#state = 'joined';
    this.#joined = frame;
    this.#everJoined = true;
    const effects = this.#sequencer.joined(frame);
    const { count, unread } = frame;
    if (unread !== undefined) this.#replayAsked = true;
    if (this.#epoch !== frame.epoch) this.#beforeEpoch = this.#stream.pushed;
    this.#epoch = frame.epoch;
    if (this.#seen !== undefined) this.#host.seen(this);
    if (count !== undefined) this.#listed(frame);
    this.#events.emit('joined', frame);
    this.#run(effects);
  }

  #refused(error: CarillonError): void {
    if (this.#state !== 'joining' || error.code === 'disconnected') return;
    if (!error.retry) return this.ended(error);
    this.#events.emit('error', error);
    this.#rejoinAfter(error.retryAfterMs ?? REJOIN_MS);
  }

  /** Taken out by the server: come back if it was for a reason that passes. */
  #expelled({ code, reason = '' }: LeftFrame): void {
    const error = new CarillonError(code ?? 'left', reason, {
      retry: code !== undefined && ERROR_CODES[code].retry,
    });
    if (!error.retry) return this.ended(error);
    this.detached(false);
    this.#events.emit('error', error);
    this.#rejoinAfter(0);
  }

  #rejoinAfter(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#host.open && this.#state === 'joining') this.#host.send(this.joinFrame());
    }, ms);
  }

  #listed({ members, count, mode, partial }: Omit<PresenceChange, 'joined' | 'left'>): void {
    this.#present({ members, count, mode, partial });
    // Who is missing may have left while we were away, or be on a node that had not told yet.
    if (partial && members !== undefined) this.#whole.ask();
  }

  #present(change: PresenceChange): void {
    const news = this.members.apply(change);
    const { all: members, count, mode } = this.members;
    for (const user of news.left) this.typing.gone(user);
    this.#events.emit('presence', { members, count, mode, ...news });
  }

  #run(effects: readonly Effect[]): void {
    for (const effect of effects) {
      // A listener may have left the room.
      if (this.#state !== 'joined') return;
      if (effect.type === 'deliver') this.#deliver(effect.event);
      else if (effect.type === 'gap') this.#gap(effect.gap);
      else if (effect.type === 'healed') this.#events.emit('healed', effect.healed);
      else if (effect.type === 'caughtUp') this.#caughtUp(effect.seq);
      else this.#fetch(effect.after);
    }
  }

  #typing(): Typing {
    const expireMs = () => this.#joined?.limits?.ephemeral?.expireMs ?? DEFAULTS.typingMs;
    return new Typing({
      joined: () => this.#state === 'joined',
      expireMs,
      user: () => this.#host.user,
      publish: (payload) => {
        const options = { ephemeral: true, key: TYPING_KEY, echo: false, timeoutMs: expireMs() };
        this.publish(payload, options).catch((error: CarillonError) => {
          // One that came too late, or was one too many, nobody misses.
          if (!error.retry && this.#state !== 'left') this.#events.emit('error', error);
        });
      },
    });
  }

  #gap(gap: Gap): void {
    if (gap.reason === 'backpressure') this.#host.slow();
    this.#events.emit('gap', gap);
  }

  #caughtUp(seq: number): void {
    const slow = !this.#replayAsked;
    this.#replayAsked = false;
    if (slow) this.#host.slow();
    this.#events.emit('caughtUp', { seq, slow });
  }

  #seenTo(consumed: Consumed<EventFrame> | undefined): void {
    const { number = 0, value } = consumed ?? {};
    if (number > this.#beforeEpoch && value?.seq !== undefined) this.#markSeen(value.seq);
  }

  #markSeen(seq: number): void {
    const epoch = this.position?.epoch;
    if (epoch === undefined || this.#state === 'left') return;
    const known = this.#seen?.epoch === epoch ? this.#seen.seq : 0;
    if (seq <= known) return;
    this.#seen = { epoch, seq };
    this.#host.seen(this);
  }

  #deliver(event: EventFrame): void {
    const { msgId } = event;
    // A replay knows nothing of the connection that asked for no echo.
    if (msgId !== undefined && event.from === this.#host.user && this.#unechoed.has(msgId)) return;
    if (!this.typing.heard(event)) this.#stream.push(event);
  }

  #fetch(after: number): void {
    const frame = { type: 'history', room: this.name, after } as const;
    const answer: Answer = {
      done: (page) => this.#run(this.#sequencer.page(after, page as HistoryPageFrame)),
      failed: (error) => {
        if (this.#state !== 'joined') return;
        this.#run(this.#sequencer.pageFailed(after));
        this.#events.emit('error', error);
      },
    };
    this.#host.send(this.#host.request(frame, answer));
  }
}

function leftError(room: string): CarillonError {
  return new CarillonError('left', `${room} was left`);
}
