/** What JetStream answers in JSON, and the refusals on which something depends (nats-server: server/errors.json). */
import type { NoAnswer, Requests } from './acks.ts';

export interface ApiError {
  readonly code: number;
  readonly err_code?: number;
  readonly description?: string;
}

export interface PubAck {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: ApiError;
}

/** As STREAM.MSG.GET gives it: headers and payload in base64. */
export interface StoredMessage {
  readonly subject: string;
  readonly seq: number;
  readonly hdrs?: string;
  readonly data?: string;
  /** RFC 3339, to the nanosecond. */
  readonly time: string;
}

/** Of STREAM.MSG.GET and STREAM.INFO. */
export interface ApiAnswer {
  readonly error?: ApiError;
  readonly message?: StoredMessage;
  readonly created?: string;
  readonly config?: {
    readonly max_msgs_per_subject?: number;
    readonly metadata?: Readonly<Record<string, string>>;
  };
  readonly state?: {
    readonly first_seq: number;
    readonly last_seq: number;
    /** Places between the two that are empty. */
    readonly num_deleted?: number;
    /** With `subjects_filter`: messages by subject. */
    readonly subjects?: Readonly<Record<string, number>>;
  };
}

export const NO_MESSAGE = 10037;
export const NO_STREAM = 10059;
/** A message over the stream's `max_msg_size`. */
export const TOO_LARGE = 10054;
/** No room in the store: disk, memory or the account's share are used up. */
export const STORE_FULL: ReadonlySet<number> = new Set([10023, 10028, 10047, 10077]);
/** A message with this id is on its way to a quorum; what becomes of it the next attempt learns. */
export const IN_PROCESS = 10158;
/** Another write of the subject was first; the second is said while that one is not replicated yet. */
export const CONFLICTS: ReadonlySet<number> = new Set([10071, 10164]);

const LEADER_TIMEOUT_MS = 2000;

/** Of the stream's leader, who knows the truth. */
export async function askLeader(
  requests: Requests,
  call: 'STREAM.INFO' | 'STREAM.MSG.GET',
  stream: string,
  request: object,
): Promise<ApiAnswer | NoAnswer> {
  const subject = `$JS.API.${call}.${stream}`;
  const answer = await requests.answer(subject, JSON.stringify(request), undefined, LEADER_TIMEOUT_MS);
  return typeof answer === 'string' ? answer : answer.json<ApiAnswer>();
}
