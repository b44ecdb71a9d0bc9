/**
 * What a waiting frame counts beside its bytes. It stands for time rather than memory: uWebSockets.js hands over
 * a tiny frame in 2 to 3 µs, so the 8,000 that fit into the default limit hold the loop for 20 ms.
 */
const ENTRY_BYTES = 512;

const EMPTY = new Uint8Array(0);
const FIRST_BYTES = 4096;

export interface QueuedFrame {
  /** Valid until the next `push`. */
  readonly bytes: Uint8Array;
  readonly isBinary: boolean;
}

/**
 * Frames of one connection that wait for a later turn, copied into one block. A buffer of its own for each
 * costs as much again as getting the frame from uWebSockets.js, at the very moment when time is short.
 */
export class FrameQueue {
  #block = EMPTY;
  #from = 0;
  #to = 0;
  /** Byte lengths in order; of a binary frame as its complement. */
  #lengths: number[] = [];
  #head = 0;

  get length(): number {
    return this.#lengths.length - this.#head;
  }

  /** What all waiting frames count together. */
  get weight(): number {
    return this.#to - this.#from + this.length * ENTRY_BYTES;
  }

  push(bytes: Uint8Array, isBinary: boolean): void {
    this.#makeRoom(bytes.byteLength);
    this.#block.set(bytes, this.#to);
    this.#to += bytes.byteLength;
    this.#lengths.push(isBinary ? ~bytes.byteLength : bytes.byteLength);
  }

  shift(): QueuedFrame | undefined {
    const length = this.#lengths[this.#head];
    if (length === undefined) return undefined;
    this.#head++;
    const isBinary = length < 0;
    const from = this.#from;
    this.#from += isBinary ? ~length : length;
    const bytes = this.#block.subarray(from, this.#from);
    if (this.#head === this.#lengths.length) this.clear();
    else if (this.#head > 1024 && this.#head * 2 > this.#lengths.length) this.#forget();
    return { bytes, isBinary };
  }

  clear(): void {
    this.#block = EMPTY;
    this.#from = 0;
    this.#to = 0;
    this.#lengths = [];
    this.#head = 0;
  }

  /** The lengths of frames that are gone: a queue that never runs empty would keep them all. */
  #forget(): void {
    this.#lengths = this.#lengths.slice(this.#head);
    this.#head = 0;
  }

  #makeRoom(bytes: number): void {
    if (this.#to + bytes <= this.#block.byteLength) return;
    const live = this.#block.subarray(this.#from, this.#to);
    const needed = live.byteLength + bytes;
    const enough = needed * 2 <= this.#block.byteLength;
    const block = enough ? this.#block : new Uint8Array(Math.max(FIRST_BYTES, needed * 2));
    block.set(live);
    this.#block = block;
    this.#from = 0;
    this.#to = live.byteLength;
  }
}
