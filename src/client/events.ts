import type { ServerInfoFrame } from '../protocol/frames.ts';
import type { State } from './connection.ts';
import type { CarillonError } from './errors.ts';
import type { Quality } from './quality.ts';
import type { RoomEvent } from './room.ts';

/** How the server saw the previous connection of a session end. */
export type Ending = NonNullable<ServerInfoFrame['last']>;

export interface ClientEvents {
  state: State;
  /** Open again after a loss; the rooms are on their way back. */
  reconnect: { readonly attempts: number; readonly downMs: number };
  /**
   * The server took the ticket: this connection continues the session. `last` is how it saw the one before end,
   * perhaps by a close that never arrived; absent when that one was at another node. Comes before `reconnect`.
   */
  resumed: { readonly session: string; readonly last?: Ending };
  /** A round trip, in milliseconds. */
  latency: { readonly rttMs: number };
  /**
   * Of a backend to this connection (`room` is `@!`) or to all of the tenant (`@*`), by `POST /api/v1/broadcast`: at most
   * once, and lost where there is no connection.
   */
  message: RoomEvent;
  /** Whenever the causes of a weak connection change. */
  quality: Quality;
  /** Failures that are nobody's answer: of attempts to connect, or told by the server without a request. */
  error: CarillonError;
}
