/**
 * The counts of this process, as plain fields: an increment on the hot path costs one store, and
 * ops/metrics.ts reads them only when Prometheus asks. Every label set is closed.
 */
import { CLOSE_CODES, CLOSE_TOO_BIG, type CloseReason, type ErrorCode } from '../protocol/codes.ts';
import { IdentityCounts } from './identity-counts.ts';
import type { RefusalReason } from './limits/reasons.ts';
import type { SchemaMode } from './schema/schema.ts';

export type UpgradeOutcome =
  | 'accepted'
  | 'bad_request'
  | 'bad_version'
  | 'bad_subprotocol'
  | 'bad_origin'
  | 'unauthorized'
  | 'token_expired'
  | 'forbidden'
  | 'too_many'
  | 'limited'
  | 'overloaded'
  | 'draining'
  | 'timeout'
  | 'unavailable'
  | 'aborted'
  | 'internal';

export type ClosedBy = CloseReason | 'normal' | 'going_away' | 'abnormal' | 'too_big' | 'other';

/**
 * What became of a connection that reads too slowly. demoted: left native delivery and is served by its overflow;
 * closed: ended with 4102, by its overflow or for the acks held for it; dropped: ended with 4102, bytes were lost.
 */
export const SLOW_OUTCOMES = ['demoted', 'closed', 'dropped'] as const;
export type SlowOutcome = (typeof SLOW_OUTCOMES)[number];

/**
 * What became of ephemeral publishes. sent: taken by the bus; refused: not by it; superseded: a newer one of the same
 * room, user and key came within the window; dropped: their connection was gone at the end of it.
 */
export const SIGNAL_OUTCOMES = ['sent', 'refused', 'superseded', 'dropped'] as const;
export type SignalOutcome = (typeof SIGNAL_OUTCOMES)[number];

/** Upper bounds of the publish-to-deliver histogram, in milliseconds. */
const DELIVERY_BOUNDS_MS = [0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];
/** Upper bounds of the publish-to-ack histogram, in milliseconds: up to nats.publishTimeoutMs. */
const ACK_BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 15_000];
/** Catch-ups may take 5 ms of a turn: around that the bounds are narrow. */
const CATCH_UP_BOUNDS_MS = [0.1, 0.25, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 25, 100];

/** Milliseconds, counted by upper bounds. */
export class Histogram {
  readonly boundsMs: readonly number[];
  /** Per bucket, not cumulative; the last is beyond all bounds. */
  readonly counts: Float64Array;
  sumMs = 0;
  maxMs = 0;

  constructor(boundsMs: readonly number[]) {
    this.boundsMs = boundsMs;
    this.counts = new Float64Array(boundsMs.length + 1);
  }

  observe(ms: number): void {
    let at = 0;
    while (at < this.boundsMs.length && ms > (this.boundsMs[at] as number)) at++;
    this.counts[at] = (this.counts[at] as number) + 1;
    this.sumMs += ms;
    if (ms > this.maxMs) this.maxMs = ms;
  }
}

/** In the place of the time of a publish that the bus has refused: beyond every bound. */
export const REFUSED_MS = 60_000;

export type SchemaOutcome = `${SchemaMode}_${'fits' | 'violates'}`;

const SCHEMA_OUTCOME: Readonly<Record<SchemaMode, readonly [SchemaOutcome, SchemaOutcome]>> = {
  observe: ['observe_fits', 'observe_violates'],
  warn: ['warn_fits', 'warn_violates'],
  enforce: ['enforce_fits', 'enforce_violates'],
};
export const SCHEMA_OUTCOMES: readonly SchemaOutcome[] = Object.values(SCHEMA_OUTCOME).flat();

