/** Fills the holes of feeds from the store: room by room, or with one reading of the stream when there are many. */
import type { NoAnswer } from './acks.ts';
import { type Arrival, arrivalOf } from './arrival.ts';
import { type Range, readRange } from './backfill.ts';
import type { Env } from './env.ts';
import type { Feed } from './feed.ts';
import type { Hole } from './gaprule.ts';
import { lastValue, numberIn, SEQUENCE, SUBJECT } from './headers.ts';
import type { Shard } from './shard.ts';
import { eachOf } from './slots.ts';
import type { Store } from './store.ts';

export interface FillParts extends Env {
  readonly store: Store;
  readonly logs: (shard: number) => string;
  readonly readsPerShard: number;
  readonly sweepFrom: number;
}

const RETRY_MS = 250;
const SWEEP_BATCH = 1000;

export class Fills {
  readonly #parts: FillParts;
  readonly #wanted = new Map<Shard, Set<Feed>>();
  readonly #active = new Map<Shard, number>();
  readonly #busy = new Set<Feed>();
  #closed = false;
  fills = 0;
  sweeps = 0;
  events = 0;
  lost = 0;

  constructor(parts: FillParts) {
    this.#parts = parts;
  }

  get pending(): number {
    let count = this.#busy.size;
    for (const feeds of this.#wanted.values()) count += feeds.size;
    return count;
  }

  /** The feed has a hole. Calling it again while it is being filled is harmless. */
  want(shard: Shard, feed: Feed): void {
    if (this.#busy.has(feed)) return;
    let feeds = this.#wanted.get(shard);
    if (feeds === undefined) {
      feeds = new Set();
      this.#wanted.set(shard, feeds);
    }
    feeds.add(feed);
    this.#pump(shard, feeds);
  }

  close(): void {
    this.#closed = true;
    this.#wanted.clear();
  }

  #pump(shard: Shard, feeds: Set<Feed>): void {
    while (!this.#closed && feeds.size > 0 && (this.#active.get(shard) ?? 0) < this.#parts.readsPerShard) {
      const many = feeds.size >= this.#parts.sweepFrom;
      const taken = many ? [...feeds] : [[...feeds][0] as Feed];
      for (const feed of taken) {
        feeds.delete(feed);
        this.#busy.add(feed);
      }
      this.#run(shard, feeds, taken);
    }
  }

  #run(shard: Shard, feeds: Set<Feed>, taken: Feed[]): void {
    this.#active.set(shard, (this.#active.get(shard) ?? 0) + 1);
    const work = taken.length > 1 ? this.#sweep(shard, taken) : this.#fill(shard, taken[0] as Feed);
    work
      .catch((error: unknown) => {
        this.#parts.log.error({ err: error, stream: shard.stream }, 'filling a gap has failed');
        return taken;
      })
      .then(async (again) => {
        if (again.length > 0) await this.#parts.sleep(RETRY_MS);
        for (const feed of taken) {
          this.#busy.delete(feed);
          if (shard.feeds.get(feed.log) === feed && feed.rule?.hole) feeds.add(feed);
        }
        this.#active.set(shard, (this.#active.get(shard) ?? 1) - 1);
        this.#pump(shard, feeds);
      });
  }

