import type { Feed } from './feed.ts';
import type { Anchor, Witness } from './identity.ts';
import { NO_MARK } from './marks.ts';
import { Slots } from './slots.ts';

/** One stream and the rooms of it that this node listens to. */
export class Shard {
  readonly number: number;
  readonly stream: string;
  /** By log subject. */
  readonly feeds = new Map<string, Feed>();
  /** Batch reads at once. */
  readonly reads: Slots;
  /** Of the stream as it is now; empty until it is known. */
  epoch = '';
  /** What the epoch is made of: when the stream was made, and the mark that was set in it since. */
  created = '';
  mark = NO_MARK;
  /** The latest place of the stream that this node has heard of. */
  seen = 0;
  /** The latest message that it would know again. */
  high = 0;
  #witness: Witness = '';
  /** By word of others. */
  #told: Anchor | undefined = undefined;
  /** The same before the connection broke: what has come since may stand on a stream that has lost its end. */
  held: Anchor | undefined = undefined;

  constructor(number: number, stream: string, reads: number) {
    this.number = number;
    this.stream = stream;
    this.reads = new Slots(reads);
  }

  saw(seq: number): void {
    if (seq > this.seen) this.seen = seq;
  }

  /** As `saw`, of a message of the present epoch. */
  met(seq: number, witness: Witness): void {
    if (seq <= this.high) return;
    this.high = seq;
    this.#witness = witness;
    this.saw(seq);
  }

  get anchor(): Anchor | undefined {
    return this.high === 0 ? undefined : { seq: this.high, witness: this.#witness };
  }

  /** Another node has met this message of the present epoch. */
  told(anchor: Anchor): void {
    if (anchor.seq <= Math.max(this.high, this.#told?.seq ?? 0)) return;
    this.#told = anchor;
    this.saw(anchor.seq);
  }

  /** What is known of the stream, the latest last. */
  get anchors(): readonly Anchor[] {
    return [this.held, this.anchor, this.#told].filter((anchor) => anchor !== undefined);
  }

  hold(): void {
    this.held ??= this.#told !== undefined && this.#told.seq > this.high ? this.#told : this.anchor;
  }

  /** Another stream, or one whose places count anew. */
  begin(epoch: string, lastSeq: number): void {
    this.epoch = epoch;
    this.seen = lastSeq;
    this.high = 0;
    this.#witness = '';
    this.#told = undefined;
    this.held = undefined;
  }
}
