/** Fills the holes of feeds from the store: room by room, or with one reading of the stream when there are many. */
import type { NoAnswer } from './acks.ts';
import type { Arrival } from './arrival.ts';
import { type Range, type Reader, readPart, readRange } from './backfill.ts';
import type { Env } from './env.ts';
import type { Feed } from './feed.ts';
import type { Hole } from './gaprule.ts';
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
    const job = jobOf(feed);
    if (job === undefined) return [];
    this.fills++;
    const { store, sleep } = this.#parts;
    const place = { shard: shard.number, log: feed.log };
    const part = { from: job.from, to: job.hole.to, anchor: job.anchor };
    const range = await shard.reads.run(() => readRange(store, place, part, sleep));
    if (typeof range === 'string') return [feed];
    this.#filled(job, range);
    return [];
  }

  #filled(job: Job, { events, lostTo, sawEnd }: Range): void {
    if (!job.current) return;
    const { feed, hole } = job;
    this.events += events.length;
    if (lostTo > job.from) this.#lost(feed, lostTo);
    const last = Math.max(events.at(-1)?.seq ?? 0, lostTo);
    feed.filled(events, last);
    // Somebody has taken it out of the stream alone, which no limit does.
    if (hole.event && !sawEnd && last < hole.to) this.#lost(feed, hole.to);
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

  /** One reading of the whole stream for many rooms. Gives back what has to be tried again. */
  async #sweep(shard: Shard, feeds: readonly Feed[]): Promise<Feed[]> {
    const jobs = new Map<string, Job>();
    for (const feed of feeds) {
      const job = jobOf(feed);
      if (job !== undefined) jobs.set(feed.log, job);
    }
    if (jobs.size === 0) return [];
    this.sweeps++;
    const { store, logs, sleep } = this.#parts;
    const all = [...jobs.values()];
    const part = {
      shard: shard.number,
      filter: logs(shard.number),
      from: Math.min(...all.map(({ from }) => from)) - 1,
      to: Math.max(...all.map(({ hole }) => hole.to)),
      batch: SWEEP_BATCH,
    };
    const reader: Reader = {
      wants: (log) => jobs.has(log),
      took: (log, seq, arrival) => jobs.get(log)?.took(seq, arrival),
    };
    const read = await shard.reads.run(() => readPart(store, part, reader, sleep));
    if (typeof read === 'string') return [...feeds];
    const again: Feed[] = [];
    await eachOf(all, async (job) => {
      const range = await this.#judge(shard, job, part.to);
      if (typeof range === 'string') again.push(job.feed);
      else this.#filled(job, range);
    });
    return again;
  }

  async #judge(shard: Shard, job: Job, upTo: number): Promise<Range | NoAnswer> {
    const { feed, from, hole, seen, sawStart, sawEnd, anchor } = job;
    const read = { from, upTo, events: seen, absent: sawStart ? 0 : anchor };
    const dropped = await this.#parts.store.droppedUpTo(shard.number, feed.log, read);
    if (typeof dropped === 'string') return dropped;
    const lostTo = Math.min(Math.max(from, dropped), hole.to);
    return { events: job.events.filter(({ seq }) => seq > lostTo), lostTo, sawEnd };
  }
}

/** A hole that is being filled. */
class Job {
  readonly feed: Feed;
  readonly hole: Hole;
  /** Nothing of the room is missing up to here. */
  readonly from: number;
  readonly anchor: number;
  readonly events: Arrival[] = [];
  /** Messages of the room that were read, those after the hole as well. */
  seen = 0;
  /** A message of the room stands at `from`, or at the end of the hole. */
  sawStart = false;
  sawEnd = false;
  readonly #rule: NonNullable<Feed['rule']>;

  constructor(feed: Feed, rule: NonNullable<Feed['rule']>, hole: Hole) {
    this.feed = feed;
    this.hole = hole;
    // A quiet room's last event may lie far back in the stream; what is known to hold nothing of it is not read.
    this.from = feed.sure < hole.to ? Math.max(hole.from, feed.sure) : hole.from;
    this.anchor = rule.anchor;
    this.#rule = rule;
  }

  /** false: the feed was opened anew meanwhile. */
  get current(): boolean {
    return this.feed.rule === this.#rule;
  }

  took(seq: number, arrival: Arrival | undefined): void {
    this.sawStart ||= seq === this.from;
    if (seq <= this.from) return;
    this.seen++;
    if (seq > this.hole.to) return;
    this.sawEnd ||= seq === this.hole.to;
    if (arrival !== undefined) this.events.push(arrival);
  }
}

function jobOf(feed: Feed): Job | undefined {
  const { rule } = feed;
  const hole = rule?.hole;
  return rule === undefined || hole === undefined ? undefined : new Job(feed, rule, hole);
}
