/** Notices that a stream was made anew: every position in it is void then. */
import type { Env } from './env.ts';
import type { Shard } from './shard.ts';
import type { Store, StreamState } from './store.ts';
import { epochOf, type Streams } from './streams.ts';

export interface EpochParts extends Env {
  readonly store: Store;
  readonly streams: Streams;
  /** The stream is another one than before. */
  readonly changed: (shard: Shard) => void;
}

/** Events may be suspicious by the thousand; the leader is asked so often at most. */
const PAUSE_MS = 500;
/** A missing stream is not created more often than this: somebody may be deleting it on purpose. */
const RECREATE_MS = 5000;

export class Epochs {
  readonly #parts: EpochParts;
  readonly #checking = new Map<Shard, Promise<void>>();
  readonly #checkedAt = new Map<Shard, number>();
  readonly #recreatedAt = new Map<Shard, number>();
  changes = 0;

  constructor(parts: EpochParts) {
    this.#parts = parts;
  }

  /** Is over when the shard's epoch is right, or NATS has not answered. */
  check(shard: Shard): Promise<void> {
    const running = this.#checking.get(shard);
    if (running !== undefined) return running;
    const check = this.#check(shard)
      .catch((error: unknown) =>
        this.#parts.log.error({ err: error, stream: shard.stream }, 'the epoch is not known'),
      )
      .finally(() => this.#checking.delete(shard));
    this.#checking.set(shard, check);
    return check;
  }

  /** As `check`, unless it has just been done. */
  suspect(shard: Shard): void {
    const since = this.#parts.ticks() - (this.#checkedAt.get(shard) ?? Number.NEGATIVE_INFINITY);
    if (since >= PAUSE_MS) void this.check(shard);
  }

  async #check(shard: Shard): Promise<void> {
    this.#checkedAt.set(shard, this.#parts.ticks());
    const state = await this.#parts.store.state(shard.number);
    if (state === 'missing') await this.#recreate(shard);
    else if (typeof state !== 'string') this.#compare(shard, state);
  }

  #compare(shard: Shard, state: StreamState): void {
    const epoch = epochOf(shard.stream, state.created);
    if (epoch === shard.epoch) {
      shard.saw(state.lastSeq);
      return;
    }
    const first = shard.epoch === '';
    shard.epoch = epoch;
    shard.seen = state.lastSeq;
    if (first) return;
    this.changes++;
    this.#parts.log.warn(
      { stream: shard.stream, epoch },
      'the stream was made anew: the positions of its rooms are void',
    );
    this.#parts.changed(shard);
  }

  async #recreate(shard: Shard): Promise<void> {
    const now = this.#parts.ticks();
    if (now - (this.#recreatedAt.get(shard) ?? Number.NEGATIVE_INFINITY) < RECREATE_MS) return;
    this.#recreatedAt.set(shard, now);
    const outcome = await this.#parts.streams.recreate(shard.stream);
    this.#parts.log.error({ stream: shard.stream, outcome }, 'the stream is gone: its history is lost');
    if (outcome === 'missing') return;
    const state = await this.#parts.store.state(shard.number);
    if (typeof state !== 'string') this.#compare(shard, state);
  }
}
