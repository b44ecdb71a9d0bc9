/** Replay and history of durable rooms: from the ring whenever it has the answer, else from the store through it. */
import type {
  Fault,
  HistoryPage,
  HistoryQuery,
  ReplayPage,
  ReplaySince,
  RoomRef,
} from '../../broker/ports.ts';
import type { HistoryPolicy } from '../../broker/settings.ts';
import { historyAnswer } from '../answers.ts';
import type { Page } from '../tail.ts';
import type { Feed } from './feed.ts';
import type { Places } from './place.ts';
import { type Need, NOT_OPEN, type Question, type QuestionParts, Questions, SILENT } from './questions.ts';
import { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import type { RoomSubjects } from './subject.ts';

/** A visit is tried so often when NATS is silent. */
const ROUNDS = 4;
const PAUSE_MS = 250;
/** Reads of one stream that may wait at once: with 2 reading at a time and 5 ms each, the last waits for 1 s. */
const WAITING_MAX = 500;

const TOO_MANY: Fault = {
  ok: false,
  code: 'overloaded',
  reason: 'too many want to read the store at once',
  retryAfterMs: 1000,
  limit: WAITING_MAX,
};

/** How often memory had the answer, the store was read for it, or another's read was waited for. */
class Answers {
  memory = 0;
  store = 0;
  shared = 0;

  late(shared: boolean): void {
    if (shared) this.shared++;
    else this.store++;
  }
}

export class Reading {
  readonly #parts: QuestionParts;
  readonly #places: Places;
  readonly #questions: Questions;
  /** Rooms that are not open here, while their past is read. */
  readonly #visits = new Map<string, Promise<Ring | Fault>>();
  readonly replays = new Answers();
  readonly histories = new Answers();

  constructor(parts: QuestionParts, places: Places) {
    this.#places = places;
    this.#parts = parts;
    this.#questions = new Questions(parts);
  }

  get loads(): number {
    return this.#questions.loads;
  }

  replay(
    feed: Feed | undefined,
    shard: Shard,
    since: ReplaySince,
    page: Page,
    done: (result: ReplayPage | Fault) => void,
  ): void {
    if (feed?.ring === undefined || feed.rule === undefined) {
      done(NOT_OPEN);
      return;
    }
    const answer = (from: Feed, ring: Ring, beyond: boolean | undefined): Need | undefined => {
      const found = replayFrom(ring, from, since, page, beyond);
      if (!('ok' in found)) return found.need;
      done(found);
      return undefined;
    };
    this.#ask(this.replays, shard, feed, feed.ring, { answer, refuse: done });
  }

  history(
    ref: RoomRef,
    policy: HistoryPolicy,
    subjects: RoomSubjects,
    shard: Shard,
    query: HistoryQuery,
    done: (result: HistoryPage | Fault) => void,
  ): void {
    const feed = shard.feeds.get(subjects.log);
    if (feed?.ring === undefined || feed.rule === undefined) {
      this.#visited(ref, policy, subjects, shard, query, done);
      return;
    }
    const answer = ({ epoch }: Feed, ring: Ring): Need | undefined => {
      const need = historyNeed(ring, query);
      if (need === undefined) done(historyAnswer(ring, epoch, query));
      return need;
    };
    this.#ask(this.histories, shard, feed, feed.ring, { answer, refuse: done });
  }

  /** Out of memory before this returns, if it can be. */
  #ask(answers: Answers, shard: Shard, feed: Feed, ring: Ring, question: Question): void {
    ring.expire(this.#parts.now());
    const need = question.answer(feed, ring, undefined);
    if (need === undefined) answers.memory++;
    else if (shard.reads.waiting >= WAITING_MAX) question.refuse(TOO_MANY);
    else answers.late(this.#questions.ask(shard, feed, need, question));
  }

  /** A room that is not open here: its past is read for this one question, and those that come meanwhile. */
  #visited(
    ref: RoomRef,
    policy: HistoryPolicy,
    subjects: RoomSubjects,
    shard: Shard,
    query: HistoryQuery,
    done: (result: HistoryPage | Fault) => void,
  ): void {
    let visit = this.#visits.get(ref.key);
    if (visit === undefined && shard.reads.waiting >= WAITING_MAX) {
      done(TOO_MANY);
      return;
    }
    this.histories.late(visit !== undefined);
    visit ??= this.#begin(ref, policy, subjects, shard);
    visit
      .then((ring) => (ring instanceof Ring ? historyAnswer(ring, shard.epoch, query) : ring))
      .catch((error: unknown) => {
        this.#parts.log.error({ err: error }, 'reading the store has failed');
        return SILENT;
      })
      .then(done);
  }

  #begin(ref: RoomRef, policy: HistoryPolicy, subjects: RoomSubjects, shard: Shard): Promise<Ring | Fault> {
    const visit = this.#visit(ref, policy, subjects, shard).finally(() => this.#visits.delete(ref.key));
    this.#visits.set(ref.key, visit);
    return visit;
  }

  async #visit(
    ref: RoomRef,
    policy: HistoryPolicy,
    subjects: RoomSubjects,
    shard: Shard,
  ): Promise<Ring | Fault> {
    for (let round = 0; round < ROUNDS; round++) {
      if (round > 0) await this.#parts.sleep(PAUSE_MS);
      const place = await this.#places.find(shard, subjects.log);
      if (place === undefined || shard.epoch === '') continue;
      const ring = new Ring(policy, { events: 0, bytes: 0 }, place.position);
      const loaded = await this.#questions.load(shard, { ref, log: subjects.log }, ring, 'all');
      if (loaded === 'loaded') return ring;
    }
    return SILENT;
  }
}

type Answer = ReplayPage | { readonly need: Need };

/** `beyond` as in `Question`. */
function replayFrom(
  ring: Ring,
  feed: Feed,
  since: ReplaySince,
  page: Page,
  beyond: boolean | undefined,
): Answer {
  const { epoch } = feed;
  if ('last' in since) {
    const enough = ring.complete || ring.length >= since.last;
    return enough ? ring.newest(since.last, epoch, page) : { need: 'all' };
  }
  const { seq } = since;
  if (since.epoch === epoch && beyond !== true) {
    const strange = isStrange(ring, feed.sure, seq, beyond !== undefined);
    return strange ? { need: { strange: seq } } : replayAfter(ring, epoch, seq, page);
  }
  return ring.complete ? ring.all(seq, 'epoch', epoch, page) : { need: 'all' };
}

/** A position that the node cannot have given out: another one may have, or the stream has lost its end since. */
function isStrange(ring: Ring, sure: number, seq: number, asked: boolean): boolean {
  if (seq > ring.last && seq > sure) return true;
  if (asked) return false;
  return seq > ring.last ? !ring.complete || ring.length > 0 : ring.lacks(seq);
}

function replayAfter(ring: Ring, epoch: string, seq: number, page: Page): Answer {
  if (seq >= ring.floor) return ring.since(seq, epoch, page);
  return ring.complete ? ring.all(seq, 'retention', epoch, page) : { need: { since: seq } };
}

/** undefined: the ring has the answer. */
function historyNeed(ring: Ring, { before, after, limit }: HistoryQuery): Need | undefined {
  if (ring.complete) return undefined;
  if (after !== undefined) return after >= ring.floor ? undefined : { since: after };
  const end = before === undefined ? ring.length : (ring.tail?.after(before - 1) ?? 0);
  return end > limit ? undefined : 'all';
}
