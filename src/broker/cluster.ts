/**
 * What the nodes of an installation tell one another beside the events of rooms: who is there, messages, questions,
 * and small stores that every node has whole. test/contract/cluster.ts holds every implementation to it.
 * Messages, questions, answers and values are what JSON can carry; they are copies, never shared.
 */

/** Stops what it stands for; harmless when that is over. */
export type Cancel = () => void;

/** How a node is doing, as its heartbeats tell it. */
export interface NodeStatus {
  readonly connections: number;
  /** Connections accepted per second, since about the last heartbeat. */
  readonly acceptsPerSecond: number;
  /** p99 of how late the event loop has run, since about the last heartbeat. */
  readonly loopLagMs: number;
  /** Connections per second that it takes at most from nodes that drain. Absent: a former version does not tell. */
  readonly acceptsMax?: number;
  /** Connections that it still has room for. Absent: as above. */
  readonly spare?: number;
  readonly draining: boolean;
  /** Digest of the settings that all nodes have to have the same. Absent: as above. */
  readonly settings?: string;
  /** Clients may connect. Absent: as above. */
  readonly serving?: boolean;
}

export interface NodeInfo {
  /** `node.serverId`. */
  readonly node: string;
  /** One run of the process: what a former run held (leases, presence) is void when it differs. */
  readonly incarnation: string;
  /** Milliseconds since 1970, by its own clock. */
  readonly startedAt: number;
  readonly status: NodeStatus;
}

/**
 * up: heard for the first time, or again after `down`; changed: its status differs; down: it said goodbye, was silent
 * for `cluster.heartbeatMs` × `cluster.missed`, or came back as another incarnation (then `up` follows).
 */
export type NodeChange = 'up' | 'changed' | 'down';

/** `missing`: known nodes that have not answered: gone, too slow, without an answer to this topic, or it has failed. */
export interface Answers {
  readonly answers: ReadonlyMap<string, unknown>;
  readonly missing: readonly string[];
}

/**
 * unknown_node: not among `nodes()`; unanswered: as `missing` above; too_large: over `cluster.messageBytes`;
 * unavailable: this node is cut off from the others.
 */
export type Unanswered = 'unknown_node' | 'unanswered' | 'too_large' | 'unavailable';
export type NodeAnswer =
  | { readonly ok: true; readonly answer: unknown }
  | { readonly ok: false; readonly why: Unanswered };

/** What became of a tell, as far as this node can know: `sent` is no promise that anybody has heard it. */
export type Told = 'sent' | 'too_large' | 'unavailable';

export interface Cluster {
  /** embedded: there are no other nodes. */
  readonly kind: 'embedded' | 'nats';
  /** This node's id. */
  readonly node: string;
  readonly incarnation: string;
  /**
   * Resolves when the nodes that are there have had time to answer and all stores are whole. Throws with the reason.
   * Everything but `tell`, `ask` and writes works before it.
   */
  start(): Promise<void>;
  /** Says goodbye to the others. */
  close(): Promise<void>;

  /** Whether the others can be reached. While not, nobody is declared down, asks answer for this node alone. */
  readonly connected: boolean;
  /** After each loss and return. After a return messages may have been missed; stores see to that themselves. */
  watchConnected(heard: (connected: boolean) => void): Cancel;

  /** The nodes alive, this one included and first. */
  nodes(): readonly NodeInfo[];
  /** Others only; not called for those that are there already. */
  watchNodes(heard: (info: NodeInfo, change: NodeChange) => void): Cancel;
  /** Tells the others of this node's status now instead of with the next heartbeat. */
  announce(): void;

  /**
   * To all other nodes that hear the topic; at most once, in order from one node. A topic is any text of up to
   * 256 characters and costs each node that hears it one subscription.
   */
  tell(topic: string, message: unknown): Told;
  /** To one other node. */
  tellNode(node: string, topic: string, message: unknown): Told;
  hear(topic: string, heard: (message: unknown, from: string) => void): Cancel;

