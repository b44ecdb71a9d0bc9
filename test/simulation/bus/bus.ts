import type {
  Accepted,
  Bus,
  BusHealth,
  Clock,
  Fault,
  HistoryPage,
  HistoryQuery,
  Publication,
  ReplayPage,
  ReplaySince,
  RoomRef,
  RoomSink,
  Settle,
} from '../../../src/broker/ports.ts';
import type { Page } from '../../../src/bus/tail.ts';
import type { Rng } from '../../support/rng.ts';
import type { Mailbox } from '../mailbox.ts';
import type { Truth } from '../truth.ts';
import { simHistory, simReplay } from './answers.ts';
import { SimFeed } from './feed.ts';
import { SimLive } from './live.ts';
import type { SimStore } from './store.ts';

/** How likely a bus makes use of what its contract leaves to it. */
export interface Freedoms {
  /** An answer or an opening comes later than in the call. */
  readonly late: number;
  /** A message to another node is lost, and found to be later. */
  readonly lost: number;
  /** An opening, a read or a publish fails. */
  readonly refused: number;
  /** A publish is stored, and nobody hears of it. */
  readonly unheard: number;
  /** A feed that nobody needs is closed at once, not kept warm. */
  readonly cold: number;
}

export interface Cluster {
  readonly store: SimStore;
  readonly mailbox: Mailbox;
  readonly truth: Truth;
  readonly clock: Clock;
  readonly freedoms: Freedoms;
  readonly rng: () => Rng;
  readonly nodes: SimBus[];
}

const UNAVAILABLE: Fault = { ok: false, code: 'unavailable', reason: 'simulated', retryAfterMs: 1 };

/** One node's bus over the simulated store. Held to test/contract/bus.ts like every other. */
export class SimBus implements Bus {
  readonly kind = 'nats';
  readonly name: string;
  readonly #cluster: Cluster;
  readonly #live: SimLive;
  readonly #feeds = new Map<string, SimFeed>();
  /** Live rooms that are open or opening. */
  readonly #wanted = new Map<string, RoomSink>();
  #state: 'open' | 'draining' | 'closed' = 'open';
  #queued = 0;
  #inflight = 0;
  #busy = false;
  #idle: () => void = () => {};

  constructor(name: string, cluster: Cluster) {
    this.name = name;
    this.#cluster = cluster;
    this.#live = new SimLive(`live-${name}`, cluster.clock, cluster.truth);
    cluster.nodes.push(this);
  }

  async start(): Promise<void> {}

