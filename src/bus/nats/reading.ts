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
import { type Loadable, type Loaded, type LoadParts, loadAll, loadSince } from './loads.ts';
import type { Places } from './place.ts';
import { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import type { RoomSubjects } from './subject.ts';

/** What has to be known before an answer can be given. */
type Need = { readonly since: number } | 'all' | { readonly ahead: number };

/** A load may be overtaken by what happens in the room; so often it is tried, and as often when NATS is silent. */
const ROUNDS = 4;
const PAUSE_MS = 250;
/** Readers of one stream that may wait at once: with 2 reading at a time and 5 ms each, the last waits for 1 s. */
const WAITING_MAX = 500;
/** How long an event that exists is waited for. */
const ARRIVAL_MS = 2000;

const SILENT: Fault = {
  ok: false,
  code: 'unavailable',
  reason: 'the store of the room does not answer',
  retryAfterMs: 1000,
};
const TOO_MANY: Fault = {
  ok: false,
  code: 'overloaded',
  reason: 'too many want to read the store at once',
  retryAfterMs: 1000,
  limit: WAITING_MAX,
};
const NOT_OPEN: Fault = {
  ok: false,
  code: 'unavailable',
  reason: 'the room is not open here',
  retryAfterMs: 1000,
};

export class Reading {
  readonly #parts: LoadParts;
  readonly #logs: (shard: number) => string;
  readonly #missing: (shard: Shard, feed: Feed) => void;
  readonly #places: Places;
  /** One load of a room at a time; who comes meanwhile looks again after it. */
  readonly #loading = new Map<string, Promise<unknown>>();
  /** Rooms that are not open here, while their past is read. */
  readonly #visits = new Map<string, Promise<Ring | Fault>>();
  loads = 0;

  constructor(
    parts: LoadParts,
    logs: (shard: number) => string,
    missing: (shard: Shard, feed: Feed) => void,
    places: Places,
  ) {
    this.#places = places;
    this.#parts = parts;
    this.#logs = logs;
    this.#missing = missing;
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
    feed.ring.expire(this.#parts.now());
    const answer = replayFrom(feed.ring, feed, since, page, false);
    if ('ok' in answer) done(answer);
    else if (shard.reads.waiting >= WAITING_MAX) done(TOO_MANY);
    else this.#later(this.#replayLater(feed, shard, since, page, answer.need), done);
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
    const ring = feed?.rule === undefined ? undefined : feed.ring;
    ring?.expire(this.#parts.now());
    const need = ring === undefined ? 'all' : historyNeed(ring, query);
    if (ring !== undefined && need === undefined) done(historyAnswer(ring, shard.epoch, query));
    else if (shard.reads.waiting >= WAITING_MAX) done(TOO_MANY);
    else if (feed !== undefined && ring !== undefined && need !== undefined)
      this.#later(this.#historyLater(feed, shard, query, need), done);
    else
      this.#later(
        this.#visited(ref, policy, subjects, shard).then((visited) =>
          visited instanceof Ring ? historyAnswer(visited, shard.epoch, query) : visited,
        ),
        done,
      );
  }

  #later<T>(work: Promise<T | Fault>, done: (result: T | Fault) => void): void {
    work
      .catch((error: unknown) => {
        this.#parts.log.error({ err: error }, 'reading the store has failed');
        return SILENT;
      })
      .then(done);
  }

  async #replayLater(
    feed: Feed,
    shard: Shard,
    since: ReplaySince,
    page: Page,
    first: Need,
  ): Promise<ReplayPage | Fault> {
    let need = first;
    let beyond = false;
    for (let round = 0; round < ROUNDS; round++) {
      const met = await this.#meet(feed, shard, need);
      if (feed.ring === undefined || feed.rule === undefined) return NOT_OPEN;
      if (met === 'beyond') beyond = true;
      else if (met !== 'loaded') await this.#parts.sleep(PAUSE_MS);
      feed.ring.expire(this.#parts.now());
      const answer = replayFrom(feed.ring, feed, since, page, beyond);
      if ('ok' in answer) return answer;
      need = answer.need;
    }
    return SILENT;
  }

  async #historyLater(
    feed: Feed,
    shard: Shard,
    query: HistoryQuery,
    first: Need,
  ): Promise<HistoryPage | Fault> {
    let need: Need | undefined = first;
    for (let round = 0; round < ROUNDS && need !== undefined; round++) {
      const met = await this.#meet(feed, shard, need);
      if (feed.ring === undefined || feed.rule === undefined) return NOT_OPEN;
      if (met !== 'loaded') await this.#parts.sleep(PAUSE_MS);
      need = historyNeed(feed.ring, query);
    }
    return need === undefined && feed.ring !== undefined
      ? historyAnswer(feed.ring, feed.epoch, query)
      : SILENT;
  }

  /** 'beyond': the position is one that the stream has not reached. */
  async #meet(feed: Feed, shard: Shard, need: Need): Promise<Loaded | 'beyond'> {
    const running = this.#loading.get(feed.log);
    if (running !== undefined) {
      await running;
      return 'loaded';
    }
    const { ring } = feed;
    if (ring === undefined) return 'lost';
    const room = { ref: feed.ref, log: feed.log, ring };
    const work =
      typeof need === 'object' && 'ahead' in need
        ? this.#ahead(feed, shard, need.ahead)
        : this.#load(shard, room, need);
    this.#loading.set(
      feed.log,
      work.catch(() => undefined),
    );
    try {
      return await work;
    } finally {
      this.#loading.delete(feed.log);
    }
  }

  #load(shard: Shard, room: Loadable, need: { readonly since: number } | 'all'): Promise<Loaded> {
    this.loads++;
    return need === 'all'
      ? loadAll(this.#parts, shard, room)
      : loadSince(this.#parts, shard, room, need.since);
  }

  /** The caller was further than this node: on a node that has received more, or in a stream that is no more. */
  async #ahead(feed: Feed, shard: Shard, seq: number): Promise<Loaded | 'beyond'> {
    const { store, sleep } = this.#parts;
    const head = await store.last(shard.number, this.#logs(shard.number));
    if (typeof head === 'string') return head;
    if (seq > head.seq) return 'beyond';
    const tail = await store.last(shard.number, feed.log);
    if (typeof tail === 'string') return tail;
    if (feed.rule?.exists(tail.seq) !== true) {
      feed.sure = Math.max(feed.sure, head.seq);
      return 'loaded';
    }
    this.#missing(shard, feed);
    await Promise.race([new Promise<boolean>((seen) => feed.whenSeen(tail.seq, seen)), sleep(ARRIVAL_MS)]);
    return 'loaded';
  }

  /** A room that is not open here: its past is read for this one question. */
  #visited(ref: RoomRef, policy: HistoryPolicy, subjects: RoomSubjects, shard: Shard): Promise<Ring | Fault> {
    const running = this.#visits.get(ref.key);
    if (running !== undefined) return running;
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
      const loaded = await this.#load(shard, { ref, log: subjects.log, ring }, 'all');
      if (loaded === 'loaded') return ring;
    }
    return SILENT;
  }
}

type Answer = ReplayPage | { readonly need: Need };

/** `beyond`: the caller's position is known to be none of this epoch. */
function replayFrom(ring: Ring, feed: Feed, since: ReplaySince, page: Page, beyond: boolean): Answer {
  const { epoch } = feed;
  if ('last' in since) {
    const enough = ring.complete || ring.length >= since.last;
    return enough ? ring.newest(since.last, epoch, page) : { need: 'all' };
  }
  if (since.epoch === epoch && !beyond) return replayAfter(ring, feed, since.seq, page);
  return ring.complete ? ring.all(since.seq, 'epoch', epoch, page) : { need: 'all' };
}

function replayAfter(ring: Ring, { epoch, sure }: Feed, seq: number, page: Page): Answer {
  if (seq > ring.last && seq > sure) return { need: { ahead: seq } };
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
