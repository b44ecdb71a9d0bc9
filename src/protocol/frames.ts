/** The frames of chat.v1 as types (docs/protocol.md, sections 3 and 4). Field names are the wire's. */
import type { ErrorCode } from './codes.ts';

export type Encoding = 'json' | 'msgpack';

export const SUBPROTOCOLS = { 'chat.v1': 'json', 'chat.v1.msgpack': 'msgpack' } as const satisfies Record<
  string,
  Encoding
>;
export type Subprotocol = keyof typeof SUBPROTOCOLS;

/** A string of at most 64 characters or a uint32; the answer carries the same. */
export type RequestId = string | number;

/** A place in a room: `seq` grows, not by one; it means something within one `epoch` only. */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

export type Since = Position | { readonly last: number };

export const OVERFLOWS = ['backfill', 'latest', 'skip', 'close'] as const;
export type Overflow = (typeof OVERFLOWS)[number];

export interface JoinFrame {
  readonly type: 'join';
  readonly room: string;
  readonly id?: RequestId;
  readonly since?: Since;
  readonly overflow?: Overflow;
  readonly presence?: boolean;
}

export interface LeaveFrame {
  readonly type: 'leave';
  readonly room: string;
  readonly id?: RequestId;
}

export interface PubFrame {
  readonly type: 'pub';
  readonly room: string;
  readonly payload: unknown;
  readonly id?: RequestId;
  readonly msgId?: string;
  readonly key?: string;
  readonly ephemeral?: boolean;
  readonly echo?: boolean;
  /** W3C Trace Context, version 00. */
  readonly traceparent?: string;
}

/** What the client has done with, per room: everything up to the position. */
export interface SeenFrame {
  readonly type: 'seen';
  readonly rooms: Readonly<Record<string, number>>;
  /** By room name: what the position is of. A server that has another epoch now takes no notice of it. */
  readonly epochs?: Readonly<Record<string, string>>;
  readonly id?: RequestId;
}

export interface HistoryFrame {
  readonly type: 'history';
  readonly room: string;
  readonly id?: RequestId;
  readonly before?: number;
  readonly after?: number;
  readonly limit?: number;
}

export interface PresenceFrame {
  readonly type: 'presence';
  readonly room: string;
  readonly id?: RequestId;
  /** Which of these are there? */
  readonly users?: readonly string[];
}

export interface RefreshFrame {
  readonly type: 'refresh';
  readonly token: string;
  readonly id?: RequestId;
}

export interface PingFrame {
  readonly type: 'ping';
  readonly ts?: unknown;
  readonly id?: RequestId;
}

export type ClientFrame =
  | JoinFrame
  | LeaveFrame
  | PubFrame
  | SeenFrame
  | HistoryFrame
  | PresenceFrame
  | RefreshFrame
  | PingFrame;

export interface ServerInfoFrame {
  readonly type: 'server_info';
  readonly serverId: string;
  readonly region: string;
  /** Bytes: the longest frame that a client may send. */
  readonly maxFrame: number;
  /** Seconds between the server's pings; hearing nothing for twice as long means that the server is gone. */
  readonly heartbeat: number;
  readonly version: string;
  readonly session: string;
  readonly resumed: boolean;
  readonly user: string;
  readonly tenant: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  readonly reconnect: { readonly minMs: number; readonly maxMs: number };
  readonly ticket?: string;
  /** Seconds. */
  readonly ticketTtl?: number;
  readonly last?: { readonly code: number; readonly reason: string; readonly at: number };
}

export type Recovered = 'fresh' | 'full' | 'partial' | 'none';

export const PRESENCE_MODES = ['full', 'delta', 'count'] as const;
/** full: the members, then every change; delta: changes without the list; count: how many there are. */
export type PresenceMode = (typeof PRESENCE_MODES)[number];

export interface Member {
  readonly user: string;
  readonly info?: Readonly<Record<string, unknown>>;
  readonly connections: number;
}

export interface JoinedFrame {
  readonly type: 'joined';
  readonly room: string;
  readonly id?: RequestId;
  readonly epoch: string;
  readonly seq: number;
  readonly durable: boolean;
  readonly recovered: Recovered;
  /** How many events up to `seq` follow as replay. */
  readonly replay: number;
  /** In a room with a stored cursor: how many events lie after it. */
  readonly unread?: number;
  /** With `presence: true`: how much is told of who is in the room. */
  readonly mode?: PresenceMode;
  readonly members?: readonly Member[];
  readonly count?: number;
  /** Not every node has told yet who is there: `presence` frames bring the rest. */
  readonly partial?: true;
  /** Of the room, for people. */
  readonly description?: string;
  readonly limits?: RoomLimits;
}