export class Tally {
  connections = 0;
  memberships = 0;
  rooms = 0;
  messagesIn = 0;
  bytesIn = 0;
  /** Frames handed to sockets one by one or to topics. */
  framesOut = 0;
  /** Bytes times receivers. */
  bytesOut = 0;
  /** Events times receivers. */
  deliveries = 0;
  /** Whether messages to one connection may be compressed now. */
  compressing = false;
  compressed = 0;
  /** Before compression. */
  compressedBytes = 0;
  /** Bytes of one compressed message a second, and what they were deflated to. */
  readonly compressionSample = { before: 0, after: 0 };
  /** Messages that would have been compressed, had the loop not been late. */
  uncompressed = 0;
  published = 0;
  duplicates = 0;
  /** Turns of the loop in which tenants took turns. */
  fairTurns = 0;
  replayed = 0;
  /** Frames that waited for a later turn, because their connection had used up its turn. */
  deferred = 0;
  /** Handshakes that waited for a later turn of the loop. */
  upgradesDeferred = 0;
  /** Members on their way from a position in the past to native delivery. */
  catchUps = 0;
  /** Bytes of the replayed events. */
  catchUpBytes = 0;
  /** Sessions whose backlog the rolling sweep has looked at, and the time that took. */
  slowLooks = 0;
  slowLookMs = 0;
  /** Plain sockets closed at once: their address had as many as were left for others. */
  socketsRefused = 0;
  /** Handshakes of the banned that wait for their answers, and all that ever did. */
  tarpitHeld = 0;
  tarpitted = 0;
  /** Rooms, users and keys whose window is open, and the payloads that wait for its end. */
  signalSlots = 0;
  signalBytes = 0;
  /** Of other nodes' members, over all rooms: names, and hashes of samples. */
  presenceNames = 0;
  presenceHashes = 0;
  /** Lost connections whose users stay, times the rooms that they were in. */
  presenceKept = 0;
  readonly signals = new Map<SignalOutcome, number>();
  readonly slow = new Map<SlowOutcome, number>();
  readonly upgrades = new Map<UpgradeOutcome, number>();
  readonly closes = new Map<ClosedBy, number>();
  readonly errors = new Map<ErrorCode, number>();
  readonly gaps = new Map<string, number>();
  /** From the bus accepting an event to its bytes being handed to the sockets. */
  readonly delivery = new Histogram(DELIVERY_BOUNDS_MS);
  /**
   * From a client's publish to the bus's answer. One that the bus refused as unavailable or overloaded stands beyond all
   * bounds: for its publisher it has taken longer than that.
   */
  readonly acks = new Histogram(ACK_BOUNDS_MS);
  /** What all catch-ups together took of one turn of the loop, of the turns in which they had any. */
  readonly catchUpTurn = new Histogram(CATCH_UP_BOUNDS_MS);
  /** For a limit, whatever was asked for. */
  readonly refusals = new Map<RefusalReason, number>();
  readonly identity = new IdentityCounts();
  /** Payloads held against the schema of their room. */
  readonly schemaChecks = new Map<SchemaOutcome, number>();
  /** What the longest of these took. */
  schemaLongestMs = 0;

  upgrade(outcome: UpgradeOutcome): void {
    bump(this.upgrades, outcome);
  }

  close(by: ClosedBy): void {
    bump(this.closes, by);
  }

  error(code: ErrorCode): void {
    bump(this.errors, code);
  }

  schemaCheck(mode: SchemaMode, fits: boolean, ms: number): void {
    bump(this.schemaChecks, SCHEMA_OUTCOME[mode][fits ? 0 : 1]);
    if (ms > this.schemaLongestMs) this.schemaLongestMs = ms;
  }

  refused(by: RefusalReason): void {
    bump(this.refusals, by);
  }

  gap(reason: string): void {
    bump(this.gaps, reason);
  }

  signal(outcome: SignalOutcome): void {
    bump(this.signals, outcome);
  }

  slowConsumer(outcome: SlowOutcome): void {
    bump(this.slow, outcome);
  }
}

function bump<K>(map: Map<K, number>, key: K): void {
  map.set(key, (map.get(key) ?? 0) + 1);
}

const CLOSED_BY = new Map<number, ClosedBy>([
  [1000, 'normal'],
  [1005, 'normal'],
  [1001, 'going_away'],
  [1006, 'abnormal'],
  [CLOSE_TOO_BIG, 'too_big'],
  ...Object.entries(CLOSE_CODES).map(([reason, { code }]) => [code, reason as CloseReason] as const),
]);

/** The client has said that it goes, or has been told to stay away. */
export function isFinal(code: number): boolean {
  if (code === CLOSE_CODES.replaced.code) return false;
  return code === 1000 || code === 1001 || code === 1005 || (code >= 4000 && code < 4100);
}

/** The closed set of labels that any close code falls into. */
export function closedBy(code: number): ClosedBy {
  return CLOSED_BY.get(code) ?? 'other';
}
