/** Reads what is missing of one room, and does not believe a replica that is behind. */
import type { NoAnswer } from './acks.ts';
import { type Arrival, arrivalOf } from './arrival.ts';
import { numberIn, SEQUENCE } from './headers.ts';
import type { Store } from './store.ts';

export interface Range {
  /** All that is kept of the room in (from, to], ascending. */
  readonly events: readonly Arrival[];
  /** The event at `from` is still there: nothing between has been dropped. */
  readonly anchored: boolean;
}

/** How long a replica that is behind is given between two looks; later the leader is asked event by event. */
const PATIENCE_MS = [10, 40, 120, 300, 500];

class RangeRead {
  readonly #store: Store;
  readonly #shard: number;
  readonly #log: string;
  readonly #from: number;
  readonly #to: number;
  readonly events: Arrival[] = [];
  anchored = false;
  /** Everything up to here has been read. */
  cursor: number;

  constructor(store: Store, shard: number, log: string, from: number, to: number) {
    this.#store = store;
    this.#shard = shard;
    this.#log = log;
    this.#from = from;
    this.#to = to;
    this.cursor = from - 1;
  }

  get reached(): boolean {
    return this.cursor >= this.#to;
  }

  /** One page from any replica. 0: it has no more. */
  page(): Promise<number | NoAnswer> {
    return this.#store.page(this.#shard, this.#log, this.cursor + 1, (msg, text) => {
      const seq = numberIn(text, SEQUENCE) ?? 0;
      if (seq > this.#to || seq <= this.#from) this.#passed(seq);
      else this.#take(arrivalOf(msg, text, seq), seq);
    });
  }

  /** Whether the leader has more of the range; if so, its next event is taken. */
  async more(): Promise<boolean | NoAnswer> {
    const next = await this.#store.next(this.#shard, this.#log, Math.max(this.cursor, this.#from) + 1);
    if (typeof next === 'string') return next;
    if (next === undefined || next.seq > this.#to) return false;
    this.#take(next, next.seq);
    return true;
  }

  #take(arrival: Arrival | undefined, seq: number): void {
    if (arrival !== undefined && seq > this.cursor) this.events.push(arrival);
    this.cursor = Math.max(this.cursor, seq);
  }

  #passed(seq: number): void {
    if (seq === this.#from) this.anchored = true;
    this.cursor = Math.max(this.cursor, seq);
  }
}

/**
 * All that the store has of a room in (from, to]. It is all when an event at `to` or beyond has been read, or when
 * the leader says that there is nothing more: a replica that lags answers a shorter range as if it were whole.
 */
export async function readRange(
  store: Store,
  place: { readonly shard: number; readonly log: string },
  from: number,
  to: number,
  sleep: (ms: number) => Promise<void>,
  wantAnchor = true,
): Promise<Range | NoAnswer> {
  const read = new RangeRead(store, place.shard, place.log, from, to);
  const failed = await readAll(read, sleep);
  if (failed !== undefined) return failed;
  if (read.anchored || !wantAnchor || from === 0) return { events: read.events, anchored: read.anchored };
  const anchor = await store.next(place.shard, place.log, from);
  if (typeof anchor === 'string') return anchor;
  return { events: read.events, anchored: anchor?.seq === from };
}

async function readAll(read: RangeRead, sleep: (ms: number) => Promise<void>): Promise<NoAnswer | undefined> {
  let behind = 0;
  while (!read.reached) {
    const count = await read.page();
    if (typeof count === 'string') return count;
    if (count > 0) continue;
    if (behind > 0) await sleep(PATIENCE_MS[behind - 1] ?? 0);
    behind++;
    const more = await read.more();
    if (typeof more === 'string') return more;
    if (!more) break;
  }
  return undefined;
}
