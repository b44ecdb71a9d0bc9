/**
 * Durable publishes on their way to the store.
 *
 * Each stream has a window of publishes in flight. The first one that fails closes the stream's gate: nothing new
 * is sent until everything in flight is answered; then one publish at a time is tried, the oldest, under the same
 * id as before, until one gets through. So no publish overtakes an older one that is being retried, a stream that
 * is down costs a few messages a second instead of hundreds of thousands, and a repeated publish is stored once.
 */
import type { Fault } from '../../broker/ports.ts';
import type { NoAnswer } from './acks.ts';
import type { Env } from './env.ts';
import { Queue } from './queue.ts';
import type { Cancel } from './timers.ts';

export interface Outgoing {
  readonly shard: number;
  readonly subject: string;
  readonly payload: string;
  readonly headers: Uint8Array;
  /** Milliseconds by the clock of `ticks`: later it is given up. */
  readonly until: number;
  readonly done: (outcome: Stored | Fault) => void;
}

export interface Stored {
  readonly ok: true;
  readonly seq: number;
  readonly duplicate: boolean;
}

/** What came of one attempt. `NoAnswer` and 'busy' may be tried again; a fault is final. */
export type Attempt = Stored | Fault | NoAnswer | 'busy';
export type Send = (outgoing: Outgoing, answered: (attempt: Attempt) => void) => void;

export interface PublisherLimits {
  readonly window: number;
  readonly queue: number;
  readonly queueBytes: number;
}

/** Told when a stream's gate closes and when it opens again. */
export interface GateEvents {
  closed(shard: number, why: string): void;
  opened(shard: number, afterMs: number): void;
}

const FIRST_RETRY_MS = 20;
const LAST_RETRY_MS = 1000;

interface Sent {
  readonly order: number;
  readonly outgoing: Outgoing;
}

class Lane {
  readonly shard: number;
  readonly waiting = new Queue<Sent>();
  /** Failed attempts, oldest first. */
  readonly again: Sent[] = [];
  inflight = 0;
  closedAt: number | undefined = undefined;
  attempts = 0;
  retryAt = 0;
  cancelRetry: Cancel | undefined = undefined;

  constructor(shard: number) {
    this.shard = shard;
  }

  get idle(): boolean {
    return this.inflight === 0 && this.again.length === 0 && this.waiting.length === 0;
  }

  /** The oldest that is not in flight. */
  take(): Sent | undefined {
    return this.again.shift() ?? this.waiting.shift();
  }

  /** Back to where it belongs: failures come in any order. */
  returned(sent: Sent): void {
    let at = this.again.length;
    while (at > 0 && (this.again[at - 1] as Sent).order > sent.order) at--;
    this.again.splice(at, 0, sent);
  }
}

export class Publisher {
  readonly #lanes: readonly Lane[];
  readonly #limits: PublisherLimits;
  readonly #send: Send;
  readonly #events: GateEvents;
  readonly #env: Env;
  #order = 0;
  #queued = 0;
  #queuedBytes = 0;
  retries = 0;

  constructor(shards: number, limits: PublisherLimits, send: Send, events: GateEvents, env: Env) {
    this.#lanes = Array.from({ length: shards }, (_, shard) => new Lane(shard));
    this.#limits = limits;
    this.#send = send;
    this.#events = events;
    this.#env = env;
  }

  get inflight(): number {
    return this.#lanes.reduce((sum, { inflight }) => sum + inflight, 0);
  }

