/** Durable rooms: everything around the streams, put together. */
import type { NatsConnection } from '@nats-io/nats-core';
import type {
  Fault,
  HistoryPage,
  HistoryQuery,
  Publication,
  ReplayPage,
  ReplaySince,
  RoomRef,
  RoomSink,
  Settle,
  ShardHealth,
  Skip,
} from '../../broker/ports.ts';
import type { HistoryPolicy } from '../../broker/settings.ts';
import { withNotice } from '../../broker/wait-notice.ts';
import type { Ledger, Page } from '../tail.ts';
import { Requests } from './acks.ts';
import { Audits } from './audit.ts';
import { dial, follow } from './connection.ts';
import { CursorStore } from './cursor-store.ts';
import { Epochs } from './epochs.ts';
import { passingEvent } from './events.ts';
import type { FeedHost } from './feed.ts';
import { Feeds } from './feeds.ts';
import { Fills } from './fills.ts';
import type { Meta } from './headers.ts';
import { Marks } from './marks.ts';
import type { DurableParts } from './parts.ts';
import { Places } from './place.ts';
import { type GateEvents, Publisher, type Send } from './publisher.ts';
import { attempt, Publishing } from './publishing.ts';
import { Reading } from './reading.ts';
import { Shard } from './shard.ts';
import { Store } from './store.ts';
import { roomStreams, Streams } from './streams.ts';
import type { RoomSubjects } from './subject.ts';
import { Watch } from './watch.ts';
import { Witnesses } from './witnesses.ts';

/** A missing stream of cursors is not created more often than this: somebody may be deleting it on purpose. */
const RECREATE_MS = 5000;

export class Durable {
  readonly #parts: DurableParts;
  readonly #shards: readonly Shard[];
  readonly #ledger: Ledger = { events: 0, bytes: 0 };
  /** Carries bulk reads: eight of them at once have made a server drop the connection they shared with live events. */
  readonly #replay: NatsConnection;
  readonly #requests: Requests;
  readonly #reads: Requests;
  readonly #fills: Fills;
  readonly #audits: Audits;
  readonly #epochs: Epochs;
  readonly #publisher: Publisher;
  readonly #publishing: Publishing;
  readonly #feeds: Feeds;
  readonly #store: Store;
  readonly #reading: Reading;
  readonly #watch: Watch;
  readonly #witnesses: Witnesses;
  /** undefined: no room keeps cursors. */
  readonly cursors: CursorStore | undefined;
  #replayConnected = true;
  #evicted = 0;

