/**
 * The settings that the domain obeys, as config.ts hands them over: parsed, checked, frozen.
 * Units stand in the names: Bytes, Ms; what has none is a count. config/carillon.yaml says why each value is what it is.
 */
import type { Overflow } from '../protocol/frames.ts';
import type { RoomMatcher } from '../protocol/room.ts';
import type { Rate } from './limits/bucket.ts';
import type { PayloadSchema, SchemaLimits } from './schema/schema.ts';

export interface HistoryPolicy {
  readonly count: number;
  readonly bytes: number;
  readonly ageMs: number;
}

/** Of ephemeral events with a key: they stand for a state, such as who is typing, of which the newest counts. */
export interface EphemeralPolicy {
  /** Delivered of one room, user and key. */
  readonly perSecond: number;
  /** An event holds so long; receivers forget it then. */
  readonly expireMs: number;
}

/** What the first matching entry of `rooms` in the config says of a room. */
export interface RoomPolicy {
  readonly match: string;
  readonly matches: RoomMatcher;
  /** Present: the room is durable. Absent: live, nothing is kept. */
  readonly history?: HistoryPolicy;
  /** The room keeps a cursor per user: a join without a position begins after what that user has seen. */
  readonly cursor?: boolean;
  /** How long an event may wait for others, so that they go out as one array. Absent or 0: one turn of the loop. */
  readonly batchMs?: number;
  /** Members on all nodes together. Absent: no limit. */
  readonly capacity?: number;
  /** For people; told to who joins. */
  readonly description?: string;
  /** For joins that name none. */
  readonly overflow: Overflow;
  /** What payloads have to look like. */
  readonly schema?: PayloadSchema;
  /** Absent: ephemeral events all go out as they come. */
  readonly ephemeral?: EphemeralPolicy;
}

/** How many small frames may become one array. */
export interface Batching {
  /** How long what is sent to a connection that catches up may wait for more of it. 0: not beyond the step that reads it. */
  readonly batchMs: number;
  /** Events in one array. */
  readonly batchEvents: number;
  /** Bytes of one array; a single event may be longer. */
  readonly batchBytes: number;
}

export interface Limits {
  /** false by `CARILLON_LIMITS=off`: rate limits and per-turn budgets are off, sizes and memory stay. */
  readonly rates: boolean;
  readonly frameBytes: number;
  readonly payloadBytes: number;
  /** Nesting of objects and arrays in one frame. */
  readonly depth: number;
  /** Object keys in one frame, nested ones included. */
  readonly keys: number;
  /** Frames in one array. */
  readonly batch: number;
  /** Protocol errors answered before close 4002; as many come back per minute. */
  readonly protocolErrors: number;
  /** Open connections of this process. 0: the limit of open files less 1,000. */
  readonly connections: number;
  readonly roomsPerConnection: number;
  /** Rooms that this process holds state for. */
  readonly rooms: number;
  /** Those of one tenant. 0: as many as are left for all others. */
  readonly roomsPerTenant: number;
  /** Sockets that are no WebSocket, beside `connections`. */
  readonly plainSockets: number;
  /** Bytes of answers that one turn of the loop makes, for all connections together. */
  readonly turnAnswerBytes: number;
  /** Handshakes waiting for a signature check. */
  readonly pendingUpgrades: number;
  readonly upgradeTimeoutMs: number;
  /** Handshakes of one tenant that may wait for other nodes to give up some of its connections, and how long each. */
  readonly tenantWaiting: number;
  readonly tenantWaitMs: number;
  /** What all handshakes together may take of one turn of the loop before the rest waits for the next. */
  readonly upgradeTurnMs: number;
  /** Handshakes that wait for that; beyond it they are handled at once. */
  readonly waitingUpgrades: number;
  /** What one connection may have handled in one turn of the loop before its frames wait for the next. */
  readonly turnMessages: number;
  readonly turnBytes: number;
  /** Received, but not yet handled, per connection; over it: close 4101. */
  readonly inboundQueueBytes: number;
  /** Waiting to be sent: from here on a connection counts as slow and leaves native delivery. */
  readonly bufferedSoftBytes: number;
  /** Waiting to be sent: what uWebSockets.js refuses to exceed. */
  readonly bufferedHardBytes: number;
  /** Replay is sent in chunks while less than this is waiting. */
  readonly catchUpBytes: number;
  readonly historyPage: number;
  readonly historyPageBytes: number;
  /** History of all rooms of this process together. */
  readonly historyTotalBytes: number;
  readonly dedupeWindowMs: number;
  readonly dedupeEntries: number;
  readonly dedupeEntriesPerTenant: number;
  /** Cursors held in memory: all of them on the embedded bus; with NATS those in use and those to be written. */
  readonly cursors: number;
  /** What each frame costs its connection. */
  readonly operations: OperationLimits;
  readonly ephemeral: EphemeralLimits;
  readonly fairness: FairnessLimits;
  readonly address: AddressLimits;
  readonly schemas: SchemaLimits;
}

/** What each frame of a client costs its connection, in points, and how many points it has. */
export interface OperationLimits extends Rate {
  /** Refusals for this limit that are answered per minute before close 4101. */
  readonly refusals: number;
  readonly costPublish: number;
  readonly costJoin: number;
  readonly costLeave: number;
  readonly costHistory: number;
  readonly costPresence: number;
  readonly costRefresh: number;
  readonly costSeen: number;
  readonly costPing: number;
  /** For each KiB of an answer to `history` or `presence`, after it was made. */
  readonly costAnswerKiB: number;
}