  async drain(_ms: number): Promise<void> {
    if (this.#state === 'open') this.#state = 'draining';
    if (this.#inflight > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  async close(): Promise<void> {
    this.kill();
  }

  /** The process is gone: nothing is answered any more. */
  kill(): void {
    this.#state = 'closed';
    this.#feeds.clear();
    this.#wanted.clear();
    const { nodes } = this.#cluster;
    if (nodes.includes(this)) nodes.splice(nodes.indexOf(this), 1);
  }

  open(ref: RoomRef, sink: RoomSink): void {
    if (this.#state === 'closed') sink.failed(UNAVAILABLE);
    else if (ref.policy.history === undefined) this.#openLive(ref, sink);
    else this.#openDurable(ref, sink);
  }

  shut(ref: RoomRef): void {
    this.#wanted.delete(ref.key);
    this.#live.shut(ref);
    const feed = this.#feeds.get(ref.key);
    if (feed?.sink === undefined) return;
    feed.sink = undefined;
    feed.settle();
    const close = () => {
      if (feed.sink === undefined && this.#feeds.get(ref.key) === feed) this.#feeds.delete(ref.key);
    };
    if (this.#chance('cold')) close();
    else this.#cluster.mailbox.post(`linger ${this.name}`, close);
  }

  publish(publication: Publication, settle: Settle): void {
    if (this.#state !== 'open') return settle(UNAVAILABLE);
    this.#inflight++;
    const settled: Settle = (outcome) => {
      if (--this.#inflight === 0) this.#idle();
      settle(outcome);
    };
    const { history } = publication.room.policy;
    if (history !== undefined && !publication.ephemeral)
      return this.#queue(() => this.#store(publication, settled));
    if (this.#queued > 0 || this.#busy || this.#chance('late'))
      return this.#queue(() => this.#pass(publication, settled));
    this.#pass(publication, settled);
  }

  replay(ref: RoomRef, since: ReplaySince, page: Page, done: (result: ReplayPage | Fault) => void): void {
    if (ref.policy.history === undefined) return done(this.#live.replay(ref, since));
    const now = (): ReplayPage | Fault => {
      const feed = this.#feeds.get(ref.key);
      if (feed?.epoch === undefined) return UNAVAILABLE;
      const { store } = this.#cluster;
      const answer = simReplay(feed, feed.log, store, since, page);
      if (answer !== 'ahead') return answer;
      feed.advance((since as { seq: number }).seq);
      const again = simReplay(feed, feed.log, store, since, page);
      return again === 'ahead' ? UNAVAILABLE : again;
    };
    const feed = this.#feeds.get(ref.key);
    const ahead = feed !== undefined && 'seq' in since && since.seq > feed.last;
    this.#answer(ahead, now, done);
  }

  history(ref: RoomRef, query: HistoryQuery, done: (result: HistoryPage | Fault) => void): void {
    if (ref.policy.history === undefined) {
      done({ ok: true, epoch: this.#live.epoch, events: [], more: false, truncated: false });
      return;
    }
    const { store } = this.#cluster;
    this.#answer(
      false,
      () => {
        const feed = this.#feeds.get(ref.key);
        if (feed?.epoch === undefined) return simHistory(store.log(ref), store.epoch, 0, store.seq, query);
        return simHistory(feed.log, feed.epoch, feed.floor, feed.last, query);
      },
      done,
    );
  }

  keeps(room: RoomRef): boolean {
    return room.policy.history !== undefined;
  }

  health(): BusHealth {
    return {
      state: this.#state === 'closed' ? 'down' : 'up',
      detail: this.#state === 'open' ? '' : this.#state,
      figures: { rooms: this.#feeds.size },
    };
  }

  /** Everything that a feed has not been told yet, it is told now. */
  audit(): void {
    this.noticeEpoch();
    for (const feed of [...this.#feeds.values()])
      if (feed.epoch !== undefined) feed.advance(Number.MAX_VALUE);
  }

  /** The stream may be another one: all its feeds begin again. */
  noticeEpoch(): void {
    for (const feed of [...this.#feeds.values()]) {
      if (feed.epoch === undefined || feed.epoch === this.#cluster.store.epoch) continue;
      feed.reset();
      this.#begin(feed);
    }
  }

  /** Some feed breaks for good. */
  breakFeed(): void {
    const open = [...this.#feeds.values()].filter(({ sink }) => sink !== undefined);
    if (open.length > 0) this.#fail(this.#cluster.rng().pick(open));
  }

  /** Messages of live rooms from other nodes have passed this node by. */
  missLive(ref: RoomRef): void {
    this.#live.missed(ref);
  }

  /** The store has taken an event. */
  heard(ref: RoomRef, seq: number): void {
    const { store, mailbox } = this.#cluster;
    const feed = this.#feeds.get(ref.key);
    if (feed?.epoch !== store.epoch) return;
    const { epoch } = feed;
    const lost = this.#chance('lost');
    if (!lost) feed.came.add(seq);
    mailbox.post(lost ? `audit ${this.name}` : `feed ${this.name} ${ref.key}`, () => {
      if (this.#feeds.get(ref.key) === feed && feed.epoch === epoch) feed.advance(seq);
    });
  }

  /** A publication that another node has passed on. */
  passed(publication: Publication): void {
    const { history } = publication.room.policy;
    if (history === undefined) this.#live.publish(publication);
    else this.#passToFeed(publication);
  }

  #openLive(ref: RoomRef, sink: RoomSink): void {
    if (this.#wanted.has(ref.key)) throw new Error(`the room ${ref.name} is open here already`);
    this.#wanted.set(ref.key, sink);
    const open = () => {
      if (this.#wanted.get(ref.key) === sink) this.#live.open(ref, sink);
    };
    if (this.#chance('late')) this.#cluster.mailbox.post(`open ${this.name} ${ref.key}`, open);
    else open();
  }

  #openDurable(ref: RoomRef, sink: RoomSink): void {
    const known = this.#feeds.get(ref.key);
    if (known === undefined) {
      const feed = new SimFeed(ref, this.#cluster.store.log(ref), sink, this.#cluster.truth);
      this.#feeds.set(ref.key, feed);
      return this.#begin(feed);
    }
    if (known.sink !== undefined) throw new Error(`the room ${ref.name} is open here already`);
    known.sink = sink;
    if (known.epoch !== undefined) sink.opened({ epoch: known.epoch, seq: known.last });
  }

  #begin(feed: SimFeed): void {
    const open = () => {
      if (this.#feeds.get(feed.ref.key) !== feed || feed.epoch !== undefined) return;
      if (this.#chance('refused')) return this.#fail(feed);
      const { store } = this.#cluster;
      const log = store.log(feed.ref);
      const empty = log.kept === log.events.length;
      feed.opened(log, store.epoch, empty ? Math.max(log.last, store.dropped) : log.last);
    };
    if (this.#chance('late')) this.#cluster.mailbox.post(`open ${this.name} ${feed.ref.key}`, open);
    else open();
  }

  #fail(feed: SimFeed): void {
    if (this.#feeds.get(feed.ref.key) === feed) this.#feeds.delete(feed.ref.key);
    feed.reset();
    const { sink } = feed;
    feed.sink = undefined;
    sink?.failed(UNAVAILABLE);
  }

  /** In order, like everything on one connection to the store. */
  #queue(task: () => void): void {
    this.#queued++;
    this.#cluster.mailbox.post(`publish ${this.name}`, () => {
      this.#queued--;
      if (this.#state !== 'closed' || this.#cluster.rng().chance(0.5)) task();
    });
  }

  #store(publication: Publication, settle: Settle): void {
    if (this.#chance('refused')) return settle(UNAVAILABLE);
    const { store, mailbox, nodes } = this.#cluster;
    const { room, skip } = publication;
    const { seq, duplicate } = store.accept(publication);
    const { epoch } = store;
    const feed = this.#feeds.get(room.key);
    if (!duplicate && skip !== undefined && feed?.epoch === epoch) feed.skips.set(seq, skip);
    if (!duplicate) for (const node of nodes) node.heard(room, seq);
    const accepted = { ok: true, epoch, seq, duplicate } as const;
    mailbox.post(`ack ${this.name}`, () => this.#stored(publication, accepted, settle));
  }

  #stored({ room, skip }: Publication, accepted: Accepted & { seq: number }, settle: Settle): void {
    if (this.#state === 'closed') return;
    const { seq, epoch } = accepted;
    this.noticeEpoch();
    const feed = this.#feeds.get(room.key);
    // An event that has been handed out with its publisher is not unheard any more.
    const skipped = skip !== undefined && !accepted.duplicate && feed?.skips.has(seq) !== true;
    if (epoch !== this.#cluster.store.epoch || (!skipped && this.#chance('unheard'))) {
      feed?.skips.delete(seq);
      return settle(UNAVAILABLE);
    }
    if (feed === undefined) return settle(accepted);
    feed.whenSeen(seq, (seen) => settle(seen ? accepted : UNAVAILABLE));
  }

  /** Live rooms and ephemeral events: to who is here, and to the other nodes. */
  #pass(publication: Publication, settle: Settle): void {
    const { nodes, mailbox, store } = this.#cluster;
    const live = publication.room.policy.history === undefined;
    const other = { ...publication, skip: undefined };
    for (const node of nodes) {
      if (node === this || this.#chance('lost')) continue;
      mailbox.post(`pass ${this.name} ${node.name}`, () => node.passed(other));
    }
    this.#busy = true;
    const accepted = live
      ? this.#live.publish(publication)
      : ({ ok: true, epoch: store.epoch, duplicate: false } as const);
    if (!live) this.#passToFeed(publication);
    this.#busy = false;
    settle(accepted);
  }

  #passToFeed({ room, payload, from, msgId, key, expireMs, skip }: Publication): void {
    const ts = this.#cluster.clock.now();
    this.#feeds.get(room.key)?.pass({ payload, from, msgId, key, expireMs, skip, ts });
  }

  #answer<T>(late: boolean, now: () => T | Fault, done: (result: T | Fault) => void): void {
    if (!late && !this.#chance('late')) return done(this.#state === 'closed' ? UNAVAILABLE : now());
    const { mailbox } = this.#cluster;
    mailbox.post(`read ${this.name} ${this.#cluster.rng().below(4)}`, () => {
      if (this.#state === 'closed') return;
      done(this.#chance('refused') ? UNAVAILABLE : now());
    });
  }

  #chance(freedom: keyof Freedoms): boolean {
    return this.#cluster.rng().chance(this.#cluster.freedoms[freedom]);
  }
}