  /** Gives back what has to be tried again. */
  async #fill(shard: Shard, feed: Feed): Promise<Feed[]> {
    const { rule } = feed;
    const hole = rule?.hole;
    if (hole === undefined) return [];
    this.fills++;
    const from = startOf(feed, hole);
    const { store, sleep } = this.#parts;
    const range = await shard.reads.run(() =>
      readRange(store, { shard: shard.number, log: feed.log }, from, hole.to, sleep),
    );
    if (typeof range === 'string') return [feed];
    if (feed.rule === rule) this.#filled(feed, hole, from, range);
    return [];
  }

  #filled(feed: Feed, hole: Hole, from: number, { events, lostTo }: Range): void {
    this.events += events.length;
    if (lostTo > from) this.#lost(feed, lostTo);
    const last = Math.max(events.at(-1)?.seq ?? 0, lostTo);
    feed.filled(events, last);
    // Somebody has taken it out of the stream alone, which no limit does.
    if (hole.event && last < hole.to) this.#lost(feed, hole.to);
    feed.filled([], hole.to);
  }

  #lost(feed: Feed, to: number): void {
    this.lost++;
    this.#parts.log.warn(
      { room: feed.ref.name, tenant: feed.ref.tenant, from: feed.rule?.last, to },
      'events were dropped by the stream before this node could read them',
    );
    feed.lost(to);
  }

  /** One reading of the whole stream for many rooms. Those that it has not brought to the end are given back. */
  async #sweep(shard: Shard, feeds: readonly Feed[]): Promise<Feed[]> {
    const jobs = new Map<string, SweepJob>();
    for (const feed of feeds) {
      const hole = feed.rule?.hole;
      if (hole !== undefined) jobs.set(feed.log, new SweepJob(feed, hole));
    }
    if (jobs.size === 0) return [];
    this.sweeps++;
    const from = Math.min(...[...jobs.values()].map((job) => job.from));
    const to = Math.max(...[...jobs.values()].map((job) => job.hole.to));
    const reached = await shard.reads.run(() => this.#readAll(shard, jobs, from, to));
    if (typeof reached === 'string') return [...feeds];
    const again: Feed[] = [];
    await eachOf([...jobs.values()], async (job) => {
      const range = job.hole.to > reached ? 'lost' : await this.#judge(shard, job, reached);
      if (!job.current) return;
      if (typeof range === 'string') again.push(job.feed);
      else this.#filled(job.feed, job.hole, job.from, range);
    });
    return again;
  }

  async #judge(shard: Shard, { feed, from, hole, seen, events }: SweepJob, reached: number) {
    const read = { from, upTo: reached, events: seen };
    const dropped = await this.#parts.store.droppedUpTo(shard.number, feed.log, read);
    if (typeof dropped === 'string') return dropped;
    const lostTo = Math.min(Math.max(from, dropped), hole.to);
    return { events: events.filter(({ seq }) => seq > lostTo), lostTo };
  }

  /** How far it came: a replica that is behind ends early. */
  async #readAll(
    shard: Shard,
    jobs: ReadonlyMap<string, SweepJob>,
    from: number,
    to: number,
  ): Promise<number | NoAnswer> {
    const { store, logs } = this.#parts;
    let cursor = from;
    while (cursor < to) {
      const count = await store.page(
        shard.number,
        logs(shard.number),
        cursor + 1,
        (msg, text) => {
          const seq = numberIn(text, SEQUENCE) ?? 0;
          cursor = Math.max(cursor, seq);
          jobs.get(lastValue(text, SUBJECT) ?? '')?.take(seq, () => arrivalOf(msg, text, seq));
        },
        SWEEP_BATCH,
      );
      if (typeof count === 'string') return count;
      if (count === 0) break;
    }
    return cursor;
  }
}

class SweepJob {
  readonly feed: Feed;
  readonly hole: Hole;
  readonly from: number;
  readonly events: Arrival[] = [];
  /** Events of the room that were read, those after the hole as well. */
  seen = 0;
  readonly #rule: Feed['rule'];

  constructor(feed: Feed, hole: Hole) {
    this.feed = feed;
    this.hole = hole;
    this.from = startOf(feed, hole);
    this.#rule = feed.rule;
  }

  /** false: the feed was opened anew meanwhile. */
  get current(): boolean {
    return this.feed.rule === this.#rule;
  }

  take(seq: number, arrival: () => Arrival | undefined): void {
    if (seq <= this.from) return;
    this.seen++;
    if (seq > this.hole.to) return;
    const taken = arrival();
    if (taken !== undefined) this.events.push(taken);
  }
}

/** A quiet room's last event may lie far back in the stream; what is known to hold nothing of it is not read. */
function startOf(feed: Feed, hole: Hole): number {
  return feed.sure < hole.to ? Math.max(hole.from, feed.sure) : hole.from;
}
