import type {
  EventFrame,
  JoinedFrame,
  Member,
  Position,
  PresenceMode,
  PublishWarning,
} from '../protocol/frames.ts';
import type { CarillonError } from './errors.ts';
import type { Presence } from './members.ts';
import type { PublishOptions } from './options.ts';
import { Roster, type RosterOptions } from './roster.ts';
import type { Gap, Healed } from './sequencer.ts';
import type { Typing } from './typing.ts';

/** One event of a room. `seq` and `prev` are absent on ephemeral ones. */
export type RoomEvent<Payload = unknown> = Omit<EventFrame, 'payload'> & { readonly payload: Payload };

export interface Ack {
  readonly room: string;
  readonly msgId: string;
  /** Absent for ephemeral publishes. */
  readonly seq?: number;
  readonly epoch?: string;
  /** The message had been stored before; `seq` is the place of the first. */
  readonly duplicate: boolean;
  /** Too many msgIds came within the window: the message may have been stored before. */
  readonly dedupe?: 'partial';
  /** It does not fit the room's schema, and will be refused once that is enforced. */
  readonly warning?: PublishWarning;
}

export interface HistoryQuery {
  /** Exclusive; give one of the two or none, which asks for the newest. */
  readonly before?: number;
  readonly after?: number;
  readonly limit?: number;
}

export interface HistoryPage<Payload = unknown> {
  readonly epoch: string;
  /** Ascending. */
  readonly events: readonly RoomEvent<Payload>[];
  readonly more: boolean;
  /** Retention has removed events of the asked range. */
  readonly truncated: boolean;
}

export interface Missed<Payload = unknown> {
  /** Ascending. */
  readonly events: readonly RoomEvent<Payload>[];
  /** Whether `events` is all of the gap: the chain of `prev` has no break from its one end to the other. */
  readonly complete: boolean;
}

export interface Left {
  /** Absent: asked for by `leave()` or by closing the client. */
  readonly error?: CarillonError;
}

export interface RoomEvents<Payload = unknown> {
  event: RoomEvent<Payload>;
  gap: Gap;
  healed: Healed;
  /** A replay is over; what comes from here on is live. `slow`: it was for what this client did not read in time. */
  caughtUp: { readonly seq: number; readonly slow: boolean };
  presence: Presence;
  /** After each join, the ones after a reconnect too. */
  joined: JoinedFrame;
  left: Left;
  /** Failures that do not end the membership, and the one that does. */
  error: CarillonError;
}

export type RoomState = 'joining' | 'joined' | 'left';

/** What stands behind a Room. */
export interface RoomBacking {
  readonly name: string;
  readonly state: RoomState;
  readonly position: Position | undefined;
  readonly members: {
    readonly all: ReadonlyMap<string, Member>;
    readonly count: number;
    readonly mode: PresenceMode;
  };
  readonly typing: Typing;
  on<Name extends keyof RoomEvents>(name: Name, listener: (value: RoomEvents[Name]) => void): () => void;
  iterate(): AsyncIterator<EventFrame, undefined>;
  whenJoined(): Promise<JoinedFrame>;
  publish(payload: unknown, options?: PublishOptions): Promise<Ack>;
  history(query?: HistoryQuery): Promise<HistoryPage>;
  missed(gap: Gap): Promise<Missed>;
  seen(seq?: number): void;
  leave(): Promise<void>;
}

/**
 * A room that this client is in. It stays so over reconnects: every event of a durable room comes once, in
 * order, or a `gap` says what is missing. Read it by `for await (const event of room)` or by `room.on('event')`.
 */
export class Room<Payload = unknown> implements AsyncIterable<RoomEvent<Payload>, undefined> {
  readonly name: string;
  readonly #backing: RoomBacking;

  /** Made by `client.join`. */
  constructor(backing: RoomBacking) {
    this.name = backing.name;
    this.#backing = backing;
  }

  get state(): RoomState {
    return this.#backing.state;
  }

  /** The last position delivered; keep it to go on from here in another session by `join(room, { since })`. */
  get position(): Position | undefined {
    return this.#backing.position;
  }

  /** By user; kept up to date if joined with `presence: true`. */
  get members(): ReadonlyMap<string, Member> {
    return this.#backing.members.all;
  }

  /** How many members there are, also where the server only counts. */
  get count(): number {
    return this.#backing.members.count;
  }

  /** What `members` is: `full`, all; `delta`, those known since our join; `count`, nobody. */
  get mode(): PresenceMode {
    return this.#backing.members.mode;
  }

  /** A sorted list of the members that keeps itself up to date, if joined with `presence: true`. */
  roster(options?: RosterOptions): Roster {
    return new Roster(this, options);
  }

  /** Who is typing, and telling the others that we are; always the same object. */
  typing(): Typing {
    return this.#backing.typing;
  }

  /** Returns what takes the listener off again. */
  on<Name extends keyof RoomEvents>(
    name: Name,
    listener: (value: RoomEvents<Payload>[Name]) => void,
  ): () => void {
    return this.#backing.on(name, listener as (value: RoomEvents[Name]) => void);
  }

  /**
   * Events from now on; the first iterator also has what came before it. Ends when the room is left, throws a
   * CarillonError when the server ended it, or when more than `buffer` events wait to be read.
   */
  [Symbol.asyncIterator](): AsyncIterator<RoomEvent<Payload>, undefined> {
    return this.#backing.iterate() as AsyncIterator<RoomEvent<Payload>, undefined>;
  }

  /** Resolves when the server has taken us in, at once if it has. Rejects with the error that ends it. */
  whenJoined(): Promise<JoinedFrame> {
    return this.#backing.whenJoined();
  }

  /** As `client.publish`. */
  publish(payload: Payload, options?: PublishOptions): Promise<Ack> {
    return this.#backing.publish(payload, options);
  }

  /** As `client.history`. */
  history(query?: HistoryQuery): Promise<HistoryPage<Payload>> {
    return this.#backing.history(query) as Promise<HistoryPage<Payload>>;
  }

  /**
   * The events of a gap, as far as the history still has them: for a reader that needs what it was too slow for.
   * They are returned, not delivered. Needs the right to `history`; rejects as that does.
   */
  missed(gap: Gap): Promise<Missed<Payload>> {
    return this.#backing.missed(gap) as Promise<Missed<Payload>>;
  }

  /**
   * Tells the server that this user has done with everything up to `seq`; by default, with what listeners and
   * iterators were given so far, not with what still waits for them. In rooms that keep a cursor, a later join
   * without `since` begins there. Cumulative, and sent in the background within 0.1 s or with `leave` or `close`.
   */
  seen(seq?: number): void {
    this.#backing.seen(seq);
  }

  /** Resolves when the server has confirmed it, or at once without a connection. */
  leave(): Promise<void> {
    return this.#backing.leave();
  }
}
