import { CLOSE_CODES, type CloseReason, type ErrorCode } from '../protocol/codes.ts';
import type { ErrorFrame } from '../protocol/frames.ts';

/** Failures that the SDK itself finds; all other codes are the server's. */
export type LocalCode =
  /** The client was closed by its owner. */
  | 'closed'
  /** No answer before the deadline; the outcome of a publish is unknown. */
  | 'timeout'
  /** The publish queue holds as many messages as `publish.queue` allows. */
  | 'queue_full'
  /** The connection was lost while the request was under way. */
  | 'disconnected'
  /** A connection attempt failed, or the server spoke something else than chat.v1. */
  | 'connect_failed'
  /** The token provider threw. */
  | 'token_failed'
  /** The room was left while something waited for it. */
  | 'left'
  /** An async iterator was read so slowly that more than `buffer` events waited. */
  | 'buffer_overflow';

export type CarillonErrorCode = ErrorCode | CloseReason | LocalCode;

export interface ErrorDetails {
  /** Whether the same thing may succeed later without being changed. */
  readonly retry?: boolean | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly path?: string | undefined;
  readonly limit?: number | undefined;
  readonly used?: number | undefined;
  readonly cause?: unknown;
}

/** Every failure that the SDK reports. `code` is for programs, `reason` for people. */
export class CarillonError extends Error {
  override readonly name = 'CarillonError';
  readonly code: CarillonErrorCode;
  readonly reason: string;
  readonly retry: boolean;
  /** Milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** Of `schema_violation`: the place in the payload that does not fit, as a JSON pointer. */
  readonly path: string | undefined;
  /** The number that was exceeded, and what of it is in use, where the server says so. */
  readonly limit: number | undefined;
  readonly used: number | undefined;

  constructor(code: CarillonErrorCode, reason: string, details: ErrorDetails = {}) {
    super(`${code}: ${reason}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.reason = reason;
    this.retry = details.retry ?? false;
    this.retryAfterMs = details.retryAfterMs;
    this.path = details.path;
    this.limit = details.limit;
    this.used = details.used;
  }
}

export function errorOf(frame: ErrorFrame): CarillonError {
  return new CarillonError(frame.code, frame.reason, frame);
}

const CLOSE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(CLOSE_CODES).map(([name, row]) => [row.code, name]),
);

/** The end of a connection as an error: the code's name where it is one of ours, else `disconnected`. */
export function closeError(code: number, reason: string): CarillonError {
  const name = CLOSE_NAMES.get(code) as CloseReason | undefined;
  const text = reason === '' ? `close code ${code}` : reason;
  return new CarillonError(name ?? 'disconnected', text, { retry: code < 4000 || code > 4099 });
}
