import type { Encoding, Overflow, Since } from '../protocol/frames.ts';
import type { WebSocketConstructor } from './websocket.ts';

export type TokenSource = string | (() => string | Promise<string>);

export interface ReconnectOptions {
  /** Milliseconds: the base of the back-off. Default: what the server says, 500 before it has said anything. */
  readonly minMs?: number;
  /** Milliseconds: the longest wait. Default: what the server says, 15,000 before that. */
  readonly maxMs?: number;
  /** Milliseconds that a connection has to live before the back-off starts over. Default 10,000. */
  readonly stableMs?: number;
  /** Attempts without success before the client closes. Default: no limit. */
  readonly maxAttempts?: number;
}

export interface PublishQueueOptions {
  /** Messages waiting or on their way; a publish beyond that is rejected with `queue_full`. Default 10,000. */
  readonly queue?: number;
  /** Messages sent and not yet acked. Default 256. */
  readonly inFlight?: number;
  /** Bytes sent and not yet acked, so that a reconnect does not flood the server. Default 262,144. */
  readonly inFlightBytes?: number;
  /** Milliseconds from publish to ack, reconnects and retries included. Default 120,000; 5,000 if ephemeral. */
  readonly timeoutMs?: number;
}

export interface ConnectOptions {
  /**
   * A JWT, or what gives one. A function is asked before every attempt to connect that has no ticket to show, and
   * some time before the `exp` of its last token: `max(10 s, 10 %)` of what was left, with jitter.
   */
  readonly token: TokenSource;
  /** Default `json`; `msgpack` loads the package msgpackr. */
  readonly encoding?: Encoding;
  /** Default: the global WebSocket. Node before 22 has none: give the class of the package `ws`. */
  readonly webSocket?: WebSocketConstructor;
  readonly reconnect?: ReconnectOptions;
  readonly publish?: PublishQueueOptions;
  /** Milliseconds from an attempt to `server_info`. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /** Milliseconds between measurements of the round trip. Default, and at most: half the server's heartbeat. */
  readonly pingMs?: number;
  /** Milliseconds for history, presence and refresh, reconnects included. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** Jitter comes from here; default Math.random. */
  readonly random?: () => number;
}

export interface JoinOptions {
  /** Start after a position kept from before, or with the last n events. Default: what comes from now on. */
  readonly since?: Since;
  /** What the server does when this client reads too slowly. Default: the server's for this room. */
  readonly overflow?: Overflow;
  /** Keep `room.members` up to date. */
  readonly presence?: boolean;
  /** Events that may wait for a slow async iterator. Default 10,000. */
  readonly buffer?: number;
}

export interface PublishOptions {
  /** Default: a new one per message. The same again within the server's window is stored once. */
  readonly msgId?: string;
  /** Conflation key: a slow reader that joined with `latest` gets the newest event per key. */
  readonly key?: string;
  /** Delivered to who is there, never stored, no place in the room's order. */
  readonly ephemeral?: boolean;
  /** false: do not send the event back to this client. */
  readonly echo?: boolean;
  /** Milliseconds; overrides `publish.timeoutMs`. */
  readonly timeoutMs?: number;
}

export const DEFAULTS = {
  reconnectMinMs: 500,
  reconnectMaxMs: 15_000,
  stableMs: 10_000,
  connectTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  queue: 10_000,
  inFlight: 256,
  inFlightBytes: 256 * 1024,
  publishTimeoutMs: 120_000,
  ephemeralTimeoutMs: 5_000,
  buffer: 10_000,
} as const;
