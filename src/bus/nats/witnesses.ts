/**
 * What nodes tell one another of the streams: the latest message that each has met. Whoever has met the end that a
 * stream loses may go before it is found out; the others know of it then.
 */
import type { NatsConnection, Subscription } from '@nats-io/nats-core';
import type { Env } from './env.ts';
import type { Epochs } from './epochs.ts';
import { guarded } from './guard.ts';
import { identityOf } from './identity.ts';
import type { Outlet } from './outlet.ts';
import type { Shard } from './shard.ts';
import type { Subjects } from './subject.ts';
import type { Cancel } from './timers.ts';

export interface WitnessParts extends Env {
  readonly connection: NatsConnection;
  readonly outlet: Outlet;
  readonly subjects: Subjects;
  readonly shards: readonly Shard[];
  readonly epochs: Epochs;
  readonly connected: () => boolean;
}

/** Of one shard, as it goes over the wire. */
interface Told {
  readonly shard: number;
  readonly epoch: string;
  readonly seq: number;
  readonly id?: string | undefined;
  readonly time?: string | undefined;
}

/** What a node has met for less long may be lost together with it. */
const TELL_MS = 2000;

export class Witnesses {
  readonly #parts: WitnessParts;
  readonly #subscription: Subscription;
  readonly #stop: Cancel;
  /** What was told last, of each shard. */
  readonly #last: number[] = [];

  constructor(parts: WitnessParts) {
    this.#parts = parts;
    const { connection, subjects, log, timers } = parts;
    this.#subscription = connection.subscribe(subjects.witnesses, {
      callback: guarded(log, 'what another node has met', (error, msg) => {
        if (error === null) for (const told of msg.json<readonly Told[]>()) this.#heard(told);
      }),
    });
    this.#stop = timers.every(TELL_MS, () => this.tell());
  }

  /** Of each shard what is new since the last time. */
  tell(): void {
    const { shards, outlet, subjects, connected, log } = this.#parts;
    if (!connected()) return;
    const all: Told[] = [];
    for (const { number: shard, epoch, anchor } of shards) {
      if (anchor === undefined || anchor.seq === this.#last[shard]) continue;
      this.#last[shard] = anchor.seq;
      const { id, time } = identityOf(anchor.witness);
      all.push({ shard, epoch, seq: anchor.seq, id, time });
    }
    if (all.length === 0) return;
    outlet.publish(subjects.witnesses, JSON.stringify(all), undefined, undefined, (error) =>
      log.warn({ err: error }, 'the other nodes could not be told what this one has met'),
    );
  }

  stop(): void {
    this.#stop();
    this.#subscription.unsubscribe();
  }

  #heard({ shard: number, epoch, seq, id, time }: Told): void {
    const shard = this.#parts.shards[number];
    if (shard === undefined || shard.epoch === '') return;
    // One of the two does not know yet.
    if (epoch !== shard.epoch) this.#parts.epochs.suspect(shard);
    else shard.told({ seq, witness: { id, time } });
  }
}