  get queued(): number {
    return this.#queued;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Of each shard, how many are not answered, and until when the oldest that waits has time. */
  get lanes(): { readonly unanswered: number; readonly until: number | undefined }[] {
    return this.#lanes.map(({ inflight, again, waiting }) => ({
      unanswered: inflight + again.length + waiting.length,
      until: (again[0] ?? waiting.first)?.outgoing.until,
    }));
  }

  /** Shards whose gate is closed. */
  get closed(): number[] {
    return this.#lanes.filter(({ closedAt }) => closedAt !== undefined).map(({ shard }) => shard);
  }

  get idle(): boolean {
    return this.#lanes.every(({ idle }) => idle);
  }

  publish(outgoing: Outgoing): void {
    const lane = this.#lane(outgoing.shard);
    const sent = { order: ++this.#order, outgoing };
    if (lane.closedAt === undefined && lane.waiting.length === 0 && lane.inflight < this.#limits.window) {
      this.#attempt(lane, sent);
      return;
    }
    const refusal = this.#refusal(lane, outgoing);
    if (refusal !== undefined) {
      outgoing.done(refusal);
      return;
    }
    this.#queued++;
    this.#queuedBytes += sizeOf(outgoing);
    lane.waiting.push(sent);
    this.#pump(lane);
  }

  /** There is a new reason to hope: the next attempt is made now. */
  kick(shard?: number): void {
    for (const lane of shard === undefined ? this.#lanes : [this.#lane(shard)]) {
      lane.retryAt = 0;
      this.#pump(lane);
    }
  }

  /** Gives up what has waited too long. To be called several times a second. */
  sweep(): void {
    const now = this.#env.ticks();
    for (const lane of this.#lanes) {
      while (lane.again[0] !== undefined && lane.again[0].outgoing.until <= now)
        this.#giveUp(lane.again.shift() as Sent);
      for (
        let next = lane.waiting.first;
        next !== undefined && next.outgoing.until <= now;
        next = lane.waiting.first
      ) {
        lane.waiting.shift();
        this.#unqueued(next.outgoing);
        this.#giveUp(next);
      }
    }
  }

  /** Gives up everything that is not in flight. */
  close(): void {
    for (const lane of this.#lanes) {
      lane.cancelRetry?.();
      for (const sent of lane.again.splice(0)) this.#giveUp(sent);
      for (let next = lane.waiting.shift(); next !== undefined; next = lane.waiting.shift()) {
        this.#unqueued(next.outgoing);
        this.#giveUp(next);
      }
    }
  }

  #lane(shard: number): Lane {
    const lane = this.#lanes[shard];
    if (lane === undefined) throw new RangeError(`no shard ${shard}`);
    return lane;
  }

  #refusal(lane: Lane, outgoing: Outgoing): Fault | undefined {
    const { queue, queueBytes } = this.#limits;
    const full = this.#queued >= queue || this.#queuedBytes + sizeOf(outgoing) > queueBytes;
    if (!full) return undefined;
    if (lane.closedAt === undefined)
      return {
        ok: false,
        code: 'overloaded',
        reason: 'more is published than NATS takes',
        retryAfterMs: LAST_RETRY_MS,
        limit: queue,
      };
    return {
      ok: false,
      code: 'unavailable',
      reason: 'NATS does not take publishes, and the queue is full',
      retryAfterMs: 2 * LAST_RETRY_MS,
    };
  }

  #attempt(lane: Lane, sent: Sent): void {
    lane.inflight++;
    this.#send(sent.outgoing, (attempt) => this.#answered(lane, sent, attempt));
  }

  #answered(lane: Lane, sent: Sent, attempt: Attempt): void {
    lane.inflight--;
    if (typeof attempt !== 'string') {
      this.#open(lane);
      sent.outgoing.done(attempt);
    } else if (sent.outgoing.until <= this.#env.ticks()) {
      this.#shut(lane, attempt);
      this.#giveUp(sent);
    } else {
      this.#shut(lane, attempt);
      lane.returned(sent);
    }
    this.#pump(lane);
  }

  #shut(lane: Lane, why: string): void {
    this.retries++;
    if (lane.closedAt === undefined) {
      lane.closedAt = this.#env.ticks();
      lane.attempts = 0;
      this.#events.closed(lane.shard, why);
    }
    if (lane.inflight > 0) return;
    const backoff = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** lane.attempts++);
    lane.retryAt = this.#env.ticks() + backoff * (0.5 + this.#env.random() / 2);
  }

  /** An answer while others from before the failure are in flight proves nothing; the last one does. */
  #open(lane: Lane): void {
    if (lane.closedAt === undefined || lane.inflight > 0) return;
    const afterMs = this.#env.ticks() - lane.closedAt;
    lane.closedAt = undefined;
    this.#events.opened(lane.shard, afterMs);
  }

  #pump(lane: Lane): void {
    if (lane.closedAt === undefined) {
      while (lane.inflight < this.#limits.window && this.#next(lane));
      return;
    }
    if (lane.inflight > 0) return;
    const wait = lane.retryAt - this.#env.ticks();
    lane.cancelRetry?.();
    lane.cancelRetry = undefined;
    if (wait > 0) lane.cancelRetry = this.#env.timers.after(wait, () => this.#pump(lane));
    // Nothing left to try with: the next publish finds out.
    else if (!this.#next(lane)) this.#open(lane);
  }

  #next(lane: Lane): boolean {
    const queued = lane.again.length === 0;
    const sent = lane.take();
    if (sent === undefined) return false;
    if (queued) this.#unqueued(sent.outgoing);
    this.#attempt(lane, sent);
    return true;
  }

  #unqueued(outgoing: Outgoing): void {
    this.#queued--;
    this.#queuedBytes -= sizeOf(outgoing);
  }

  #giveUp({ outgoing }: Sent): void {
    outgoing.done({
      ok: false,
      code: 'unavailable',
      reason: 'NATS has not taken the publish in time; it may be stored nevertheless',
      retryAfterMs: 2 * LAST_RETRY_MS,
    });
  }
}

function sizeOf({ payload, headers }: Outgoing): number {
  return payload.length + headers.byteLength;
}
