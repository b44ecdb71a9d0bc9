import type { Feed } from './feed.ts';
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
  /** The latest place of the stream that this node has heard of. */
  seen = 0;

  constructor(number: number, stream: string, reads: number) {
    this.number = number;
    this.stream = stream;
    this.reads = new Slots(reads);
  }

  saw(seq: number): void {
    if (seq > this.seen) this.seen = seq;
  }
}
