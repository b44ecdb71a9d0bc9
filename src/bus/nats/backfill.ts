/** Reads a part of a stream, does not believe a replica that is behind or ahead, and asks what is kept afterwards. */
import type { Msg } from '@nats-io/nats-core';
import type { NoAnswer } from './acks.ts';
import { type Arrival, arrivalOf } from './arrival.ts';
import { lastValue, numberIn, SEQUENCE, SUBJECT } from './headers.ts';
import type { Store } from './store.ts';

export interface Place {
  readonly shard: number;
  readonly log: string;
}

export interface Range {
  /** All that the room had in (lostTo, to], ascending. */
  readonly events: readonly Arrival[];
  /** What the room had up to here may have been dropped before it was read; `from`: nothing was. */
  readonly lostTo: number;
  /** A message of the room stands at `to`. */
  readonly sawEnd: boolean;
}

/** What was there when it was read. */
interface KeptRange extends Pick<Range, 'events' | 'sawEnd'> {
  /** Messages, those that are not ours too. */
  readonly count: number;
  /** A message of the room stood at `from` when the read began. */
  readonly sawStart: boolean;
}

/** Whom messages are for. */
export interface Reader {
  wants(log: string): boolean;
  /** Ascending. `arrival` undefined: not a message of ours. */
  took(log: string, seq: number, arrival: Arrival | undefined): void;
}

export interface Part {
  readonly shard: number;
  /** A subject or a pattern. */
  readonly filter: string;
  /** Exclusive. */
  readonly from: number;
  /** Inclusive. */
  readonly to: number;
  /** Messages of one page. */
  readonly batch?: number;
}

/** How long a replica that is behind is given between two looks; later the leader is asked event by event. */
const PATIENCE_MS = [10, 40, 120, 300, 500];

interface Read {
  readonly log: string;
  readonly seq: number;
  readonly arrival: Arrival | undefined;
}

/**
 * Replicas drop by their own clocks, so one may have dropped what another has just answered with. A page is believed
 * where it begins with the message that the read stands at, or with the one that is next for the leader too.
 */
class PartRead {
  readonly #store: Store;
  readonly #part: Part;
  readonly #reader: Reader;
  /** Everything up to here has been read. */
  #cursor: number;
  /** A message stands at the beginning. */
  sawStart = false;

  constructor(store: Store, part: Part, reader: Reader) {
    this.#store = store;
    this.#part = part;
    this.#reader = reader;
    this.#cursor = part.from;
  }

  get reached(): boolean {
    return this.#cursor >= this.#part.to;
  }

  /** One page from any replica. Whether it brought the read further. */
  async page(): Promise<boolean | NoAnswer> {
    const { shard, filter, batch } = this.#part;
    const before = this.#cursor;
    let joined = false;
    const apart: Read[] = [];
    const each = (msg: Msg, text: string) => {
      const seq = numberIn(text, SEQUENCE) ?? 0;
      if (seq === before) {
        joined = true;
        this.sawStart ||= seq === this.#part.from;
      } else if (joined) this.#take(this.#read(msg, text, seq));
      else apart.push(this.#read(msg, text, seq));
    };
    const count = await this.#store.page(shard, filter, before, each, batch);
    if (typeof count === 'string') return count;
    const [first] = apart;
    if (first !== undefined) {
      const next = await this.#next();
      if (next === undefined || typeof next === 'string') return next ?? true;
      if (next.seq === first.seq) for (const read of apart) this.#take(read);
    }
    return this.#cursor > before;
  }

  /** Asks the leader for the next message of the part. */
  async more(): Promise<NoAnswer | undefined> {
    const next = await this.#next();
    return typeof next === 'string' ? next : undefined;
  }

  async #next(): Promise<Read | undefined | NoAnswer> {
    const { shard, filter, to } = this.#part;
    const next = await this.#store.next(shard, filter, this.#cursor + 1);
    if (typeof next === 'string') return next;
    if (next === undefined) this.#cursor = to;
    else this.#take(next);
    return next;
  }

  #read(msg: Msg, text: string, seq: number): Read {
    const log = lastValue(text, SUBJECT) ?? '';
    const wanted = seq <= this.#part.to && this.#reader.wants(log);
    return { log, seq, arrival: wanted ? arrivalOf(msg, text, seq) : undefined };
  }

  #take({ log, seq, arrival }: Read): void {
    if (seq <= this.#cursor) return;
    this.#cursor = seq;
    if (seq <= this.#part.to && this.#reader.wants(log)) this.#reader.took(log, seq, arrival);
  }
}

/**
 * Hands over all that is kept in a part of a stream. It is all when a message at `to` or beyond has been read, or when
 * the leader says that there is nothing more: a replica that lags answers a shorter part as if it were whole. The
 * answer is whether a message stood at the beginning.
 */
export async function readPart(
  store: Store,
  part: Part,
  reader: Reader,
  sleep: (ms: number) => Promise<void>,
): Promise<boolean | NoAnswer> {
  const read = new PartRead(store, part, reader);
  let behind = 0;
  while (!read.reached) {
    const further = await read.page();
    if (typeof further === 'string') return further;
    if (further) continue;
    if (behind > 0) await sleep(PATIENCE_MS[behind - 1] ?? 0);
    behind++;
    const failed = await read.more();
    if (failed !== undefined) return failed;
  }
  return read.sawStart;
}

/** What the room had in (from, to], and what of it may have been dropped before it was read. */
export async function readRange(
  store: Store,
  place: Place,
  { from, to, anchor }: { readonly from: number; readonly to: number; readonly anchor: number },
  sleep: (ms: number) => Promise<void>,
): Promise<Range | NoAnswer> {
  const kept = await readKept(store, place, from, to, sleep);
  if (typeof kept === 'string') return kept;
  const { events, count, sawEnd, sawStart } = kept;
  const read = { from, upTo: to, events: count, absent: sawStart ? 0 : anchor };
  const dropped = await store.droppedUpTo(place.shard, place.log, read);
  if (typeof dropped === 'string') return dropped;
  if (dropped <= from) return { events, lostTo: from, sawEnd };
  return { events: events.filter(({ seq }) => seq > dropped), lostTo: Math.min(dropped, to), sawEnd };
}

/** All that the store has of a room in (from, to], ascending. */
export async function readKept(
  store: Store,
  { shard, log }: Place,
  from: number,
  to: number,
  sleep: (ms: number) => Promise<void>,
): Promise<KeptRange | NoAnswer> {
  const events: Arrival[] = [];
  let count = 0;
  let sawEnd = false;
  const reader: Reader = {
    wants: () => true,
    took: (_log, seq, arrival) => {
      count++;
      if (arrival !== undefined) events.push(arrival);
      sawEnd ||= seq === to;
    },
  };
  const sawStart = await readPart(store, { shard, filter: log, from, to }, reader, sleep);
  return typeof sawStart === 'string' ? sawStart : { events, count, sawStart, sawEnd };
}