export interface RoomLimits {
  /** Members on all nodes together. */
  readonly capacity?: number;
  /** Of ephemeral events with a key: how many of one user and key go out per second, and how long one holds. */
  readonly ephemeral?: { readonly perSecond: number; readonly expireMs: number };
}

export interface CaughtUpFrame {
  readonly type: 'caught_up';
  readonly room: string;
  readonly seq: number;
}

export interface LeftFrame {
  readonly type: 'left';
  readonly room: string;
  readonly id?: RequestId;
  readonly code?: ErrorCode;
  readonly reason?: string;
}

export interface AckFrame {
  readonly type: 'ack';
  readonly room: string;
  readonly msgId?: string;
  readonly id?: RequestId;
  readonly seq?: number;
  readonly epoch?: string;
  readonly duplicate?: boolean;
  readonly dedupe?: 'partial';
  /** Accepted all the same: the room's schema is not enforced yet. */
  readonly warning?: PublishWarning;
}

export interface PublishWarning {
  readonly code: ErrorCode;
  readonly reason: string;
  /** A JSON pointer into the payload. */
  readonly path: string;
}

export interface EventFrame {
  readonly type: 'event';
  readonly room: string;
  readonly payload: unknown;
  /** Absent, with `prev`, on ephemeral events: they have no place in the room's order. */
  readonly seq?: number;
  readonly prev?: number;
  /** Milliseconds since 1970, by the clock of the node that took the publish. */
  readonly ts: number;
  readonly from: string;
  readonly msgId?: string;
  readonly key?: string;
  readonly ephemeral?: true;
  /** It means nothing any more so many milliseconds after it came. */
  readonly expireMs?: number;
  /** The span that the publish went on with, for a receiver's own to follow. */
  readonly traceparent?: string;
}

export const GAP_REASONS = ['backpressure', 'bus', 'retention', 'epoch', 'encoding'] as const;
export type GapReason = (typeof GAP_REASONS)[number];
export type GapAction = 'backfill' | 'latest' | 'skip' | 'rejoin';

export interface GapFrame {
  readonly type: 'gap';
  readonly room: string;
  /** Exclusive: the last position before the hole. */
  readonly from: number;
  /** Inclusive: the last position in the hole. */
  readonly to: number;
  readonly reason: GapReason;
  readonly action: GapAction;
}

export interface PresenceUpdateFrame {
  readonly type: 'presence';
  readonly room: string;
  readonly id?: RequestId;
  readonly mode: PresenceMode;
  readonly members?: readonly Member[];
  readonly joined?: readonly Member[];
  readonly left?: readonly string[];
  /** Of the users that were asked for, those who are there. */
  readonly users?: readonly string[];
  readonly count: number;
  /** As in `joined`. */
  readonly partial?: true;
}

export interface HistoryPageFrame {
  readonly type: 'history';
  readonly room: string;
  readonly id?: RequestId;
  readonly epoch: string;
  readonly events: readonly EventFrame[];
  readonly more: boolean;
  /** Present when retention has removed events from the asked range. */
  readonly truncated?: true;
}

export interface RefreshedFrame {
  readonly type: 'refreshed';
  readonly id?: RequestId;
  /** Seconds since 1970. */
  readonly exp?: number;
}

export interface DrainFrame {
  readonly type: 'drain';
  readonly reason: string;
  readonly retryAfterMs: number;
  readonly ticket?: string;
}

/** A newer ticket than the one in `server_info`, sent before that one expires. */
export interface TicketFrame {
  readonly type: 'ticket';
  readonly ticket: string;
  /** Seconds. */
  readonly ticketTtl: number;
}

export interface PongFrame {
  readonly type: 'pong';
  readonly ts?: unknown;
  readonly id?: RequestId;
  readonly now: number;
}

export interface ErrorFrame {
  readonly type: 'error';
  readonly code: ErrorCode;
  readonly reason: string;
  readonly retry: boolean;
  readonly id?: RequestId;
  readonly msgId?: string;
  readonly room?: string;
  readonly retryAfterMs?: number;
  readonly limit?: number;
  /** What of the limit is used. */
  readonly used?: number;
  /** The place in the payload that is wrong, as a JSON pointer. */
  readonly path?: string;
}

export type ServerFrame =
  | ServerInfoFrame
  | JoinedFrame
  | CaughtUpFrame
  | LeftFrame
  | AckFrame
  | EventFrame
  | GapFrame
  | PresenceUpdateFrame
  | HistoryPageFrame
  | RefreshedFrame
  | DrainFrame
  | TicketFrame
  | PongFrame
  | ErrorFrame;
