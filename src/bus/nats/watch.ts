/** Whatever may mean that something was missed, turned into audits and epoch checks. */
import type { NatsConnection, Subscription } from '@nats-io/nats-core';
import type { Audits } from './audit.ts';
import type { Env } from './env.ts';
import type { Epochs } from './epochs.ts';
import { guarded } from './guard.ts';
import type { NatsOptions } from './options.ts';
import type { Publisher } from './publisher.ts';
import type { Shard } from './shard.ts';
import type { Subjects } from './subject.ts';
import type { Cancel } from './timers.ts';

export interface WatchParts extends Env {
  readonly connection: NatsConnection;
  readonly options: NatsOptions;
  readonly shards: readonly Shard[];
  readonly audits: Audits;
  readonly epochs: Epochs;
  readonly publisher: Publisher;
  readonly subjects: Subjects;
}

const LAG_CHECK_MS = 500;
const GATE_CHECK_MS = 1000;
const ELECTED = '$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED.';
const CREATED = '$JS.EVENT.ADVISORY.STREAM.CREATED.';

export class Watch {
  readonly #parts: WatchParts;
  readonly #stops: Cancel[];
  readonly #subscriptions: readonly Subscription[];
  #turn = 0;

  constructor(parts: WatchParts) {
    this.#parts = parts;
    const { timers, options } = parts;
    this.#subscriptions = [
      this.#hear(ELECTED, (shard) => this.#elected(shard)),
      this.#hear(CREATED, (shard) => void parts.epochs.check(shard)),
      this.#hearMarks(),
    ];
    this.#stops = [
      timers.every(LAG_CHECK_MS, this.#lagCheck()),
      timers.every(GATE_CHECK_MS, () => this.#gateCheck()),
      timers.every(options.auditEveryMs, () => this.#inTurn()),
    ];
  }

  /** The connection was away, and is back. */
  back(): void {
    const { shards, audits, epochs, publisher } = this.#parts;
    for (const shard of shards) void epochs.check(shard);
    audits.suspect(shards);
    publisher.kick();
  }

  stop(): void {
    for (const stop of this.#stops) stop();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
  }

  /** What the servers say of our streams, as it happens. */
  #hear(advisory: string, tell: (shard: Shard) => void): Subscription {
    const { connection, log, shards } = this.#parts;
    return connection.subscribe(`${advisory}*`, {
      callback: guarded(log, 'a message from NATS', (error, msg) => {
        if (error !== null)
          log.warn({ err: error, subject: advisory }, 'a permission to subscribe is missing');
        const stream = error === null ? msg.subject.slice(advisory.length) : undefined;
        const shard = shards.find((candidate) => candidate.stream === stream);
        if (shard !== undefined) tell(shard);
      }),
    });
  }

  /** Another node has set the mark of a new epoch, or the same one again. */
  #hearMarks(): Subscription {
    const { connection, log, shards, epochs, subjects } = this.#parts;
    return connection.subscribe(subjects.marks, {
      callback: guarded(log, 'a message from NATS', (error, msg) => {
        const shard = error === null ? shards[subjects.markedShard(msg.subject)] : undefined;
        if (shard !== undefined) void epochs.check(shard);
      }),
    });
  }

  /** A new leader does not republish what the old one had stored just before. */
  #elected(shard: Shard): void {
    this.#parts.audits.suspect([shard]);
    this.#parts.epochs.suspect(shard);
    this.#parts.publisher.kick(shard.number);
  }

  /** A blocked loop reads nothing: the server may have run out of patience, and the client does not say so. */
  #lagCheck(): () => void {
    const { ticks, options, shards, audits, log } = this.#parts;
    let last = ticks();
    return () => {
      const lag = ticks() - last - LAG_CHECK_MS;
      last = ticks();
      if (lag < options.loopLagMs) return;
      log.warn({ lagMs: Math.round(lag) }, 'the event loop was blocked: looking for missed events');
      audits.suspect(shards);
    };
  }

  /** A stream that takes nothing may not be there any more. */
  #gateCheck(): void {
    for (const number of this.#parts.publisher.closed)
      this.#parts.epochs.suspect(this.#parts.shards[number] as Shard);
  }

  #inTurn(): void {
    const { shards, audits, epochs } = this.#parts;
    const shard = shards[this.#turn++ % shards.length] as Shard;
    epochs.suspect(shard);
    audits.look(shard);
  }
}