/** Ephemeral publishes: of one connection, and those that wait on the node for the end of their window. */
export interface EphemeralLimits extends Rate {
  /** Rooms, users and keys with an open window. */
  readonly entries: number;
  /** Payloads that wait. */
  readonly bytes: number;
}

/** Turns of tenants while the loop is behind. Costs are bytes of payloads times receivers. */
export interface FairnessLimits {
  /** A turn of the loop longer than this is one too long. */
  readonly lagMs: number;
  /** What all tenants together may have handled in one turn. */
  readonly turnCost: number;
  /** What a tenant of weight 1 may have handled before the next one. */
  readonly quantum: number;
  /** Of one tenant, waiting. */
  readonly queueBytes: number;
}

/** Per client address; of IPv6 the first 64 bits. Loopback is exempt. */
export interface AddressLimits {
  /** Open at once. 0: no limit. */
  readonly connections: number;
  /** Handshakes, whatever comes of them. */
  readonly attempts: Rate;
  /** Addresses remembered. */
  readonly entries: number;
}

/** When the broker bans by itself, and how those who are banned are answered. */
export interface AbuseSettings {
  readonly windowMs: number;
  /** Connects of one user, and of one address, within the window, before they are banned. 0: never. */
  readonly userConnects: number;
  readonly addressConnects: number;
  /** Connections of one user or address that were closed for what they sent. 0: never banned. */
  readonly offences: number;
  readonly banMs: number;
  /** Automatic bans at once, on all nodes. */
  readonly bansMax: number;
  /** Users, and addresses, counted at once. */
  readonly entries: number;
  /** How long a refused handshake of somebody banned is left waiting for its answer. 0: not at all. */
  readonly tarpitMs: number;
  /** Handshakes left waiting at once; more are answered at once. */
  readonly tarpitMax: number;
}

/** What nodes tell one another. */
export interface ClusterSettings {
  readonly heartbeatMs: number;
  /** Heartbeats in a row that a node may miss; then it is down. */
  readonly missed: number;
  /** Of one tell, question or answer. */
  readonly messageBytes: number;
  /** What this node borrows of tenants' limits is its own for so long. */
  readonly leaseMs: number;
  /** The longest that a client waits for what other nodes say of its user or room. */
  readonly askMs: number;
  /** The most by which two nodes' clocks differ. */
  readonly skewMs: number;
  /** A clock that is further off is told of. */
  readonly skewWarnMs: number;
}

/** Who is in a room, as it is told to clients and between nodes. */
export interface PresenceSettings {
  /** How long a change waits for others, to clients and to nodes alike. 0: one turn of the loop. */
  readonly batchMs: number;
  /** How long a user stays whose connection was lost. */
  readonly graceMs: number;
  /** The same for whom a drain has sent away. */
  readonly drainGraceMs: number;
  /** How long a join with `presence: true` waits for what other nodes have to say. */
  readonly joinWaitMs: number;
  /** Every room that is listened to is compared with the other nodes so often. */
  readonly digestMs: number;
  /** The most members of a room whose list is told to who joins. */
  readonly fullMembers: number;
  /** The most members of a room whose changes are told. */
  readonly deltaMembers: number;
  /** In larger rooms how many there are is told at most so often, to clients and between nodes. */
  readonly countMs: number;
  /** Users of a node and a room that stand for all of them where only counts are told. */
  readonly sketch: number;
  /** Members of other nodes that are kept by name, over all rooms. */
  readonly othersNames: number;
  /** Of samples of other nodes' members, over all rooms, in bytes. */
  readonly othersSketches: number;
  /** Lost connections whose users stay, per room that they were in. */
  readonly kept: number;
  /** `cluster.messageBytes`. */
  readonly messageBytes: number;
  /** `cluster.heartbeatMs`: what has been missed is noticed so soon. */
  readonly heartbeatMs: number;
  /** How long a node has been silent at least when it is called down. */
  readonly silenceMs: number;
}

/** The stores that every node has whole. */
export interface StateLimits {
  /** Of one store. */
  readonly entries: number;
  /** Of keys and values of all stores together. */
  readonly bytes: number;
  readonly valueBytes: number;
}

/** The record of what becomes of sessions and rooms. */
export interface LifecycleSettings {
  readonly enabled: boolean;
  /** How long a session may be without a connection before it is over. */
  readonly graceMs: number;
  /** Of the stream: what is older goes. */
  readonly ageMs: number;
  /** Of the stream on each of its servers. */
  readonly bytes: number;
  /** Events that wait to be stored; more are lost. */
  readonly queue: number;
  /** Of one file of the embedded bus; then another is begun. */
  readonly fileBytes: number;
  /** Kept of them. */
  readonly files: number;
  readonly webhook?: LifecycleWebhookSettings;
}

export interface LifecycleWebhookSettings {
  readonly url: string;
  /** Signs every delivery. */
  readonly secret: string;
  /** Events of one delivery. */
  readonly batch: number;
  /** How long the first event of a delivery waits for others. */
  readonly lingerMs: number;
  readonly timeoutMs: number;
  /** Of one delivery; then it is kept as undelivered. */
  readonly attempts: number;
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  /** In a row, from which on nothing is tried for `openMs`. */
  readonly failures: number;
  readonly openMs: number;
  /** Events that wait; the oldest of more are kept as undelivered. */
  readonly queue: number;
}

/** What server_info tells every client. */
export interface NodeIdentity {
  readonly serverId: string;
  readonly region: string;
  readonly version: string;
  readonly heartbeatSeconds: number;
  readonly reconnect: { readonly minMs: number; readonly maxMs: number };
}
