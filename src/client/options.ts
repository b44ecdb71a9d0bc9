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

/** When `quality` says `weak`; all in milliseconds. */
export interface QualityOptions {
  /** Two round trips in a row that take so long. Default 1,000: what people notice in a conversation. */
  readonly weakRttMs?: number;
  /** A round trip within this ends `latency`; at most `weakRttMs`. Default 500. */
  readonly healthyRttMs?: number;
  /** From a ping to `silence`. Default 5,000: TCP repeats a lost segment several times in that. */
  readonly silenceMs?: number;
  /** How long `lost` and `slow` stay after the fact, so that nothing flickers. Default 10,000. */
  readonly holdMs?: number;
}

export interface ConnectOptions {
  /**
   * A JWT, or what gives one. A function is asked before every attempt to connect that has no ticket to show, and
   * some time before the `exp` of its last token: `max(10 s, 10 %)` of what was left, with jitter.
   */
  readonly token: TokenSource;
  /**
   * `client.ticket` of a page that is gone, to continue its session. Shown at the first attempt; when that fails,
   * the next one shows a token, and so on in turn.
   */
  readonly ticket?: string;
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
  readonly quality?: QualityOptions;
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
  /**
   * `auto`: tell the server that an event is seen once it has been consumed: when the listeners have returned, or
   * the slowest iterator asks for the next. Default `manual`: by `room.seen()` alone.
   */
  readonly seen?: 'auto' | 'manual';
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
  /** W3C Trace Context, version 00: the publisher's span. Events carry one for the receiver's span to follow. */
  readonly traceparent?: string;
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
  weakRttMs: 1_000,
  healthyRttMs: 500,
  silenceMs: 5_000,
  holdMs: 10_000,
  /** In rooms that do not say how long a signal holds. */
  typingMs: 6_000,
} as const;
