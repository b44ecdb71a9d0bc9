/** What can be asked of the streams: of their leaders, who know the truth, and of any replica, which is cheaper. */
import type { NoAnswer, Requests } from './acks.ts';
import type { Arrival } from './arrival.ts';
import { type Each, type ReadEnd, readDirect } from './direct.ts';
import { decodeMeta, lastValue, numberIn, SEQUENCE, SUBJECT } from './headers.ts';
import type { Kept } from './identity.ts';
import { type ApiAnswer, askLeader, NO_MESSAGE, NO_STREAM, type StoredMessage } from './jetstream.ts';
import { droppedUpTo, GROWN_AT } from './retention.ts';
import type { Subjects } from './subject.ts';

const BATCH = 256;
const PAGE_BYTES = 1024 * 1024;
const TAILS_BYTES = 4 * 1024 * 1024;
/** A replica that is behind is given so many chances to have caught up. */
const STALE_RETRIES = 4;
const STALE_WAIT_MS = 100;

export interface StreamState {
  /** As the server writes it: with the name it makes the epoch. */
  readonly created: string;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Places between the two that are empty. */
  readonly deleted: number;
  /** What the stream keeps of a room at most; -1: no limit. */
  readonly perSubject: number;
  /** As in `Remains`. */
  readonly grownAt: number;
}

/** What was read of a room: everything after `from`, up to `upTo`. */
export interface RoomRead {
  readonly from: number;
  readonly upTo: number;
  /** How many events there were. */
  readonly events: number;
  /** As in `Remains`. */
  readonly absent: number;
}

/** A message that the leader has; `arrival` undefined: it is not one of ours. */
export interface NextMessage {
  readonly seq: number;
  readonly log: string;
  readonly arrival: Arrival | undefined;
}

/** `seq` 0: there is none. */
export interface LastMessage {
  readonly seq: number;
  readonly subject?: string;
}

/** The newest event of each room that has one, by log subject. */
export interface Tails {
  readonly seqs: ReadonlyMap<string, number>;
  /** Everything up to here has been looked at; undefined where nothing was found at all. */
  readonly upTo: number | undefined;
}

export interface StoreParts {
  readonly leaders: Requests;
  readonly replicas: Requests;
  readonly subjects: Subjects;
  /** Whether each of them is connected: what is asked while it is not, is answered at once, as lost. */
  readonly leadersThere: () => boolean;
  readonly replicasThere: () => boolean;
}

/** Told of each of them, with its headers; of some more than once. */
export type EachTail = (log: string, seq: number, text: string) => void;

export class Store {
  readonly #leaders: Requests;
  readonly #replicas: Requests;
  readonly #subjects: Subjects;
  readonly #leadersThere: () => boolean;
  readonly #replicasThere: () => boolean;
  readonly #runningState = new Map<number, Promise<unknown>>();
  readonly #nextState = new Map<number, Promise<StreamState | 'missing' | NoAnswer>>();

  /** Pages asked for so far. */
  pages = 0;

  constructor({ leaders, replicas, subjects, leadersThere, replicasThere }: StoreParts) {
    this.#leaders = leaders;
    this.#replicas = replicas;
    this.#subjects = subjects;
    this.#leadersThere = leadersThere;
    this.#replicasThere = replicasThere;
  }

  /** The newest message under a subject or pattern, by the leader. */
  async last(shard: number, filter: string): Promise<LastMessage | NoAnswer> {
    const message = await this.message(shard, { last_by_subj: filter, no_hdr: true });
    if (typeof message === 'string') return message;
    return message === undefined ? { seq: 0 } : { seq: message.seq, subject: message.subject };
  }

  /** The first message under a subject or pattern from this place on, by the leader. */
  async next(shard: number, filter: string, seq: number): Promise<NextMessage | undefined | NoAnswer> {
    const message = await this.message(shard, { seq: Math.max(1, seq), next_by_subj: filter });
    if (message === undefined || typeof message === 'string') return message;
    const meta = decodeMeta(headersOf(message));
    const arrival = meta && { seq: message.seq, meta, payload: payloadOf(message) };
    return { seq: message.seq, log: message.subject, arrival };
  }

