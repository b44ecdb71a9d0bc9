/**
 * What the NATS bus can be told. Units stand in the names: Bytes, Ms; what has none is a count. Every default has
 * its reason beside it; config/carillon.yaml repeats them for people.
 */

export interface NatsCredentials {
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  /** A seed (`SU…`) itself, or a file that holds one: read at each connect, so that it can be rotated. */
  readonly nkeySeed?: string;
  readonly nkeySeedFile?: string;
  /** A `.creds` file with a user JWT and its seed; read at each connect. */
  readonly credsFile?: string;
}

export interface NatsTls {
  /** Whom to believe; absent: the system's authorities. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** The server is set to `handshake_first`. */
  readonly handshakeFirst?: boolean;
}

export interface NatsOptions {
  readonly servers: readonly string[];
  readonly credentials?: NatsCredentials;
  readonly tls?: NatsTls;
  /** First token of every subject; its upper case starts the names of the streams. One installation, one prefix. */
  readonly prefix: string;
  /** Streams that the rooms are spread over. Fixed for an installation: see `carillon streams apply`. */
  readonly shards: number;
  /** Copies of each stream; auto: 3 in a cluster, 1 on a single server. */
  readonly replicas: 'auto' | 1 | 3 | 5;
  /** Creates missing streams at start. false: the start fails if one is missing. */
  readonly manageStreams: boolean;
  /** Goes on where the server cannot keep history (before 2.11, or no JetStream): durable rooms are served as live. */
  readonly coreOnly: boolean;
  /** Whether servers that the cluster tells of are used too. false behind one address, as a Kubernetes service is. */
  readonly discover: boolean;
  /** Bytes of history that one stream keeps on each of its servers, whatever the rooms' policies say. */
  readonly streamBytes: number;
  /** Bytes of cursors that their stream keeps on each of its servers; those not moved for longest go first. */
  readonly cursorBytes: number;
  /** A cursor that has not moved for so long is forgotten. */
  readonly cursorAgeMs: number;
  /** A cursor is written so long after it has moved, with all that it has moved meanwhile. */
  readonly cursorWriteMs: number;
  /** Writes that one node begins in a second; beyond it cursors are written later, and so less often. */
  readonly cursorWritesPerSecond: number;
  readonly connectTimeoutMs: number;
  /** How long `start` tries to reach NATS and its streams. */
  readonly startTimeoutMs: number;
  readonly pingIntervalMs: number;
  /** Publishes of one stream on their way to the store at once. */
  readonly window: number;
  /** Publishes that wait behind the windows, or for NATS to come back; more are refused. */
  readonly queue: number;
  readonly queueBytes: number;
  readonly ackTimeoutMs: number;
  /** From being accepted into the queue to `unavailable`. */
  readonly publishTimeoutMs: number;
  /** From opening a durable room to `unavailable`. */
  readonly openTimeoutMs: number;
  /** A room without members keeps its subscription and its tail for so long. */
  readonly lingerMs: number;
  /** Batch reads of one stream at once. */
  readonly readsPerShard: number;
  /** Rooms of one stream that want to be filled, from which on the stream is read once for all of them. */
  readonly sweepFrom: number;
  /** One stream in turn is audited so often. */
  readonly auditEveryMs: number;
  /** The event loop was blocked for so long: something may have been missed. */
  readonly loopLagMs: number;
}

export const NATS_DEFAULTS: Omit<NatsOptions, 'servers'> = {
  prefix: 'carillon',
  // 200 resumes at once from 500,000 messages back: 1.2 s over 8 streams, 5.4 s over one; live acks meanwhile
  // 0.2 ms and 1.4-2.7 s. 16 idle R3 streams cost 2.5 % of a core, 64 cost 7 %.
  shards: 8,
  replicas: 'auto',
  manageStreams: true,
  coreOnly: false,
  discover: true,
  // About 2.5 million messages of 200 bytes. The server sets this much disk aside: 4 GiB for 8 streams.
  streamBytes: 512 * 1024 ** 2,
  // A cursor takes about 200 bytes: 1.3 million of them.
  cursorBytes: 256 * 1024 ** 2,
  cursorAgeMs: 90 * 24 * 3_600_000,
  // A reader that acknowledges each of 100 events a second costs one write instead of 100.
  cursorWriteMs: 1000,
  // A write takes 38 us of the node and 18 us of the server: a fifth of a core.
  cursorWritesPerSecond: 5000,
  // A hung server still accepts TCP: the client's own default of 20 s held a reconnect until it woke.
  connectTimeoutMs: 2000,
  startTimeoutMs: 30_000,
  // Two missed pings make a connection stale: a hung server is left after 4-6 s. The client's default takes 4 min.
  pingIntervalMs: 2000,
  // 512 over a round trip of 0.5 ms is a million a second; the server's own queue ends at 100,000.
  window: 512,
  // 20,000 is 4 s of 5,000 publishes a second: most of an election, which takes 4-9 s.
  queue: 20_000,
  queueBytes: 64 * 1024 ** 2,
  ackTimeoutMs: 2000,
  // Longer than the longest election seen (7.3 s), with room for a second one.
  publishTimeoutMs: 15_000,
  openTimeoutMs: 10_000,
  // Members that come back within the time (a reload, a broker restart) cost NATS nothing.
  lingerMs: 30_000,
  // A read is a scan of the stream; more at once only delay the live traffic (p99 5 s at 200 on one stream).
  readsPerShard: 2,
  // Measured: a sweep costs as much as 35 reads of single rooms.
  sweepFrom: 35,
  auditEveryMs: 8000,
  loopLagMs: 2000,
};

export function natsOptions(given: Partial<NatsOptions> & Pick<NatsOptions, 'servers'>): NatsOptions {
  return { ...NATS_DEFAULTS, ...given };
}
