/** What the domain needs from the world. Adapters implement these; the domain never imports an adapter. */
import type { ErrorCode } from '../protocol/codes.ts';
import type { GapReason, Position } from '../protocol/frames.ts';
import type { RoomEvent } from './event.ts';
import type { RefusalReason } from './limits/reasons.ts';
import type { RoomPolicy } from './settings.ts';
import type { Skip } from './socket.ts';

export type { Connection, Fanout, Peer, Skip } from './socket.ts';

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
}

/** Monotonic milliseconds with fractions, from any origin: what a turn of the loop has taken. */
export type Ticks = () => number;

/** Runs tasks once each after the I/O callbacks of this turn of the loop, outside every message handler. */
export type Defer = (task: () => void) => void;

/** Runs a task once after some milliseconds, outside every message handler. */
export type After = (ms: number, task: () => void) => void;

/** An expected failure, as a value. `code` is what the client receives. */
export interface Fault {
  readonly ok: false;
  readonly code: ErrorCode;
  readonly reason: string;
  readonly retryAfterMs?: number;
  readonly limit?: number;
  /** What of the limit is used. */
  readonly used?: number;
  /** Of a payload: the place that is wrong, as a JSON pointer. */
  readonly path?: string;
  /** Refused for a limit: what it is counted by. */
  readonly by?: RefusalReason;
}

// -------------------------------------------------------------------------------------------------- bus

/** A room of one tenant. `key` is unique over all tenants and is made by `roomKey` only. */
export interface RoomRef {
  readonly key: string;
  readonly tenant: string;
  readonly name: string;
  readonly policy: RoomPolicy;
}

export interface Publication {
  readonly room: RoomRef;
  /** The user, stamped by the server. */
  readonly from: string;
  /** The payload as JSON text, exactly as published; never parsed again on its way. */
  readonly payload: string;
  readonly msgId?: string | undefined;
  readonly key?: string | undefined;
  /** Delivered, never stored, outside the room's order. */
  readonly ephemeral: boolean;
  /** Of an ephemeral one: how long it holds, in milliseconds, as its event says. */
  readonly expireMs?: number | undefined;
  /** Set when the publisher does not want its own event: the event comes back to this node with it. */
  readonly skip?: Skip | undefined;
  /** Checked by `isTraceparent`; comes with the event. */
  readonly traceparent?: string | undefined;
}

export interface Accepted {
  readonly ok: true;
  readonly epoch: string;
  /** Absent for ephemeral publishes. */
  readonly seq?: number;
  readonly duplicate: boolean;
  /** msgIds of the tenant were forgotten within their window: this one may have been stored before. */
  readonly dedupe?: 'partial';
}

/**
 * `settle` runs exactly once, at once or later. In a room that this node feeds, the event reaches the sink
 * before `settle` runs with `ok: true`.
 */
export type Settle = (outcome: Accepted | Fault) => void;

/** Receives one room's events, in the room's one order, each once. */
export interface RoomSink {
  /** The feed runs: the next event has `prev === position.seq`. Also called again after an epoch change. */
  opened(position: Position): void;
  /** The feed could not be opened; the sink is closed. */
  failed(fault: Fault): void;
  event(event: RoomEvent): void;
  /** Events of (from, to] are lost to this node for good; the feed goes on after `to`. */
  gap(from: number, to: number, reason: GapReason): void;
}

export interface ReplayPage {
  readonly ok: true;
  readonly epoch: string;
  /** full: nothing missed or all of it follows; partial: `gap` names what is gone; none: other epoch. */
  readonly recovered: 'full' | 'partial' | 'none';
  readonly gap?: { readonly from: number; readonly to: number; readonly reason: GapReason };
  /** In order, at most the page asked for. */
  readonly events: readonly RoomEvent[];
  /** Events after those of this page, up to the feed's position. 0: with this page the caller is at the head. */
  readonly remaining: number;
}

export type ReplaySince = { readonly epoch: string; readonly seq: number } | { readonly last: number };

export interface HistoryQuery {
  /** Exclusive bounds; with neither, the newest `limit` events. */
  readonly before?: number | undefined;
  readonly after?: number | undefined;
  readonly limit: number;
  readonly maxBytes: number;
}

export interface HistoryPage {
  readonly ok: true;
  readonly epoch: string;
  /** Ascending. */
  readonly events: readonly RoomEvent[];
  readonly more: boolean;
  /** Retention has removed events of the asked range. */
  readonly truncated: boolean;
}

/** What each user has seen of rooms that keep it, on any node and any device. */
export interface Cursors {
  /**
   * `done` runs before this returns where memory holds the answer. It may be older than the last `put` of another
   * node, never one that nobody has put.
   */
  get(room: RoomRef, user: string, done: (cursor: Position | undefined | Fault) => void): void;
  /**
   * Stored soon, not at once: a crash may take back the last moment. Positions only grow within an epoch; one of the
   * room's present epoch replaces any of another. The fault, where it cannot be taken.
   */
  put(room: RoomRef, user: string, cursor: Position): Fault | undefined;
  /** The user leaves: whatever of it is not stored yet is, as soon as it can be. */
  flush(room: RoomRef, user: string): void;
}

