/**
 * The counts of this process, as plain fields: an increment on the hot path costs one store, and
 * ops/metrics.ts reads them only when Prometheus asks. Every label set is closed.
 */
import { CLOSE_CODES, CLOSE_TOO_BIG, type CloseReason, type ErrorCode } from '../protocol/codes.ts';

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
  | 'overloaded'
  | 'draining'
  | 'timeout'
  | 'aborted'
  | 'internal';

export type ClosedBy = CloseReason | 'normal' | 'going_away' | 'abnormal' | 'too_big' | 'other';

/** Upper bounds of the publish-to-deliver histogram, in milliseconds. */
export const DELIVERY_BOUNDS_MS = [0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500] as const;

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
  published = 0;
  duplicates = 0;
  replayed = 0;
  /** Frames that waited for a later turn, because their connection had used up its turn. */
  deferred = 0;
  slowConsumers = 0;
  readonly upgrades = new Map<UpgradeOutcome, number>();
  readonly closes = new Map<ClosedBy, number>();
  readonly errors = new Map<ErrorCode, number>();
  readonly gaps = new Map<string, number>();
  readonly deliveryCounts = new Float64Array(DELIVERY_BOUNDS_MS.length + 1);
  deliverySumMs = 0;

  upgrade(outcome: UpgradeOutcome): void {
    bump(this.upgrades, outcome);
  }

  close(by: ClosedBy): void {
    bump(this.closes, by);
  }

  error(code: ErrorCode): void {
    bump(this.errors, code);
  }

  gap(reason: string): void {
    bump(this.gaps, reason);
  }

  /** Milliseconds from the bus accepting an event to its bytes being handed to the sockets. */
  delivered(ms: number): void {
    let at = 0;
    while (at < DELIVERY_BOUNDS_MS.length && ms > (DELIVERY_BOUNDS_MS[at] as number)) at++;
    this.deliveryCounts[at] = (this.deliveryCounts[at] as number) + 1;
    this.deliverySumMs += ms;
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

/** The closed set of labels that any close code falls into. */
export function closedBy(code: number): ClosedBy {
  return CLOSED_BY.get(code) ?? 'other';
}
