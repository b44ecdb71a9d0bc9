/** Opens and closes the feeds of durable rooms. */
import type { NatsConnection, Subscription } from '@nats-io/nats-core';
import type { Fault, RoomRef, RoomSink } from '../../broker/ports.ts';
import type { HistoryPolicy } from '../../broker/settings.ts';
import type { Ledger } from '../tail.ts';
import { arrivalOf } from './arrival.ts';
import type { Audits } from './audit.ts';
import type { Env } from './env.ts';
import type { Epochs } from './epochs.ts';
import { passingEvent } from './events.ts';
import { Feed, type FeedHost } from './feed.ts';
import { guarded } from './guard.ts';
import { decodeMeta, headerText, LAST_SEQUENCE, numberIn, payloadText, SEQUENCE } from './headers.ts';
import { Lingering } from './linger.ts';
import type { NatsOptions } from './options.ts';
import type { Place, Places } from './place.ts';
import { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import type { RoomSubjects } from './subject.ts';

export interface FeedParts extends Env {
  readonly connection: NatsConnection;
  readonly options: NatsOptions;
  readonly places: Places;
  readonly audits: Audits;
  readonly epochs: Epochs;
  readonly host: FeedHost;
  readonly ledger: Ledger;
  readonly connected: () => boolean;
}

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 500;

export class Feeds {
  readonly #parts: FeedParts;
  readonly #subscriptions = new Map<Feed, Subscription>();
  readonly #lingering: Lingering<Feed>;
  #closed = false;

  constructor(parts: FeedParts) {
    this.#parts = parts;
    this.#lingering = new Lingering(parts.options.lingerMs);
  }

  get size(): number {
    return this.#subscriptions.size;
  }

  open(ref: RoomRef, history: HistoryPolicy, subjects: RoomSubjects, shard: Shard, sink: RoomSink): void {
    const known = shard.feeds.get(subjects.log);
    if (known !== undefined) {
      if (known.sink !== undefined) throw new Error(`the room ${ref.name} is open here already`);
      this.#lingering.remove(known);
      known.taken(sink);
      return;
    }
    const feed = new Feed(ref, subjects.log, subjects.shard, this.#parts.host);
    feed.sink = sink;
    shard.feeds.set(subjects.log, feed);
    this.#subscriptions.set(feed, this.#listen(feed, shard, subjects.live));
    this.#start(shard, feed, history);
  }

  shut(subjects: RoomSubjects, shard: Shard): void {
    const feed = shard.feeds.get(subjects.log);
    if (feed?.sink === undefined) return;
    feed.vacated();
    this.#lingering.add(feed, this.#parts.ticks());
  }

  /** The stream is another one: all its feeds begin again. */
  reopen(shard: Shard): void {
    for (const feed of shard.feeds.values()) {
      const { history } = feed.ref.policy;
      if (history === undefined) continue;
      feed.reset();
      this.#start(shard, feed, history);
    }
  }

  /** Closes a room without members to make place for another; false: there is none. */
  release(shards: readonly Shard[]): boolean {
    const feed = this.#lingering.take();
    if (feed !== undefined) this.#drop(shards[feed.shard] as Shard, feed);
    return feed !== undefined;
  }

  /** Closes what nobody has come back to. */
  expire(shards: readonly Shard[]): void {
    this.#lingering.expire(this.#parts.ticks(), (feed) => this.#drop(shards[feed.shard] as Shard, feed));
  }

  /** Returns the memory of the tails of feeds, least recently opened first, until `enough`. */
  evict(enough: () => boolean): number {
    let evicted = 0;
    for (const feed of this.#subscriptions.keys()) {
      if (enough()) break;
      if (feed.ring === undefined || feed.ring.length === 0) continue;
      feed.ring.evict();
      evicted++;
    }
    return evicted;
  }

  close(shards: readonly Shard[]): void {
    this.#closed = true;
    for (const shard of shards) for (const feed of [...shard.feeds.values()]) this.#drop(shard, feed);
  }

  #drop(shard: Shard, feed: Feed): void {
    this.#lingering.remove(feed);
    this.#subscriptions.get(feed)?.unsubscribe();
    this.#subscriptions.delete(feed);
    if (shard.feeds.get(feed.log) === feed) shard.feeds.delete(feed.log);
    feed.close();
  }

  #listen(feed: Feed, shard: Shard, subject: string): Subscription {
    const { connection, host, log } = this.#parts;
    return connection.subscribe(subject, {
      callback: guarded(log, 'a message from NATS', (error, msg) => {
        if (error !== null) {
          this.#fail(shard, feed, {
            ok: false,
            code: 'internal',
            reason: 'NATS refuses the subscription of the room',
          });
          return;
        }
        const text = headerText(msg, subject.length);
        const seq = numberIn(text, SEQUENCE);
        if (seq === undefined) {
          const meta = decodeMeta(text);
          if (meta !== undefined)
            feed.passed(passingEvent(feed.ref, meta, payloadText(msg), host.skipOf(meta)));
          return;
        }
        // A stream republishes in order: is this still the same one?
        if (seq <= shard.high) this.#parts.epochs.suspect(shard);
        else shard.met(seq, text);
        const arrival = arrivalOf(msg, text, seq);
        if (arrival !== undefined) feed.arrived(numberIn(text, LAST_SEQUENCE) ?? 0, arrival);
      }),
    });
  }

  #start(shard: Shard, feed: Feed, history: HistoryPolicy): void {
    this.#begin(shard, feed, history).catch((error: unknown) => {
      this.#parts.log.error({ err: error, room: feed.ref.name }, 'opening a room has failed');
      this.#fail(shard, feed, { ok: false, code: 'internal', reason: 'the room could not be opened' });
    });
  }

  /**
   * The subscription first, then the room's position by the stream's leader: its answer also says that the
   * subscription is known there (a mere `flush` loses a tenth of what comes right after it in a cluster).
   */
  async #begin(shard: Shard, feed: Feed, history: HistoryPolicy): Promise<void> {
    const { options, ledger, audits, sleep, ticks } = this.#parts;
    let until: number | undefined;
    for (let wait = FIRST_RETRY_MS; ; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
      const { epoch } = shard;
      const place = await this.#place(shard, feed);
      if (this.#closed || shard.feeds.get(feed.log) !== feed) return;
      if (shard.epoch === epoch && place !== undefined) {
        // An epoch change while this was under way has begun another opening, which may have been faster.
        if (feed.rule !== undefined && feed.epoch === epoch) return;
        const ring = new Ring(history, ledger, place.position);
        ring.complete = place.empty;
        feed.opened(ring, epoch, place.sure);
        audits.soon(shard, feed);
        return;
      }
      // From the first answer on: in a storm of joins a room may wait longer than that for its turn.
      until ??= ticks() + options.openTimeoutMs;
      if (ticks() > until) break;
      await sleep(wait);
    }
    const reason = 'the store of the room does not answer';
    this.#fail(shard, feed, { ok: false, code: 'unavailable', reason, retryAfterMs: 2000 });
  }

  async #place(shard: Shard, feed: Feed): Promise<Place | undefined> {
    if (shard.epoch === '' || !this.#parts.connected()) return undefined;
    return this.#parts.places.find(shard, feed.log);
  }

  #fail(shard: Shard, feed: Feed, fault: Fault): void {
    feed.failed(fault);
    this.#drop(shard, feed);
  }
}
