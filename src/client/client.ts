import type { Member, PresenceUpdateFrame, ServerInfoFrame } from '../protocol/frames.ts';
import { isRoomName } from '../protocol/room.ts';
import type { State } from './connection.ts';
import { Core } from './core.ts';
import { CarillonError } from './errors.ts';
import type { ClientEvents } from './events.ts';
import { Membership } from './membership.ts';
import type { ConnectOptions, JoinOptions, PublishOptions } from './options.ts';
import type { Quality } from './quality.ts';
import type { Ack, HistoryPage, HistoryQuery, Room } from './room.ts';

export interface PresenceList {
  readonly members: readonly Member[];
  readonly count: number;
}

/**
 * Connects, and keeps connected until `close()` or until the server says stop. Returns at once; what is asked
 * before the connection is open waits for it. Throws where no WebSocket class or no valid address is given.
 */
export function connect(url: string, options: ConnectOptions): Client {
  return new Client(url, options);
}

/** A connection to a broker that comes back by itself. */
export class Client {
  readonly #core: Core;

  constructor(url: string, options: ConnectOptions) {
    this.#core = new Core(url, options);
  }

  get state(): State {
    return this.#core.state;
  }

  /** What the server said of itself and of us; undefined unless open. */
  get info(): ServerInfoFrame | undefined {
    const { state } = this.#core;
    return state.name === 'open' ? state.info : undefined;
  }

  /**
   * The session's id at the server, undefined before the first connection. A reconnect within the life of the
   * server's ticket keeps it; any other begins a new session.
   */
  get session(): string | undefined {
    return this.#core.session;
  }

  /** The last round trip in milliseconds. */
  get latencyMs(): number | undefined {
    return this.#core.latencyMs;
  }

  /** How well the connection serves; `on('quality')` tells when it changes. */
  get quality(): Quality {
    return this.#core.quality.quality;
  }

  /**
   * What continues this session in another client, for `connect(url, { ticket })`: a page keeps it in `pagehide`,
   * so that a reload is no new session. Good once and for minutes, a secret as long as that. undefined: there is none.
   */
  get ticket(): string | undefined {
    return this.#core.ticket;
  }

  /** Publishes that have no ack yet. */
  get pending(): number {
    return this.#core.publisher.pending;
  }

  /** Returns what takes the listener off again. */
  on<Name extends keyof ClientEvents>(name: Name, listener: (value: ClientEvents[Name]) => void): () => void {
    return this.#core.events.on(name, listener);
  }

  /** Resolves when open, at once if it is. Rejects when the client closes before that. */
  whenOpen(): Promise<ServerInfoFrame> {
    return new Promise((resolve, reject) => {
      const settled = (state: State): boolean => {
        if (state.name === 'open') resolve(state.info);
        else if (state.name === 'closed') reject(state.error ?? closedError());
        else return false;
        return true;
      };
      if (settled(this.state)) return;
      const off = this.on('state', (state) => {
        if (settled(state)) off();
      });
    });
  }

  /**
   * Joins a room and stays in it over reconnects. A client is in a room once: a second join gives the Room that
   * there is, and its options count for nothing. Throws for a name that no room can have, or a closed client.
   */
  join<Payload = unknown>(room: string, options: JoinOptions = {}): Room<Payload> {
    if (!isRoomName(room)) throw new TypeError(`carillon: ${JSON.stringify(room)} is not a room name`);
    if (this.state.name === 'closed') throw closedError();
    const known = this.#core.memberships.get(room);
    if (known !== undefined) return known.room as Room<Payload>;
    const membership = new Membership(room, options, this.#core);
    this.#core.memberships.set(room, membership);
    if (this.#core.open) this.#core.send(membership.joinFrame());
    return membership.room as Room<Payload>;
  }

  /**
   * Resolves when the bus has accepted the message, and for a durable room has stored it. Over reconnects and
   * passing refusals it is sent again with the same msgId until then. Rejects with a CarillonError: the server's
   * code, or `queue_full`, `timeout`, `closed`.
   */
  publish(room: string, payload: unknown, options?: PublishOptions): Promise<Ack> {
    return this.#core.publish(room, payload, options);
  }

  /** A page of stored events; the newest without `before` or `after`. */
  history(room: string, query?: HistoryQuery): Promise<HistoryPage> {
    return this.#core.history(room, query);
  }

  /** Who is in a room, joined by us or not. */
  async presence(room: string): Promise<PresenceList> {
    const frame = (await this.#core.ask({ type: 'presence', room })) as PresenceUpdateFrame;
    return { members: frame.members ?? [], count: frame.count };
  }

  /** Which of these users (1 to 100) are in the room, however large it is. */
  async present(room: string, users: readonly string[]): Promise<readonly string[]> {
    const frame = (await this.#core.ask({ type: 'presence', room, users })) as PresenceUpdateFrame;
    return frame.users ?? [];
  }

  /**
   * Asks the token provider for a new token and gives it to the server, so that the connection outlives the old
   * one. Resolves with its end in seconds since 1970, if it has one. With a provider function and a JWT that says
   * its `exp` this happens by itself, in good time; call it when the user's rights have changed.
   */
  refresh(): Promise<number | undefined> {
    return this.#core.refresh();
  }

  /** Resolves when every publish so far is settled, one way or the other. */
  flush(): Promise<void> {
    return this.#core.publisher.flush();
  }

  /** Ends the connection and all rooms for good; publishes without an ack are rejected with `closed`. */
  close(): void {
    this.#core.close();
  }
}

function closedError(): CarillonError {
  return new CarillonError('closed', 'the client was closed');
}