/**
 * Takes publishes, gives every accepted event to each node that feeds the room, keeps history.
 * test/contract/bus.ts holds every implementation to the same promises.
 */
export interface Bus {
  readonly kind: 'embedded' | 'nats';
  start(): Promise<void>;
  /** Finishes what was accepted, refuses the rest as `unavailable`; resolves when done or after `ms`. */
  drain(ms: number): Promise<void>;
  close(): Promise<void>;

  /** Starts the room's feed into `sink`; one sink per room and node. `opened` may run before this returns. */
  open(room: RoomRef, sink: RoomSink): void;
  /** Ends the feed. The bus may keep the room warm for a while. */
  shut(room: RoomRef): void;

  publish(publication: Publication, settle: Settle): void;

  /**
   * Events after a position, up to the feed's position as `done` runs; the room is open. `done` runs before this
   * returns whenever memory holds the answer; then and only then `remaining: 0` means that nothing is missing up to
   * the last `RoomSink.event`.
   */
  replay(
    room: RoomRef,
    since: ReplaySince,
    page: { readonly count: number; readonly maxBytes: number },
    done: (result: ReplayPage | Fault) => void,
  ): void;
  /** Any room, open here or not. `done` may run before this returns. */
  history(room: RoomRef, query: HistoryQuery, done: (result: HistoryPage | Fault) => void): void;

  /** Whether the room has a history here: its policy asks for one, and the bus can keep it. */
  keeps(room: RoomRef): boolean;

  health(): BusHealth;
}

export interface BusHealth {
  readonly state: 'up' | 'degraded' | 'down';
  /** One word or a short sentence for people; empty when up. */
  readonly detail: string;
  /** Gauges by a closed set of names, for the metrics: `history_events`, `history_bytes`, `rooms`, … */
  readonly figures: Readonly<Record<string, number>>;
  /** Of each stream that the durable rooms are spread over, by its number; absent: there are none. */
  readonly shards?: readonly ShardHealth[] | undefined;
}

export interface ShardHealth {
  /** Publishes without an answer. */
  readonly unanswered: number;
  /** Of the oldest that could not be sent yet. */
  readonly lagMs: number;
}

// ------------------------------------------------------------------------------------------------- auth

export const ACTIONS = ['join', 'pub', 'presence', 'history'] as const;
export type Action = (typeof ACTIONS)[number];

export interface RoomGrant {
  readonly match: string;
  readonly allow: readonly Action[];
}

/** `api`: the server API, for backends; `admin`: the admin API. */
export const SCOPES = ['api', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** What a tenant may be called: in claims, in the settings, in the APIs. */
export const TENANT_NAME = /^[A-Za-z0-9_.-]{1,64}$/;

/** Who a verified credential says the client is. */
export interface Identity {
  readonly user: string;
  readonly tenant: string;
  /** Seconds since 1970; absent only where the config allows tokens without it. */
  readonly exp?: number;
  /** Seconds since 1970. Absent: the credential does not say, and counts as older than any revocation. */
  readonly issuedAt?: number;
  /** Access by room pattern: the `rooms` claim, or the configured default. */
  readonly rooms: readonly RoomGrant[];
  readonly info?: Readonly<Record<string, unknown>>;
  /** What it may be used for beside connecting, as far as its issuer may grant that. */
  readonly scopes?: readonly Scope[];
  /** What the credential asks for and its issuer may not grant. */
  readonly withheld?: readonly Scope[];
  /** The tenants that its issuer is restricted to, in every scope; absent: any. */
  readonly tenants?: readonly string[];
  readonly tokenId?: string;
}

export type Verdict =
  | { readonly ok: true; readonly identity: Identity }
  | {
      readonly ok: false;
      /** `unavailable`: nobody can say now, since keys or the webhook cannot be reached; the client comes back. */
      readonly code: 'unauthorized' | 'token_expired' | 'forbidden' | 'unavailable';
      readonly reason: string;
      readonly retryAfterMs?: number;
    };

export interface TokenVerifier {
  /** The verdict on a token seen before, in the same turn; undefined: `verify` has to decide. */
  known(token: string): Verdict | undefined;
  /** Never rejects for a bad token; rejects only when the verifier itself is broken. */
  verify(token: string): Promise<Verdict>;
}

/** The place in a session's life that a ticket was made for: `generation` counts its connections. */
export interface Resumption {
  readonly session: string;
  readonly generation: number;
}

export type TicketVerdict =
  | { readonly ok: true; readonly identity: Identity; readonly resumes: Resumption }
  | Extract<Verdict, { ok: false }>;

/** Makes and opens the tickets that continue a session without its token. */
export interface Tickets {
  readonly ttlSeconds: number;
  /** undefined when it would be too long for a request header. */
  issue(identity: Identity, resumption: Resumption): string | undefined;
  open(ticket: string): TicketVerdict;
}

// ------------------------------------------------------------------------------------------- operations

/** From the least to the most that is logged, and nothing at all. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** The part of a logger that the domain uses; fields first, as pino has it. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
