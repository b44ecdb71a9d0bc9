/** Questions about a room's past that its ring cannot answer yet: one read of the store serves all who wait. */
import type { Fault } from '../../broker/ports.ts';
import type { Feed } from './feed.ts';
import { type Loaded, type LoadParts, loadAll, loadSince } from './loads.ts';
import { isBeyond, isForeign } from './retention.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';

/** What has to be known before an answer can be given. */
export type Need = { readonly since: number } | 'all' | { readonly strange: number };

export interface Question {
  /**
   * Answers if it can; else what it needs. `beyond`: whether its position is known to be none of the stream;
   * undefined: not asked yet.
   */
  answer(feed: Feed, ring: Ring, beyond: boolean | undefined): Need | undefined;
  refuse(fault: Fault): void;
}

interface Asked {
  readonly question: Question;
  need: Need;
  rounds: number;
  beyond: boolean | undefined;
}

/** A load may be overtaken by what happens in the room; so often it is tried, and as often when NATS is silent. */
const ROUNDS = 4;
const PAUSE_MS = 250;
/** How long an event that exists is waited for. */
const ARRIVAL_MS = 2000;
/** Thousands wait for one read after a node has died: what their answers may take of one turn of the loop. */
const TURN_MS = 2;
/** Questions about one room that wait at once, at some 200 bytes each. */
const WAITING_MAX = 20_000;

export const SILENT: Fault = {
  ok: false,
  code: 'unavailable',
  reason: 'the store of the room does not answer',
  retryAfterMs: 1000,
};
export const NOT_OPEN: Fault = {
  ok: false,
  code: 'unavailable',
  reason: 'the room is not open here',
  retryAfterMs: 1000,
};
const TOO_MANY: Fault = {
  ok: false,
  code: 'overloaded',
  reason: 'too many wait for the past of this room',
  retryAfterMs: 1000,
  limit: WAITING_MAX,
};

export interface QuestionParts extends LoadParts {
  readonly logs: (shard: number) => string;
  readonly missing: (shard: Shard, feed: Feed) => void;
}

export class Questions {
  readonly #parts: QuestionParts;
  /** Of each room that something is being read for. */
  readonly #open = new Map<Feed, Asked[]>();
  loads = 0;

  constructor(parts: QuestionParts) {
    this.#parts = parts;
  }

  /** true: it waits for what is being read for others. */
  ask(shard: Shard, feed: Feed, need: Need, question: Question): boolean {
    const asked = { question, need, rounds: 0, beyond: undefined };
    const waiting = this.#open.get(feed);
    if (waiting === undefined) {
      const all = [asked];
      this.#open.set(feed, all);
      void this.#serve(shard, feed, all);
      return false;
    }
    if (waiting.length < WAITING_MAX) waiting.push(asked);
    else question.refuse(TOO_MANY);
    return true;
  }

  /** Who comes meanwhile is in the next round, together with whom this one could not answer. */
  async #serve(shard: Shard, feed: Feed, asked: Asked[]): Promise<void> {
    while (asked.length > 0) {
      const met = await this.#meet(shard, feed, [...asked]).catch((error: unknown) => {
        this.#parts.log.error({ err: error, stream: shard.stream }, 'reading the store has failed');
        return false;
      });
      if (!met) await this.#parts.sleep(PAUSE_MS);
      await this.#answer(feed, asked);
    }
    this.#open.delete(feed);
  }

  async #answer(feed: Feed, asked: Asked[]): Promise<void> {
    const { ticks, timers } = this.#parts;
    let from = ticks();
    for (const one of asked.splice(0)) {
      if (ticks() - from > TURN_MS) {
        await new Promise<void>((turn) => timers.soon(turn));
        from = ticks();
      }
      if (!this.#answered(feed, one)) asked.push(one);
    }
  }

  #answered(feed: Feed, one: Asked): boolean {
    const { ring, rule } = feed;
    try {
      if (ring === undefined || rule === undefined) {
        one.question.refuse(NOT_OPEN);
        return true;
      }
      ring.expire(this.#parts.now());
      const need = one.question.answer(feed, ring, one.beyond);
      if (need === undefined) return true;
      one.need = need;
      one.rounds++;
      if (one.rounds < ROUNDS) return false;
      one.question.refuse(SILENT);
    } catch (error) {
      this.#parts.log.error({ err: error }, 'whoever asked for the past of a room has thrown');
    }
    return true;
  }

  /** Reads once what all of them need together. false: NATS does not answer. */
  async #meet(shard: Shard, feed: Feed, asked: readonly Asked[]): Promise<boolean> {
    const { ring } = feed;
    if (ring === undefined) return true;
    const deepest = deepestOf(asked);
    const loaded = deepest === undefined || (await this.load(shard, feed, ring, deepest)) === 'loaded';
    const strange = asked.filter(({ need }) => strangeOf(need) > 0);
    const further = strange.filter(({ need }) => strangeOf(need) > ring.last);
    const behind = strange.filter(({ need }) => strangeOf(need) <= ring.last);
    return (await this.#behind(shard, feed, behind)) && (await this.#further(shard, feed, further)) && loaded;
  }

  load(
    shard: Shard,
    { ref, log }: Pick<Feed, 'ref' | 'log'>,
    ring: Ring,
    from: number | 'all',
  ): Promise<Loaded> {
    this.loads++;
    const room = { ref, log, ring };
    return from === 'all' ? loadAll(this.#parts, shard, room) : loadSince(this.#parts, shard, room, from);
  }

  /**
   * Those who are at a place where the room has no event. Rightly, if the stream keeps none before it: then there may
   * have been one, or the room was empty, or its node was told to pass over it.
   */
  async #behind(shard: Shard, feed: Feed, behind: readonly Asked[]): Promise<boolean> {
    if (behind.length === 0) return true;
    const oldest = await this.#parts.store.oldest(shard.number, feed.log);
    if (typeof oldest === 'string') return false;
    for (const one of behind) one.beyond = isForeign(strangeOf(one.need), oldest);
    return true;
  }

  /** Those who are further than this node: on a node that has received more, or in a stream that is no more. */
  async #further(shard: Shard, feed: Feed, further: readonly Asked[]): Promise<boolean> {
    if (further.length === 0) return true;
    const { store, sleep, logs, missing } = this.#parts;
    const head = await store.last(shard.number, logs(shard.number));
    if (typeof head === 'string') return false;
    const tail = await store.last(shard.number, feed.log);
    if (typeof tail === 'string') return false;
    for (const one of further) one.beyond = isBeyond(strangeOf(one.need), tail.seq, head.seq);
    if (further.every(({ beyond }) => beyond)) return true;
    if (feed.rule?.exists(tail.seq) !== true) {
      if (!feed.doubted) feed.assured(head.seq);
      return true;
    }
    missing(shard, feed);
    await Promise.race([new Promise<boolean>((seen) => feed.whenSeen(tail.seq, seen)), sleep(ARRIVAL_MS)]);
    return true;
  }
}

/** 0: it is not. */
function strangeOf(need: Need): number {
  return typeof need === 'object' && 'strange' in need ? need.strange : 0;
}

/** undefined: nobody needs a load. */
function deepestOf(asked: readonly Asked[]): number | 'all' | undefined {
  let deepest: number | undefined;
  for (const { need } of asked) {
    if (need === 'all') return 'all';
    if ('since' in need) deepest = Math.min(deepest ?? need.since, need.since);
  }
  return deepest;
}
