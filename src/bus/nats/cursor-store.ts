/**
 * Cursors as they stand in NATS: one message per cursor in a stream of their own, under a subject of its own. A write
 * names the message that it follows (`Nats-Expected-Last-Subject-Sequence`), so that of two nodes that write at once
 * one is refused and looks again: a position cannot be overwritten by one that is behind it.
 */
import type { Position } from '../../protocol/frames.ts';
import type { NoAnswer, Requests } from './acks.ts';
import { readDirect } from './direct.ts';
import { lastValue, numberIn, payloadText, SEQUENCE, SUBJECT } from './headers.ts';
import { type ApiAnswer, CONFLICTS, NO_MESSAGE, type PubAck } from './jetstream.ts';

/** `place` 0: there is none. A message that is not one of ours has a place, and no position. */
export interface StoredCursor {
  readonly place: number;
  readonly position: Position | undefined;
}

export const NO_CURSOR: StoredCursor = { place: 0, position: undefined };

export interface CursorStoreParts {
  readonly leaders: Requests;
  readonly replicas: Requests;
  readonly stream: string;
  readonly timeoutMs: number;
  readonly connected: () => boolean;
  /** The present epoch of a shard's rooms. */
  readonly epochOf: (shard: number) => string;
  /** Nobody answers for the stream. */
  readonly missing: () => void;
}

/** `conflict`: somebody has written since `place`. `busy`: it was not written, and may be later. */
export type Written = number | 'conflict' | 'busy' | NoAnswer;

const ANSWER_BYTES = 4 * 1024 * 1024;

export class CursorStore {
  readonly #parts: CursorStoreParts;

  constructor(parts: CursorStoreParts) {
    this.#parts = parts;
  }

  get connected(): boolean {
    return this.#parts.connected();
  }

  /** Whether positions of this epoch still mean something in the rooms of the shard. */
  isCurrent(shard: number, epoch: string): boolean {
    return this.#parts.epochOf(shard) === epoch;
  }

  /** Those that are there, by any replica: one that is behind answers with an older cursor, or none. */
  async read(subjects: readonly string[]): Promise<ReadonlyMap<string, StoredCursor> | NoAnswer> {
    const found = new Map<string, StoredCursor>();
    const { connected, replicas, stream } = this.#parts;
    for (let left = subjects; ; left = left.filter((subject) => !found.has(subject))) {
      if (!connected()) return 'lost';
      const request = { multi_last: left, max_bytes: ANSWER_BYTES };
      const end = await readDirect(replicas, stream, request, (msg, text) => {
        found.set(lastValue(text, SUBJECT) ?? '', {
          place: numberIn(text, SEQUENCE) ?? 0,
          position: decode(payloadText(msg)),
        });
      });
      if (typeof end === 'string') return end;
      if (end.status === 503) return this.#nobody();
      if (end.status !== 204 && end.status !== 404) return 'nobody';
      if (end.pending === 0) return found;
    }
  }

  /** By the leader, as it is now. */
  async latest(subject: string): Promise<StoredCursor | NoAnswer> {
    const request = JSON.stringify({ last_by_subj: subject });
    const answer = await this.#ask<ApiAnswer>(
      `$JS.API.STREAM.MSG.GET.${this.#parts.stream}`,
      request,
      undefined,
    );
    if (typeof answer === 'string') return answer;
    if (answer.error?.err_code === NO_MESSAGE) return NO_CURSOR;
    if (answer.message === undefined) return this.#nobody();
    const { seq, data } = answer.message;
    return { place: seq, position: decode(Buffer.from(data ?? '', 'base64').toString()) };
  }

  /** Stored only where `place` is still the last one of the subject; gives the new place. */
  async write(subject: string, { epoch, seq }: Position, place: number): Promise<Written> {
    const expected = `NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: ${place}\r\n\r\n`;
    const answer = await this.#ask<PubAck>(
      subject,
      JSON.stringify({ epoch, seq }),
      Buffer.from(expected, 'latin1'),
    );
    if (typeof answer === 'string') return answer;
    if (answer.error !== undefined) return CONFLICTS.has(answer.error.err_code ?? 0) ? 'conflict' : 'busy';
    return answer.seq ?? 'busy';
  }

  async #ask<T>(subject: string, payload: string, headers: Uint8Array | undefined): Promise<T | NoAnswer> {
    const { leaders, timeoutMs, connected } = this.#parts;
    if (!connected()) return 'lost';
    const answer = await leaders.answer(subject, payload, headers, timeoutMs);
    if (answer === 'nobody') return this.#nobody();
    return typeof answer === 'string' ? answer : answer.json<T>();
  }

  #nobody(): 'nobody' {
    this.#parts.missing();
    return 'nobody';
  }
}

/** undefined: not one of ours. A cursor that nobody has written must not be made up. */
function decode(text: string): Position | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { epoch, seq } = (value ?? {}) as { epoch?: unknown; seq?: unknown };
  return typeof epoch === 'string' && Number.isSafeInteger(seq) ? { epoch, seq: seq as number } : undefined;
}
