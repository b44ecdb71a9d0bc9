/**
 * Notices that the places of a stream mean something else than before: that it was made anew, or that it has lost its
 * end and gives places away a second time. Every position in it is void then.
 */
import { createHash } from 'node:crypto';
import type { Env } from './env.ts';
import { type Mark, type Marks, NO_MARK } from './marks.ts';
import { judge, type Known, knownOf } from './rollback.ts';
import type { Shard } from './shard.ts';
import type { Store, StreamState } from './store.ts';
import type { Streams } from './streams.ts';

export interface EpochParts extends Env {
  readonly store: Store;
  readonly marks: Marks;
  readonly streams: Streams;
  /** Names this process among all that ever were. */
  readonly node: string;
  /** The streams keep what is stored for so long: a mark too, unless it is written again. */
  readonly markMs: number;
  /** The positions of the shard are void. */
  readonly changed: (shard: Shard) => void;
}

/** Events may be suspicious by the thousand; the leader is asked so often at most. */
const PAUSE_MS = 500;
/** A missing stream is not created more often than this: somebody may be deleting it on purpose. */
const RECREATE_MS = 5000;
/** What could not be brought to its end is taken up again. */
const AGAIN_MS = 1000;
/** How often a proof is brought forward before its publish is answered. */
const PROOFS = 3;

const LOST_END =
  'the stream has lost its end and gives places away again: the positions of its rooms are void';

/** Another one when the stream was made anew or has lost its end, and every position in it is void. */
export function epochOf(name: string, created: string, generation: string): string {
  const text = generation === '' ? `${name}\0${created}` : `${name}\0${created}\0${generation}`;
  return createHash('sha256').update(text).digest('base64url').slice(0, 12);
}

export class Epochs {
  readonly #parts: EpochParts;
  readonly #checking = new Map<Shard, Promise<void>>();
  readonly #next = new Map<Shard, Promise<void>>();
  readonly #checkedAt = new Map<Shard, number>();
  readonly #recreatedAt = new Map<Shard, number>();
  /** Of these epochs places are known to be given away again. */
  readonly #proven = new Set<string>();
  readonly #again = new Set<Shard>();
  #generations = 0;
  changes = 0;
  /** Changes that this node has had the proof for first. */
  rollbacks = 0;

  constructor(parts: EpochParts) {
    this.#parts = parts;
  }

  /**
   * By the leader, as it is after this call. Is over when the shard's epoch is right, or NATS has not answered. Who
   * calls while a check is under way waits for the next one.
   */
  check(shard: Shard): Promise<void> {
    const running = this.#checking.get(shard);
    if (running === undefined) return this.#start(shard);
    let next = this.#next.get(shard);
    next ??= running.then(() => {
      this.#next.delete(shard);
      return this.#start(shard);
    });
    this.#next.set(shard, next);
    return next;
  }

  #start(shard: Shard): Promise<void> {
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

  /** A new message was stored at a place of this epoch that another one has had. Whether the epoch is over now. */
  async prove(shard: Shard, epoch: string): Promise<boolean> {
    for (let round = 0; round < PROOFS && shard.epoch === epoch; round++) {
      this.#proven.add(epoch);
      await this.check(shard);
    }
    return shard.epoch !== epoch;
  }

  async #check(shard: Shard): Promise<void> {
    const { store, marks, ticks } = this.#parts;
    this.#checkedAt.set(shard, ticks());
    const known = knownOf(shard);
    const [state, mark] = await Promise.all([store.state(shard.number), marks.read(shard.number)]);
    if (state === 'missing') await this.#recreate(shard);
    else if (typeof state !== 'string' && typeof mark !== 'string')
      await this.#compare(shard, known, state, mark);
    else if (shard.held !== undefined) this.#later(shard);
  }

  async #compare(shard: Shard, known: Known, state: StreamState, mark: Mark): Promise<void> {
    const other = mark.seq >= shard.mark.seq && mark.generation !== shard.mark.generation;
    if (shard.created !== state.created || other) {
      this.#adopt(shard, state, mark);
      return;
    }
    // The older of two marks goes first: without the newer one the stream has lost its end.
    const back = this.#proven.has(shard.epoch) || (mark.seq > 0 && mark.seq < shard.mark.seq);
    const verdict = back ? 'rolled back' : await judge(this.#parts, shard, known, state);
    if (verdict === 'open') this.#later(shard);
    else if (verdict === 'rolled back') await this.#declare(shard, state, mark.seq);
    else {
      if (known.anchors[0] === shard.held) shard.held = undefined;
      shard.saw(state.lastSeq);
      await this.#keep(shard, mark);
    }
  }

  #adopt(shard: Shard, { created, lastSeq }: StreamState, mark: Mark): void {
    const first = shard.epoch === '';
    const anew = shard.created !== created;
    this.#proven.delete(shard.epoch);
    shard.created = created;
    shard.mark = mark;
    shard.begin(epochOf(shard.stream, created, mark.generation), lastSeq);
    if (first) return;
    this.changes++;
    const { stream, epoch } = shard;
    this.#parts.log.warn(
      { stream, epoch },
      anew ? 'the stream was made anew: the positions of its rooms are void' : LOST_END,
    );
    this.#parts.changed(shard);
  }

  /** Another node with the same proof may be faster: then its mark is the one. */
  async #declare(shard: Shard, state: StreamState, over: number): Promise<void> {
    const { marks, node, now } = this.#parts;
    const generation = `${node}.${++this.#generations}`;
    const { seen: known } = shard;
    const seq = await marks.write(shard.number, generation, over);
    if (typeof seq !== 'number') {
      this.#proven.add(shard.epoch);
      this.#later(shard, seq === 'conflict' ? 0 : AGAIN_MS);
      return;
    }
    this.rollbacks++;
    this.#parts.log.error({ stream: shard.stream, known, lastSeq: state.lastSeq }, LOST_END);
    this.#adopt(shard, { ...state, lastSeq: seq }, { seq, generation, at: now() });
  }

  /** A mark goes with what is purged, and with its age: it is written again by whichever node is first. */
  async #keep(shard: Shard, mark: Mark): Promise<void> {
    const { marks, now, markMs } = this.#parts;
    if (mark.seq >= shard.mark.seq) shard.mark = mark;
    const { generation } = shard.mark;
    if (generation === '' || (mark.seq > 0 && now() - mark.at < markMs / 2)) return;
    const seq = await marks.write(shard.number, generation, mark.seq);
    if (typeof seq === 'number') shard.mark = { seq, generation, at: now() };
  }

  #later(shard: Shard, ms = AGAIN_MS): void {
    if (this.#again.has(shard)) return;
    this.#again.add(shard);
    this.#parts.timers.after(ms, () => {
      this.#again.delete(shard);
      void this.check(shard);
    });
  }

  async #recreate(shard: Shard): Promise<void> {
    const now = this.#parts.ticks();
    if (now - (this.#recreatedAt.get(shard) ?? Number.NEGATIVE_INFINITY) < RECREATE_MS) return;
    this.#recreatedAt.set(shard, now);
    const outcome = await this.#parts.streams.recreate(shard.stream);
    this.#parts.log.error({ stream: shard.stream, outcome }, 'the stream is gone: its history is lost');
    if (outcome === 'missing') return;
    const state = await this.#parts.store.state(shard.number);
    if (typeof state !== 'string') await this.#compare(shard, knownOf(shard), state, NO_MARK);
  }
}