  /** The place of the room's oldest event that is kept, by the leader; undefined: none is. */
  async oldest(shard: number, log: string): Promise<number | undefined | NoAnswer> {
    const message = await this.message(shard, { seq: 1, next_by_subj: log, no_hdr: true });
    return message === undefined || typeof message === 'string' ? message : message.seq;
  }

  /** What stands at this place, by the leader; undefined: nothing any more, or not yet. */
  async kept(shard: number, seq: number): Promise<Kept | undefined | NoAnswer> {
    const message = await this.message(shard, { seq });
    if (message === undefined || typeof message === 'string') return message;
    return { subject: message.subject, time: message.time, text: headersOf(message) };
  }

  /** What a request of `STREAM.MSG.GET` names, by the leader; undefined: there is none. */
  async message(shard: number, request: object): Promise<StoredMessage | undefined | NoAnswer> {
    const answer = await this.#leader('STREAM.MSG.GET', shard, request);
    if (typeof answer === 'string') return answer;
    if (answer.error !== undefined) return answer.error.err_code === NO_MESSAGE ? undefined : 'nobody';
    return answer.message ?? 'nobody';
  }

  /**
   * By the leader, as it is after this call: callers that come while one question is under way share the next one.
   */
  state(shard: number): Promise<StreamState | 'missing' | NoAnswer> {
    const waiting = this.#nextState.get(shard);
    if (waiting !== undefined) return waiting;
    const running = this.#runningState.get(shard) ?? Promise.resolve();
    const next = running.then(() => {
      this.#nextState.delete(shard);
      const asked = this.#askState(shard);
      this.#runningState.set(shard, asked);
      return asked;
    });
    this.#nextState.set(shard, next);
    return next;
  }

