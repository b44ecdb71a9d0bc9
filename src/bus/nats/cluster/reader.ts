/** What is asked of the stream of the stores: of its leader, who knows the truth, and of any replica. */
import type { Msg } from '@nats-io/nats-core';
import type { NoAnswer, Requests } from '../acks.ts';
import { readDirect } from '../direct.ts';
import { headerText, lastValue, numberIn, payloadText, SEQUENCE, SUBJECT } from '../headers.ts';
import { askLeader, NO_MESSAGE, NO_STREAM } from '../jetstream.ts';
import type { ClusterSubjects } from './names.ts';

/** One message of the stream. */
export interface Change {
  readonly seq: number;
  readonly store: string;
  readonly key: string;
  /** The value as JSON; empty: deleted. */
  readonly text: string;
  readonly expiresAt: number | undefined;
}

export interface StreamState {
  readonly created: string;
  readonly lastSeq: number;
}

const BATCH = 512;
const PAGE_BYTES = 1024 * 1024;

/** Milliseconds since 1970, after which a value is no more. */
export const EXPIRES = '\r\nCr-Expires: ';

export class StateReader {
  readonly #requests: Requests;
  readonly #subjects: ClusterSubjects;

  constructor(requests: Requests, subjects: ClusterSubjects) {
    this.#requests = requests;
    this.#subjects = subjects;
  }

  async state(): Promise<StreamState | 'missing' | NoAnswer> {
    const answer = await this.#leader('STREAM.INFO', {});
    if (typeof answer === 'string') return answer;
    if (answer.error?.err_code === NO_STREAM) return 'missing';
    if (answer.created === undefined || answer.state === undefined) return 'nobody';
    return { created: answer.created, lastSeq: answer.state.last_seq };
  }

  /** The first change from this place on; undefined: there is none. */
  next(seq: number): Promise<Change | undefined | NoAnswer> {
    return this.#message({ seq, next_by_subj: this.#subjects.kept });
  }

  /** The place of the newest change of an entry; 0: there is none. */
  async last(store: string, key: string): Promise<number | NoAnswer> {
    const change = await this.#message({ last_by_subj: this.#subjects.entry(store, key) });
    return typeof change === 'string' ? change : (change?.seq ?? 0);
  }

  /** The changes from this place on as far as one answer goes: how many. None may only mean a replica that is behind. */
  async page(seq: number, each: (change: Change) => void): Promise<number | NoAnswer> {
    let count = 0;
    const request = { seq, next_by_subj: this.#subjects.kept, batch: BATCH, max_bytes: PAGE_BYTES };
    const end = await readDirect(this.#requests, this.#subjects.stream, request, (msg, text) => {
      count++;
      const change = this.#change(lastValue(text, SUBJECT) ?? '', text, payloadText(msg));
      if (change !== undefined) each(change);
    });
    if (typeof end === 'string') return end;
    return end.status === 204 || end.status === 404 ? count : 'nobody';
  }

  /** As the stream republishes it. */
  live(msg: Msg): Change | undefined {
    const { subject } = msg;
    return this.#change(subject, headerText(msg, subject.length), payloadText(msg));
  }

  #change(
    subject: string,
    headers: string,
    text: string,
    seq = numberIn(headers, SEQUENCE),
  ): Change | undefined {
    const named = this.#subjects.named(subject);
    if (named === undefined || seq === undefined) return undefined;
    return { ...named, seq, text, expiresAt: numberIn(headers, EXPIRES) };
  }

  async #message(request: object): Promise<Change | undefined | NoAnswer> {
    const answer = await this.#leader('STREAM.MSG.GET', request);
    if (typeof answer === 'string') return answer;
    if (answer.error?.err_code === NO_MESSAGE) return undefined;
    if (answer.message === undefined) return 'nobody';
    const { subject, seq, hdrs = '', data = '' } = answer.message;
    const headers = Buffer.from(hdrs, 'base64').toString('latin1');
    return this.#change(subject, headers, Buffer.from(data, 'base64').toString(), seq);
  }

  #leader(call: 'STREAM.INFO' | 'STREAM.MSG.GET', request: object) {
    return askLeader(this.#requests, call, this.#subjects.stream, request);
  }
}
