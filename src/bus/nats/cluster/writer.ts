/** Changes of the stores, on their way into the stream. */
import type { Msg } from '@nats-io/nats-core';
import type { Stored, StoreEntry } from '../../../broker/cluster.ts';
import type { Replica, Row, Write } from '../../cluster/replica.ts';
import type { NoAnswer, Requests } from '../acks.ts';
import type { Link } from '../connection.ts';
import type { Env } from '../env.ts';
import { type ApiError, CONFLICTS, IN_PROCESS, type PubAck, STORE_FULL, TOO_LARGE } from '../jetstream.ts';
import { type Keeper, TRACE_MS } from './keeper.ts';
import type { ClusterSubjects } from './names.ts';
import { EXPIRES, type StateReader } from './reader.ts';

export interface WriterParts {
  readonly env: Env;
  readonly link: Link;
  readonly requests: Requests;
  readonly subjects: ClusterSubjects;
  readonly reader: StateReader;
  readonly keeper: Keeper;
  readonly replica: Replica;
  /** Of the process: makes the ids of its writes its own. */
  readonly incarnation: string;
}

const ACK_MS = 2000;
/** Longer than most elections; who changes a policy can wait for one. */
const GIVE_UP_MS = 8000;
const RETRY_MS = 100;
/** The server forgets what has expired so much later: until then it is nodes' clocks that count. */
const EXPIRY_SLACK_S = 5;

/** Not decided yet, or too much at once. */
const BUSY = new Set([IN_PROCESS, 10167]);

type Verdict = Stored | 'again' | 'conflict';

export class Writer {
  readonly #parts: WriterParts;
  #ids = 0;

  constructor(parts: WriterParts) {
    this.#parts = parts;
  }

  /** Never rejects. */
  async write(write: Write): Promise<Stored> {
    const { over } = write;
    if (over !== undefined && cannotBe(over, this.#there(write))) return { ok: false, why: 'conflict' };
    return this.#push(write, (tried) => this.#afterConflict(write, tried));
  }

  /** Only where there is nothing now, not even the trace of a deleted entry. Never rejects. */
  restore(store: string, { key, text, expiresAt }: Row): Promise<Stored> {
    return this.#push({ store, key, text, expiresAt, over: 0 }, async () => undefined);
  }

  /** The same id with every attempt: a change that was stored although its answer is lost stays one. */
  async #push(
    write: Write,
    afterConflict: (over: number | undefined) => Promise<number | undefined>,
  ): Promise<Stored> {
    const { env, link } = this.#parts;
    const until = env.ticks() + GIVE_UP_MS;
    const id = `${this.#parts.incarnation}-${++this.#ids}`;
    let over = write.over;
    while (link.connected() && env.ticks() < until) {
      const verdict = await this.#attempt(write, over, id);
      if (verdict === 'conflict') {
        over = await afterConflict(over);
        if (over === undefined) return { ok: false, why: 'conflict' };
      } else if (verdict !== 'again') return verdict;
      else await env.sleep(RETRY_MS);
    }
    return { ok: false, why: 'unavailable' };
  }

  async #attempt(write: Write, over: number | undefined, id: string): Promise<Verdict> {
    const answer = await this.#publish(write, over, id);
    if (typeof answer === 'string') {
      // Nobody takes it: an election, or the stream is gone.
      if (answer === 'nobody') void this.#parts.keeper.read();
      return 'again';
    }
    const { seq, error } = answer.json<PubAck>();
    if (error === undefined && seq !== undefined)
      return (await this.#parts.keeper.reached(seq))
        ? { ok: true, revision: seq }
        : { ok: false, why: 'unavailable' };
    return this.#judge(error);
  }

  #judge(error: ApiError | undefined): Verdict {
    const code = error?.err_code ?? 0;
    if (CONFLICTS.has(code)) return 'conflict';
    if (BUSY.has(code) || error?.code === 503) return 'again';
    if (code === TOO_LARGE) return { ok: false, why: 'too_large' };
    this.#parts.env.log.warn({ error }, 'the stream of the stores refuses a change');
    return { ok: false, why: STORE_FULL.has(code) ? 'full' : 'unavailable' };
  }

  /**
   * A conflict is one only if there is an entry: for the server, the trace of a deleted one and an expired one that
   * it has not swept yet are entries too. Gives the place to try next, after this node knows what was there first.
   */
  async #afterConflict(write: Write, over: number | undefined): Promise<number | undefined> {
    const last = await this.#parts.reader.last(write.store, write.key);
    if (typeof last === 'string') return over;
    await this.#parts.keeper.reached(last);
    return write.over === 0 && this.#there(write) === undefined ? last : undefined;
  }

  #there({ store, key }: Write): StoreEntry | undefined {
    return this.#parts.replica.store(store).get(key);
  }

  #publish(write: Write, over: number | undefined, id: string): Promise<Msg | NoAnswer> {
    const { requests, subjects, env } = this.#parts;
    const headers = headersOf(write, over, id, env.now());
    return requests.answer(subjects.entry(write.store, write.key), write.text ?? '', headers, ACK_MS);
  }
}

/**
 * Revisions only grow, and this node may lag behind: what it has not seen yet, a deletion too, the server has to say.
 * An entry that has expired here the server may still have, and would take for one.
 */
function cannotBe(over: number, there: StoreEntry | undefined): boolean {
  return over > 0 && (there === undefined || over < there.revision);
}

function headersOf(
  { text, expiresAt }: Write,
  over: number | undefined,
  id: string,
  now: number,
): Uint8Array {
  const expected = over === undefined ? '' : `\r\nNats-Expected-Last-Subject-Sequence: ${over}`;
  const left = expiresAt === undefined ? undefined : Math.ceil((expiresAt - now) / 1000) + EXPIRY_SLACK_S;
  const ttl = text === undefined ? TRACE_MS / 1000 : left;
  const lives = ttl === undefined ? '' : `\r\nNats-TTL: ${Math.max(1, ttl)}s`;
  const expires = expiresAt === undefined ? '' : `${EXPIRES}${expiresAt}`;
  return Buffer.from(`NATS/1.0\r\nNats-Msg-Id: ${id}${expected}${lives}${expires}\r\n\r\n`, 'latin1');
}