  async #askState(shard: number): Promise<StreamState | 'missing' | NoAnswer> {
    const answer = await this.#leader('STREAM.INFO', shard, {});
    if (typeof answer === 'string') return answer;
    if (answer.error?.err_code === NO_STREAM) return 'missing';
    return stateIn(answer) ?? 'nobody';
  }

  /**
   * The stream has dropped no event of the room after this place, as its leader knows it now, when `read` has been read.
   * One question that many share says so for most rooms; the others are asked for one by one.
   */
  async droppedUpTo(
    shard: number,
    log: string,
    { from, upTo, events, absent }: RoomRead,
  ): Promise<number | NoAnswer> {
    const state = await this.state(shard);
    if (state === 'missing') return 'nobody';
    if (typeof state === 'string') return state;
    const atMost = events + Math.max(0, state.lastSeq - upTo);
    const together = droppedUpTo({ ...state, atMost, absent });
    if (together <= from) return together;
    const oldest = await this.oldest(shard, log);
    if (typeof oldest === 'string') return oldest;
    return oldest !== undefined && oldest <= from ? from : this.#droppedUpTo(shard, log, oldest, absent);
  }

  /** The count first, then the first place: events that go between the two answers were counted. */
  async #droppedUpTo(shard: number, log: string, oldest: number | undefined, absent: number) {
    const counted = await this.count(shard, log);
    if (typeof counted === 'string') return counted;
    const state = await this.state(shard);
    if (state === 'missing') return 'nobody';
    if (typeof state === 'string') return state;
    const dropped = droppedUpTo({ ...state, atMost: counted.count, oldest: oldest ?? 0, absent });
    // Nothing is kept of it, and what there was did not go by a limit.
    return Number.isFinite(dropped) ? dropped : state.lastSeq;
  }

  /** How many events of the room are kept; `lastSeq` is the stream's, from before they were counted. By the leader. */
  async count(
    shard: number,
    log: string,
  ): Promise<{ readonly count: number; readonly lastSeq: number } | NoAnswer> {
    const info = await this.#leader('STREAM.INFO', shard, { subjects_filter: log });
    if (typeof info === 'string') return info;
    if (info.state === undefined) return 'nobody';
    return { count: info.state.subjects?.[log] ?? 0, lastSeq: info.state.last_seq };
  }

  /**
   * Hands over messages under a subject from this place on, one page of them. The answer is how many there were:
   * fewer than a page do not mean the end, none do, as far as the replica knows.
   */
  async page(
    shard: number,
    filter: string,
    seq: number,
    each: Each,
    batch = BATCH,
  ): Promise<number | NoAnswer> {
    this.pages++;
    let count = 0;
    const request = { seq: Math.max(1, seq), next_by_subj: filter, batch, max_bytes: PAGE_BYTES };
    const end = await this.#replica(shard, request, (msg, text) => {
      count++;
      each(msg, text);
    });
    if (typeof end === 'string') return end;
    return end.status === 204 || end.status === 404 ? count : 'nobody';
  }

  /** At most `TAILS_MAX` rooms. The messages come with it, so it may take several answers. */
  async tails(shard: number, logs: readonly string[], each?: EachTail): Promise<Tails | NoAnswer> {
    const seqs = new Map<string, number>();
    for (let left = logs; ; left = left.filter((log) => !seqs.has(log))) {
      const request = { multi_last: left, max_bytes: TAILS_BYTES };
      const end = await this.#replica(shard, request, (_msg, text) => {
        const log = lastValue(text, SUBJECT) ?? '';
        const seq = numberIn(text, SEQUENCE) ?? 0;
        seqs.set(log, seq);
        each?.(log, seq, text);
      });
      if (typeof end === 'string') return end;
      if (end.status !== 204 && end.status !== 404) return 'nobody';
      if (end.pending === 0) return { seqs, upTo: end.upTo };
    }
  }

  /**
   * As `tails`, with the newest place of the stream as its leader had it at the beginning, from an answer that
   * reaches at least as far; undefined: there was none.
   */
  async tailsNow(
    shard: number,
    filter: string,
    logs: readonly string[],
    sleep: (ms: number) => Promise<void>,
    each?: EachTail,
  ): Promise<{ readonly head: number; readonly seqs: ReadonlyMap<string, number> } | undefined> {
    const head = await this.last(shard, filter);
    if (typeof head === 'string') return undefined;
    if (head.seq === 0) return { head: 0, seqs: new Map() };
    // The head stands in the list so that there is an answer at all where no room has an event.
    const names = [...new Set([...logs, head.subject ?? filter])];
    for (let attempt = 0; attempt < STALE_RETRIES; attempt++) {
      if (attempt > 0) await sleep(STALE_WAIT_MS);
      const tails = await this.tails(shard, names, each);
      if (typeof tails === 'string') return undefined;
      // Only a replica that knows the head has said anything about all events before it.
      if (tails.upTo !== undefined && tails.upTo >= head.seq) return { head: head.seq, seqs: tails.seqs };
    }
    return undefined;
  }

  #replica(shard: number, request: object, each: Each): Promise<ReadEnd | NoAnswer> {
    if (!this.#replicasThere()) return Promise.resolve('lost');
    return readDirect(this.#replicas, this.#subjects.stream(shard), request, each);
  }

  #leader(call: 'STREAM.INFO' | 'STREAM.MSG.GET', shard: number, request: object) {
    if (!this.#leadersThere()) return Promise.resolve<NoAnswer>('lost');
    return askLeader(this.#leaders, call, this.#subjects.stream(shard), request);
  }
}

function stateIn({ created, config, state }: ApiAnswer): StreamState | undefined {
  if (created === undefined || state === undefined) return undefined;
  const perSubject = config?.max_msgs_per_subject ?? -1;
  const { first_seq: firstSeq, last_seq: lastSeq, num_deleted: deleted = 0 } = state;
  const grownAt = Number(config?.metadata?.[GROWN_AT] ?? 0);
  return { created, firstSeq, lastSeq, deleted, perSubject, grownAt };
}

export function payloadOf({ data = '' }: StoredMessage): string {
  return Buffer.from(data, 'base64').toString();
}

function headersOf({ hdrs = '' }: StoredMessage): string {
  return Buffer.from(hdrs, 'base64').toString('latin1');
}

/** The server's limit of `multi_last` is 1,024. */
export const TAILS_MAX = 1000;
