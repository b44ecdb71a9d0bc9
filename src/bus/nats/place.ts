import type { Env } from './env.ts';
import { positionOfEmpty } from './retention.ts';
import type { Shard } from './shard.ts';
import { type Store, TAILS_MAX } from './store.ts';

/** Where a room stands in its stream. */
export interface Place {
  /** The position before the next event. */
  readonly position: number;
  /** The room has no events in (position, sure]. */
  readonly sure: number;
  /** The room has no events that are kept. */
  readonly empty: boolean;
}

interface Asked {
  readonly log: string;
  readonly found: (place: Place | undefined) => void;
}

/** Fewer are asked for one by one: that is one answer of the leader instead of two, one after the other. */
const TOGETHER_FROM = 8;

/**
 * Finds out where rooms stand, as the leader of their stream knows it; many that are asked for at once are answered
 * together. 100,000 rooms one by one would take the leaders half a minute.
 */
export class Places {
  readonly #store: Store;
  readonly #logs: (shard: number) => string;
  readonly #env: Env;
  readonly #asked = new Map<Shard, Asked[]>();

  constructor(store: Store, logs: (shard: number) => string, env: Env) {
    this.#store = store;
    this.#logs = logs;
    this.#env = env;
  }

  /** undefined: NATS has not answered. Whatever was subscribed to before is known to the leader by then. */
  find(shard: Shard, log: string): Promise<Place | undefined> {
    return new Promise((found) => {
      const asked = this.#asked.get(shard);
      if (asked !== undefined) {
        asked.push({ log, found });
        return;
      }
      this.#asked.set(shard, [{ log, found }]);
      queueMicrotask(() => void this.#serve(shard));
    });
  }

  /** Who asks while others are being answered is answered next, together with all who have come by then. */
  async #serve(shard: Shard): Promise<void> {
    const asked = this.#asked.get(shard) ?? [];
    while (asked.length > 0) {
      const batch = asked.splice(0, TAILS_MAX);
      const places = await this.#look(shard, batch).catch((error: unknown) => {
        this.#env.log.error({ err: error, stream: shard.stream }, 'the positions of rooms are not known');
        return [];
      });
      // No answer: those behind would only wait their time-out one after the other.
      if (places.length === 0) batch.push(...asked.splice(0));
      for (const [at, { found }] of batch.entries()) found(places[at]);
    }
    this.#asked.delete(shard);
  }

  async #look(shard: Shard, batch: readonly Asked[]): Promise<readonly (Place | undefined)[]> {
    if (batch.length < TOGETHER_FROM) return Promise.all(batch.map(({ log }) => this.#one(shard, log)));
    const logs = batch.map(({ log }) => log);
    const tails = await this.#store.tailsNow(shard.number, this.#logs(shard.number), logs, this.#env.sleep);
    if (tails === undefined) return [];
    shard.saw(tails.head);
    const all = logs.every((log) => tails.seqs.has(log));
    const empty = all ? undefined : await this.#empty(shard, tails.head);
    return logs.map((log) => {
      const seq = tails.seqs.get(log);
      return seq === undefined ? empty : { position: seq, sure: Math.max(seq, tails.head), empty: false };
    });
  }

  async #one(shard: Shard, log: string): Promise<Place | undefined> {
    const { seen } = shard;
    const tail = await this.#store.last(shard.number, log);
    if (typeof tail === 'string') return undefined;
    if (tail.seq === 0) {
      const counted = await this.#store.count(shard.number, log);
      if (typeof counted === 'string') return undefined;
      return this.#empty(shard, counted.count === 0 ? Math.max(seen, counted.lastSeq) : seen);
    }
    shard.saw(tail.seq);
    return { position: tail.seq, sure: Math.max(tail.seq, seen), empty: false };
  }

  /** Not before any position that the room ever had, and the same for all nodes as long as the stream drops nothing. */
  async #empty(shard: Shard, sure: number): Promise<Place | undefined> {
    const state = await this.#store.state(shard.number);
    if (typeof state === 'string') return undefined;
    const position = positionOfEmpty(state.firstSeq);
    return { position, sure: Math.max(position, sure), empty: true };
  }
}