  /** All nodes, this one included. Resolves when all have answered, at the latest after `timeoutMs`; never rejects. */
  ask(topic: string, question: unknown, timeoutMs: number): Promise<Answers>;
  /** One node, which may be this one. Never rejects. */
  askNode(node: string, topic: string, question: unknown, timeoutMs: number): Promise<NodeAnswer>;
  /** One per topic. When `reply` throws or rejects, the asking node counts this one as missing, and it is logged. */
  answer(topic: string, reply: (question: unknown, from: string) => unknown): Cancel;

  /** The same store for the same name, [a-z][a-z0-9-]{0,31}. Empty until `start` has resolved. */
  store(name: string): Store;

  figures(): ClusterFigures;
}

// ----------------------------------------------------------------------------------------------- stores

export interface StoreEntry {
  readonly key: string;
  /** Not to be changed. */
  readonly value: unknown;
  /** Grows with every change of the store. */
  readonly revision: number;
  /** Milliseconds since 1970; absent: for ever. */
  readonly expiresAt?: number;
}

export interface StoreChange {
  readonly key: string;
  /** undefined: it is gone, deleted or expired. */
  readonly entry: StoreEntry | undefined;
  readonly before: StoreEntry | undefined;
}

/**
 * conflict: the entry is not at the `revision` asked for; unavailable: it could not be stored now, or nobody knows
 * whether it was; too_large: the key (256 characters) or value (`state.valueBytes`) is; full: `state.entries` or
 * `state.bytes` is reached.
 */
export type Unstored = 'conflict' | 'unavailable' | 'too_large' | 'full';
export type Stored =
  | { readonly ok: true; readonly revision: number }
  | { readonly ok: false; readonly why: Unstored };

export interface PutOptions {
  /** From now; after it the entry is gone, on all nodes. */
  readonly ttlMs?: number;
  /** Store only over this revision; 0: only where there is no entry. Absent: in any case. */
  readonly revision?: number;
}

/**
 * Durable key-value entries: policies, revocations, bans, keys. Small sets, whole on every node, so that reads are
 * synchronous and go on when the others are away. A change reaches every connected node within a second, and one that
 * was away after its return, deletes and expiries included.
 */
export interface Store {
  readonly name: string;
  /** false: what the store held before this node started is not known here yet. */
  readonly ready: boolean;
  readonly size: number;
  get(key: string): StoreEntry | undefined;
  entries(): Iterable<StoreEntry>;
  /** Every change from now on, in the order of the revisions; several of one key may be told as one. */
  watch(heard: (change: StoreChange) => void): Cancel;
  /** When it resolves with `ok`, `get` gives it here. Never rejects. */
  put(key: string, value: unknown, options?: PutOptions): Promise<Stored>;
  /** ok also where there was none. */
  delete(key: string, options?: Pick<PutOptions, 'revision'>): Promise<Stored>;
}

// ---------------------------------------------------------------------------------------------- figures

export interface StoreFigures {
  readonly name: string;
  readonly entries: number;
  readonly bytes: number;
  /** Of the last change. */
  readonly revision: number;
}

export interface ClusterFigures {
  readonly nodes: number;
  readonly connected: boolean;
  /** How far the clock of another node is from this one's, at most. */
  readonly skewMs: number;
  /** By outcome, since the start; `heard`: from others; `ignored`: from others, of a kind or topic unknown here. */
  readonly tells: Readonly<Record<Told | 'heard' | 'ignored', number>>;
  /** By outcome, since the start; `answered`: questions of others. */
  readonly asks: Readonly<Record<'whole' | 'partial' | 'answered', number>>;
  readonly writes: Readonly<Record<'stored' | Unstored, number>>;
  readonly stores: readonly StoreFigures[];
  /** Since the stores were last known to be whole. NaN: never. */
  readonly storesAgeMs: number;
}
