import type { Defer, Log } from '../broker/ports.ts';

export interface PaceParts {
  /** Milliseconds that all tasks together may take of one turn of the loop; the last one may end after them. */
  readonly turnMs: number;
  /** How many may wait. */
  readonly waiting: number;
  readonly nowMs: () => number;
  readonly defer: Defer;
  readonly log: Log;
}

/** Queue slots of tasks that have run are given back when there are so many. */
const FORGET = 1024;

/**
 * Work that comes in storms, a few milliseconds of it in each turn of the loop: what else is due, the messages of
 * those who are connected above all, goes between two turns. Whatever waits does so in the order in which it came.
 */
export class Pace {
  readonly #parts: PaceParts;
  #queue: (() => void)[] = [];
  #head = 0;
  /** Of this turn, milliseconds. */
  #used = 0;
  #turning = false;

  constructor(parts: PaceParts) {
    this.#parts = parts;
  }

  get waiting(): number {
    return this.#queue.length - this.#head;
  }

  /** Whether a task may run at once: this turn has time left, so that nobody waits either, or no more can wait. */
  get free(): boolean {
    const { turnMs, waiting } = this.#parts;
    return this.#used < turnMs || this.waiting >= waiting;
  }

  /** At once, on account of this turn. What the task throws is thrown. */
  run(task: () => void): void {
    const from = this.#parts.nowMs();
    this.#endTurnLater();
    try {
      task();
    } finally {
      this.#used += this.#parts.nowMs() - from;
    }
  }

  /** In a later turn. */
  later(task: () => void): void {
    this.#queue.push(task);
    this.#endTurnLater();
  }

  #endTurnLater(): void {
    if (this.#turning) return;
    this.#turning = true;
    this.#parts.defer(() => this.#turn());
  }

  #turn(): void {
    const { turnMs, log } = this.#parts;
    this.#turning = false;
    this.#used = 0;
    while (this.waiting > 0 && this.#used < turnMs) {
      const task = this.#queue[this.#head++] as () => void;
      try {
        this.run(task);
      } catch (error) {
        // Out of a deferred turn it would end the process.
        log.error({ err: error }, 'handshake failed');
      }
    }
    if (this.#head === 0 || (this.waiting > 0 && this.#head < FORGET)) return;
    this.#queue = this.#queue.slice(this.#head);
    this.#head = 0;
  }
}
