/** Reads what is missing of one room, and does not believe a replica that is behind. */
import type { NoAnswer } from './acks.ts';
import { type Arrival, arrivalOf } from './arrival.ts';
import { numberIn, SEQUENCE } from './headers.ts';
import type { Store } from './store.ts';

export interface Range {
  /** All that the room had in (lostTo, to], ascending. */
  readonly events: readonly Arrival[];
  /** What the room had up to here may have been dropped before it was read; `from`: nothing was. */
  readonly lostTo: number;
}

/** How long a replica that is behind is given between two looks; later the leader is asked event by event. */
const PATIENCE_MS = [10, 40, 120, 300, 500];

class RangeRead {
  readonly #store: Store;
  readonly #shard: number;
  readonly #log: string;
  readonly #to: number;
  readonly events: Arrival[] = [];
  /** Everything up to here has been read. */
  cursor: number;

  constructor(store: Store, shard: number, log: string, from: number, to: number) {
    this.#store = store;
    this.#shard = shard;
    this.#log = log;
    this.#to = to;
    this.cursor = from;
  }

  get reached(): boolean {
    return this.cursor >= this.#to;
  }

  /** One page from any replica. 0: it has no more. */
  page(): Promise<number | NoAnswer> {
    return this.#store.page(this.#shard, this.#log, this.cursor + 1, (msg, text) => {
      const seq = numberIn(text, SEQUENCE) ?? 0;
      this.#take(seq > this.#to ? undefined : arrivalOf(msg, text, seq), seq);
    });
  }

  /** Whether the leader has more of the range; if so, its next event is taken. */
  async more(): Promise<boolean | NoAnswer> {
    const next = await this.#store.next(this.#shard, this.#log, this.cursor + 1);
    if (typeof next === 'string') return next;
    if (next === undefined || next.seq > this.#to) return false;
    this.#take(next, next.seq);
    return true;
  }

  #take(arrival: Arrival | undefined, seq: number): void {
    if (arrival !== undefined && seq > this.cursor) this.events.push(arrival);
    this.cursor = Math.max(this.cursor, seq);
  }
}

/** What the room had in (from, to], and what of it may have been dropped before it was read. */
export async function readRange(
  store: Store,
  place: { readonly shard: number; readonly log: string },
  from: number,
  to: number,
  sleep: (ms: number) => Promise<void>,
): Promise<Range | NoAnswer> {
  const events = await readKept(store, place, from, to, sleep);
  if (typeof events === 'string') return events;
  const read = { from, upTo: to, events: events.length };
  const dropped = await store.droppedUpTo(place.shard, place.log, read);
  if (typeof dropped === 'string') return dropped;
  if (dropped <= from) return { events, lostTo: from };
  return { events: events.filter(({ seq }) => seq > dropped), lostTo: Math.min(dropped, to) };
}

/**
 * All that the store has of a room in (from, to]. It is all when an event at `to` or beyond has been read, or when
 * the leader says that there is nothing more: a replica that lags answers a shorter range as if it were whole.
 */
export async function readKept(
  store: Store,
  place: { readonly shard: number; readonly log: string },
  from: number,
  to: number,
  sleep: (ms: number) => Promise<void>,
): Promise<readonly Arrival[] | NoAnswer> {
  const read = new RangeRead(store, place.shard, place.log, from, to);
  return (await readAll(read, sleep)) ?? read.events;
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
