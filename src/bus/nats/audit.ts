/**
 * Looks for lost last events. A hole shows when the next event comes, but the last event of a quiet room has no
 * next one; so after anything suspicious, and now and then without it, the tails of the open rooms are compared
 * with the store.
 */
import type { Env } from './env.ts';
import type { Epochs } from './epochs.ts';
import type { Feed } from './feed.ts';
import { tsIn } from './headers.ts';
import type { Anchor } from './identity.ts';
import { anchorOf } from './rollback.ts';
import type { Shard } from './shard.ts';
import { eachOf } from './slots.ts';
import { type EachTail, type Store, TAILS_MAX } from './store.ts';

export interface AuditParts extends Env {
  readonly store: Store;
  readonly logs: (shard: number) => string;
  /** The feed misses what its room is known to have. */
  readonly missing: (shard: Shard, feed: Feed) => void;
  readonly epochs: Epochs;
}

/** Interest takes time to spread through a cluster, and replicas to catch up: one look is not enough. */
const LOOKS_MS = [50, 1000, 3000];
/** An event may be on its way while the store is asked; only what has not come by then is missing. */
const GRACE_MS = 100;
/** After the subscription of a room has run: its interest has reached all servers by now. */
const RECHECK_MS = 250;
/** After one that got no answer. */
const RETRY_MS = 1000;

export class Audits {
  readonly #parts: AuditParts;
  readonly #soon = new Map<Shard, Set<Feed>>();
  readonly #running = new Map<Shard, Promise<void>>();
  readonly #again = new Set<Shard>();
  #closed = false;
  runs = 0;
  found = 0;
  /** When the last one ended, by the clock of `ticks`. */
  lastAt = 0;

  constructor(parts: AuditParts) {
    this.#parts = parts;
  }

