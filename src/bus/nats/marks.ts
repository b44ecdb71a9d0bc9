/**
 * Marks in the streams themselves, below subjects that no room has. One names the generation of the places from there
 * on: a node sets it when it has proof that places are given away a second time, and it makes another epoch for all
 * nodes. It stands in the stream, so that it needs no right and no store that a node has not anyway; and a write
 * names the mark that it follows, so that of two nodes with the same proof one is refused and takes the other's.
 */
import type { Msg } from '@nats-io/nats-core';
import type { NoAnswer, Requests } from './acks.ts';
import { CONFLICTS, type PubAck } from './jetstream.ts';
import { payloadOf, type Store } from './store.ts';
import type { Subjects } from './subject.ts';

export interface Mark {
  /** 0: there is none. */
  readonly seq: number;
  readonly generation: string;
  /** When it was written, in milliseconds since 1970, by the server's clock. */
  readonly at: number;
}

export const NO_MARK: Mark = { seq: 0, generation: '', at: 0 };

const PLAIN = Buffer.from('NATS/1.0\r\n\r\n', 'latin1');

export interface MarkParts {
  readonly store: Store;
  readonly requests: Requests;
  readonly subjects: Subjects;
  readonly timeoutMs: number;
  readonly connected: () => boolean;
}

export class Marks {
  readonly #parts: MarkParts;

  constructor(parts: MarkParts) {
    this.#parts = parts;
  }

  /** By the leader, as it is now. */
  async read(shard: number): Promise<Mark | NoAnswer> {
    const { store, subjects } = this.#parts;
    const message = await store.message(shard, { last_by_subj: subjects.mark(shard) });
    if (typeof message === 'string') return message;
    if (message === undefined) return NO_MARK;
    return { seq: message.seq, generation: payloadOf(message), at: Date.parse(message.time) };
  }

  /** Stored only where `over` is still the place of the last one; gives the new place. */
  async write(shard: number, generation: string, over: number): Promise<number | 'conflict' | NoAnswer> {
    const expected = `NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: ${over}\r\n\r\n`;
    const ack = await this.#publish(
      this.#parts.subjects.mark(shard),
      generation,
      Buffer.from(expected, 'latin1'),
    );
    if (typeof ack === 'string') return ack;
    if (ack.error !== undefined) return CONFLICTS.has(ack.error.err_code ?? 0) ? 'conflict' : 'nobody';
    return ack.seq ?? 'nobody';
  }

  /**
   * The place that the stream gives to a message now. It takes a quorum to give one, so that no leader who has been
   * voted out, or has not caught up yet, can answer.
   */
  async probe(shard: number): Promise<number | NoAnswer> {
    const ack = await this.#publish(this.#parts.subjects.probe(shard), '', PLAIN);
    return typeof ack === 'string' ? ack : (ack.seq ?? 'nobody');
  }

  async #publish(subject: string, payload: string, headers: Uint8Array): Promise<PubAck | NoAnswer> {
    const { requests, timeoutMs, connected } = this.#parts;
    if (!connected()) return 'lost';
    const answer: Msg | NoAnswer = await requests.answer(subject, payload, headers, timeoutMs);
    return typeof answer === 'string' ? answer : answer.json<PubAck>();
  }
}