  /** Throws when the streams do not fit, or cannot be made. */
  static async start(parts: DurableParts): Promise<Durable> {
    const { env, options, subjects, node, connection, retention } = parts;
    const streams = new Streams(connection, options, roomStreams(options, retention), parts.wider);
    await streams.ensured(options.startTimeoutMs, env);
    const replay = await dial(`carillon ${node} replay`, subjects.inbox(`${node}-replay`), options, env);
    const durable = new Durable(parts, replay, streams);
    const unanswered = () =>
      durable.#shards
        .filter(({ epoch }) => epoch === '')
        .map(({ stream }) => stream)
        .join(', ');
    const wait = {
      what: 'the leaders of the streams',
      why: () => `no answer from ${unanswered()}`,
      fix: 'look at the servers of NATS: nats server report jetstream',
    };
    await withNotice(wait, { log: env.log, alarm: env.timers.after }, () =>
      Promise.all(durable.#shards.map((shard) => durable.#epochs.check(shard))),
    );
    const unknown = durable.#shards.filter(({ epoch }) => epoch === '');
    if (unknown.length === 0) return durable;
    await durable.close();
    throw new Error(`NATS does not answer for ${unknown.map(({ stream }) => stream).join(', ')}`);
  }

  private constructor(parts: DurableParts, replay: NatsConnection, streams: Streams) {
    this.#parts = parts;
    this.#replay = replay;
    const { env, connection, subjects, options, node, connected } = parts;
    const logs = (shard: number) => subjects.logs(shard);
    this.#shards = Array.from(
      { length: options.shards },
      (_, number) => new Shard(number, subjects.stream(number), options.readsPerShard),
    );
    this.#requests = new Requests(connection, subjects.inbox(node), env, parts.outlet);
    this.#reads = new Requests(replay, subjects.inbox(`${node}-replay`), env);
    const bothConnected = () => connected() && this.#replayConnected;
    const store = new Store({
      leaders: this.#requests,
      replicas: this.#reads,
      subjects,
      leadersThere: connected,
      replicasThere: () => this.#replayConnected,
    });
    this.#store = store;
    this.cursors = parts.retention.cursors ? this.#cursors(streams, bothConnected) : undefined;
    const kept = { store, logs };
    const missing: Fills['want'] = (shard, feed) => this.#fills.want(shard, feed);
    this.#fills = new Fills({ ...env, ...kept, ...options });
    const epochs = this.#epochsOf(streams, store);
    const audits = new Audits({ ...env, store, logs, missing, epochs });
    const publisher = new Publisher(options.shards, options, this.#send(), this.#gates(), env);
    const places = new Places(store, logs, env);
    const common = { ...env, connection, subjects, options, places, audits, epochs, publisher, node };
    this.#publishing = new Publishing(common);
    this.#feeds = new Feeds({ ...common, host: this.#host(), ledger: this.#ledger, connected });
    this.#reading = new Reading({ ...env, ...kept, missing }, places);
    this.#watch = new Watch({ ...common, shards: this.#shards });
    this.#witnesses = new Witnesses({ ...common, outlet: parts.outlet, shards: this.#shards, connected });
    this.#audits = audits;
    this.#epochs = epochs;
    this.#publisher = publisher;
    this.#followReplay();
  }

  /** Something accepted is not answered yet. */
  get busy(): boolean {
    return !this.#publisher.idle || this.#publishing.waiting > 0;
  }

  get rooms(): number {
    return this.#feeds.size;
  }

  has(subjects: RoomSubjects): boolean {
    return this.#shard(subjects).feeds.has(subjects.log);
  }

  /** Closes a room without members to make place for another; false: there is none. */
  release(): boolean {
    return this.#feeds.release(this.#shards);
  }

  open(ref: RoomRef, history: HistoryPolicy, subjects: RoomSubjects, sink: RoomSink): void {
    this.#feeds.open(ref, history, subjects, this.#shard(subjects), sink);
  }

  shut(subjects: RoomSubjects): void {
    this.#feeds.shut(subjects, this.#shard(subjects));
  }

  publish(publication: Publication, subjects: RoomSubjects, settle: Settle): void {
    this.#publishing.publish(publication, subjects, this.#shard(subjects), settle);
  }

  /** Hands an ephemeral event to the room, if it is open here; gives the room's epoch. */
  passed(ref: RoomRef, subjects: RoomSubjects, meta: Meta, payload: string, skip: Skip | undefined): string {
    const shard = this.#shard(subjects);
    shard.feeds.get(subjects.log)?.passed(passingEvent(ref, meta, payload, skip));
    return shard.epoch;
  }

  replay(
    subjects: RoomSubjects,
    since: ReplaySince,
    page: Page,
    done: (result: ReplayPage | Fault) => void,
  ): void {
    const shard = this.#shard(subjects);
    this.#reading.replay(shard.feeds.get(subjects.log), shard, since, page, done);
  }

  history(
    ref: RoomRef,
    policy: HistoryPolicy,
    subjects: RoomSubjects,
    query: HistoryQuery,
    done: (result: HistoryPage | Fault) => void,
  ): void {
    this.#reading.history(ref, policy, subjects, this.#shard(subjects), query, done);
  }

  /** The connection for publishes broke: what was on its way is tried again when it is back. */
  lost(): void {
    for (const shard of this.#shards) {
      shard.hold();
      for (const feed of shard.feeds.values()) feed.doubt();
    }
    this.#requests.lost();
  }

  back(): void {
    this.#watch.back();
    this.#witnesses.tell();
  }

  /** Says to the others what they may have to know when this node is gone. */
  leaving(): void {
    this.#witnesses.tell();
  }

  sweep(): void {
    this.#publisher.sweep();
    this.#feeds.expire(this.#shards);
    const { historyTotalBytes } = this.#parts.limits;
    if (this.#ledger.bytes > historyTotalBytes)
      this.#evicted += this.#feeds.evict(() => this.#ledger.bytes <= historyTotalBytes);
  }

  /** What does not work as it should, in words for people. */
  trouble(): string | undefined {
    const closed = this.#publisher.closed;
    if (closed.length > 0)
      return `no publishes are taken by ${closed.map((shard) => this.#stream(shard)).join(', ')}`;
    return this.#replayConnected ? undefined : 'the connection for history is away';
  }

  figures(): Record<string, number> {
    return {
      rooms: this.#feeds.size,
      history_events: this.#ledger.events,
      history_bytes: this.#ledger.bytes,
      history_evicted_rooms: this.#evicted,
      replays_memory: this.#reading.replays.memory,
      replays_store: this.#reading.replays.store,
      replays_shared: this.#reading.replays.shared,
      histories_memory: this.#reading.histories.memory,
      histories_store: this.#reading.histories.store,
      histories_shared: this.#reading.histories.shared,
      history_loads: this.#reading.loads,
      store_pages: this.#store.pages,
      inflight: this.#publisher.inflight,
      queued: this.#publisher.queued,
      queued_bytes: this.#publisher.queuedBytes,
      closed_streams: this.#publisher.closed.length,
      publish_retries: this.#publisher.retries,
      publish_duplicates: this.#publishing.duplicates,
      publish_unseen: this.#publishing.waiting,
      backfills: this.#fills.fills,
      backfill_sweeps: this.#fills.sweeps,
      backfill_events: this.#fills.events,
      backfill_pending: this.#fills.pending,
      gaps: this.#fills.lost,
      audits: this.#audits.runs,
      audit_found: this.#audits.found,
      epoch_changes: this.#epochs.changes,
      rollbacks: this.#epochs.rollbacks,
      replay_connected: this.#replayConnected ? 1 : 0,
    };
  }

  shards(): ShardHealth[] {
    const { env, options } = this.#parts;
    const begun = env.ticks() + options.publishTimeoutMs;
    return this.#publisher.lanes.map(({ unanswered, until }) => ({
      unanswered,
      lagMs: until === undefined ? 0 : Math.max(0, begun - until),
    }));
  }

  async close(): Promise<void> {
    this.#watch.stop();
    this.#witnesses.stop();
    this.#fills.close();
    this.#audits.close();
    this.#publisher.close();
    this.#feeds.close(this.#shards);
    this.#requests.close();
    this.#reads.close();
    await this.#replay.close();
  }

  #send(): Send {
    const { connected, options } = this.#parts;
    return (outgoing, answered) => {
      if (connected()) attempt(this.#requests, outgoing, options.ackTimeoutMs, answered);
      else answered('lost');
    };
  }

  #gates(): GateEvents {
    const { log } = this.#parts.env;
    return {
      closed: (shard, why) => log.warn({ stream: this.#stream(shard), why }, 'the stream takes no publishes'),
      opened: (shard, afterMs) =>
        log.info(
          { stream: this.#stream(shard), afterMs: Math.round(afterMs) },
          'the stream takes publishes again',
        ),
    };
  }

  #epochsOf(streams: Streams, store: Store): Epochs {
    const { env, node, options, subjects, connected, retention } = this.#parts;
    const marks = new Marks({
      store,
      requests: this.#requests,
      subjects,
      timeoutMs: options.ackTimeoutMs,
      connected,
    });
    const changed = (shard: Shard) => this.#feeds.reopen(shard);
    return new Epochs({ ...env, store, marks, streams, node, markMs: retention.ageMs, changed });
  }

  #cursors(streams: Streams, connected: () => boolean): CursorStore {
    const { options, subjects, env } = this.#parts;
    let triedAt = Number.NEGATIVE_INFINITY;
    return new CursorStore({
      leaders: this.#requests,
      replicas: this.#reads,
      stream: subjects.cursorStream,
      timeoutMs: options.ackTimeoutMs,
      connected,
      epochOf: (shard) => this.#shards[shard]?.epoch ?? '',
      missing: () => {
        if (env.ticks() - triedAt < RECREATE_MS) return;
        triedAt = env.ticks();
        streams.recreate(subjects.cursorStream).then(
          (outcome) => env.log.warn({ outcome }, 'nobody answered for the stream of cursors'),
          (error: unknown) => env.log.error({ err: error }, 'the stream of cursors cannot be looked at'),
        );
      },
    });
  }

  #followReplay(): void {
    follow(this.#replay, 'replay', this.#parts.env, {
      lost: () => {
        this.#replayConnected = false;
        this.#reads.lost();
      },
      back: () => {
        this.#replayConnected = true;
      },
    });
  }

  #host(): FeedHost {
    const shardOf = (number: number) => this.#shards[number] as Shard;
    return {
      now: () => this.#parts.env.now(),
      missing: (feed) => this.#fills.want(shardOf(feed.shard), feed),
      skipOf: (meta) => this.#publishing.skipOf(meta),
    };
  }

  #shard({ shard }: RoomSubjects): Shard {
    return this.#shards[shard] as Shard;
  }

  #stream(shard: number): string {
    return this.#parts.subjects.stream(shard);
  }
}