  /** Something may have been missed: all open rooms of these streams are looked at, several times. */
  suspect(shards: readonly Shard[]): void {
    for (const shard of shards) for (const feed of shard.feeds.values()) feed.doubt();
    for (const ms of LOOKS_MS) {
      this.#parts.timers.after(ms, () => {
        for (const shard of shards) {
          // What was stored since the look before may have been missed as well.
          for (const feed of shard.feeds.values()) feed.doubt();
          this.look(shard);
        }
      });
    }
  }

  /** One room is looked at in a moment, together with others. */
  soon(shard: Shard, feed: Feed): void {
    const feeds = this.#soon.get(shard);
    if (feeds !== undefined) {
      feeds.add(feed);
      return;
    }
    this.#soon.set(shard, new Set([feed]));
    this.#parts.timers.after(RECHECK_MS, () => {
      const due = this.#soon.get(shard) ?? [];
      this.#soon.delete(shard);
      this.#start(
        shard,
        [...due].filter((candidate) => shard.feeds.get(candidate.log) === candidate),
      );
    });
  }

  /** All open rooms of a stream. */
  look(shard: Shard): void {
    this.#start(shard, [...shard.feeds.values()]);
  }

  close(): void {
    this.#closed = true;
  }

  /** One at a time per stream: a second one waits for the first, and sees more. */
  #start(shard: Shard, feeds: readonly Feed[]): void {
    if (this.#closed || feeds.length === 0) return;
    const before = this.#running.get(shard) ?? Promise.resolve();
    const run = before
      .then(() => this.#run(shard, feeds))
      .catch((error: unknown) =>
        this.#parts.log.error({ err: error, stream: shard.stream }, 'an audit has failed'),
      );
    this.#running.set(shard, run);
  }

  async #run(shard: Shard, feeds: readonly Feed[]): Promise<void> {
    for (let at = 0; at < feeds.length && !this.#closed; at += TAILS_MAX) {
      const part = feeds.slice(at, at + TAILS_MAX).filter(({ rule }) => rule !== undefined);
      if (part.length > 0 && !(await this.#compare(shard, part))) {
        this.#retry(shard);
        return;
      }
    }
    this.runs++;
    this.lastAt = this.#parts.ticks();
  }

  /** Whatever made the audit necessary still does. */
  #retry(shard: Shard): void {
    if (this.#again.has(shard)) return;
    this.#again.add(shard);
    this.#parts.timers.after(RETRY_MS, () => {
      this.#again.delete(shard);
      this.look(shard);
    });
  }

  /** false: NATS did not answer. */
  async #compare(shard: Shard, feeds: readonly Feed[]): Promise<boolean> {
    const { store, logs, sleep } = this.#parts;
    const looks = feeds.map((feed) => ({
      feed,
      rule: feed.rule,
      newest: feed.ring?.tail?.newest?.seq,
      doubts: feed.doubts,
    }));
    const names = feeds.map(({ log }) => log);
    const others = new Set<string>();
    const each: EachTail = (log, seq, text) => {
      if (isAnother(shard.feeds.get(log), seq, text)) others.add(log);
    };
    const tails = await shard.reads.run(() =>
      store.tailsNow(shard.number, logs(shard.number), names, sleep, each),
    );
    if (tails === undefined) return false;
    this.#doubt(shard, looks, tails.seqs, others);
    shard.saw(tails.head);
    this.#expect(shard, looks, tails.seqs);
    await eachOf(looks, (look) => this.#assure(shard, look, tails.seqs, tails.head));
    return true;
  }

  /**
   * A room without a newer event has had none, or it was dropped unheard: where the node may have missed something, and the
   * room's last event is gone as well, the stream has to have dropped nothing since the room was known.
   */
  async #assure(shard: Shard, look: Look, tails: ReadonlyMap<string, number>, head: number) {
    const { feed, rule, doubts } = look;
    const tail = tailOf(feed, tails);
    if (rule === undefined || feed.rule !== rule || tail > rule.last) return;
    if (feed.doubted && tail !== rule.last) await this.#settleDoubt(shard, look, head);
    else feed.assured(head, doubts);
  }

  async #settleDoubt(shard: Shard, { feed, rule, doubts }: Look, head: number): Promise<void> {
    const from = feed.sure;
    const read = { from, upTo: head, events: 0, absent: rule?.anchor ?? 0 };
    const dropped = await this.#parts.store.droppedUpTo(shard.number, feed.log, read);
    if (typeof dropped === 'string') return;
    // Meanwhile the room may have begun anew, got a hole that is filled, or be doubted no more.
    if (feed.rule !== rule || rule?.hole !== undefined || !feed.doubted) return;
    if (dropped > from) feed.lost(dropped);
    feed.assured(head, doubts);
  }

  /** Rooms whose newest event the stream does not have any more, or has another one in its place. */
  #doubt(
    shard: Shard,
    looks: readonly Look[],
    tails: ReadonlyMap<string, number>,
    others: ReadonlySet<string>,
  ): void {
    const now = this.#parts.now();
    let latest: Anchor | undefined;
    for (const look of looks) {
      const anchor = unlike(look, tailOf(look.feed, tails), others, now);
      if (anchor !== undefined && anchor.seq > (latest?.seq ?? 0)) latest = anchor;
    }
    if (latest === undefined) return;
    shard.held ??= latest;
    this.#parts.epochs.suspect(shard);
  }

  #expect(shard: Shard, looks: readonly Look[], tails: ReadonlyMap<string, number>): void {
    const late = looks.filter(({ feed, rule }) => rule !== undefined && tailOf(feed, tails) > rule.last);
    if (late.length === 0) return;
    this.#parts.timers.after(GRACE_MS, () => {
      for (const { feed, rule } of late) {
        // Opened anew meanwhile, maybe on another stream: the place means nothing there.
        if (rule === undefined || feed.rule !== rule || !rule.exists(tailOf(feed, tails))) continue;
        this.found++;
        this.#parts.missing(shard, feed);
      }
    });
  }
}

interface Look {
  readonly feed: Feed;
  readonly rule: Feed['rule'];
  /** The place of the newest event that the feed has in memory. */
  readonly newest: number | undefined;
  /** Its doubts when the look began. */
  readonly doubts: number;
}

/** Not the event that the room was handed from this place. */
function isAnother(feed: Feed | undefined, seq: number, text: string): boolean {
  const newest = feed?.ring?.tail?.newest;
  return newest?.seq === seq && newest.ts !== tsIn(text);
}

/** The feed's newest event, if the stream should have it and does not. */
function unlike(
  { feed, rule, newest }: Look,
  tail: number,
  others: ReadonlySet<string>,
  now: number,
): Anchor | undefined {
  if (newest === undefined || feed.rule !== rule) return undefined;
  if (tail >= newest && !others.has(feed.log)) return undefined;
  // Over its age in both, maybe.
  if (tail === 0) feed.ring?.expire(now);
  const anchor = anchorOf(feed);
  return anchor !== undefined && anchor.seq <= newest ? anchor : undefined;
}

function tailOf(feed: Feed, tails: ReadonlyMap<string, number>): number {
  return tails.get(feed.log) ?? 0;
}
