import type { State } from './connection.ts';
import type { CarillonError } from './errors.ts';

export interface ClientEvents {
  state: State;
  /** Open again after a loss; the rooms are on their way back. */
  reconnect: { readonly attempts: number; readonly downMs: number };
  /** A round trip, in milliseconds. */
  latency: { readonly rttMs: number };
  /** Failures that are nobody's answer: of attempts to connect, or told by the server without a request. */
  error: CarillonError;
}
