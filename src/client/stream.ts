import type { CarillonError } from './errors.ts';
import { EventQueue } from './queue.ts';

/**
 * Events on their way to listeners and iterators. Those that come before the first of either wait for it, since
 * `await room.whenJoined()` before `for await` may not cost the replay that came in between.
 */
export class EventStream<Value> {
  readonly #limit: number;
  readonly #emit: (value: Value) => void;
  readonly #overflowed: (error: CarillonError) => void;
  readonly #queues = new Set<EventQueue<Value>>();
  #early: EventQueue<Value> | undefined;
  #ended: { readonly error: CarillonError | undefined } | undefined;

  constructor(limit: number, emit: (value: Value) => void, overflowed: (error: CarillonError) => void) {
    this.#limit = limit;
    this.#emit = emit;
    this.#overflowed = overflowed;
    this.#early = this.#queue();
  }

  push(value: Value): void {
    if (this.#early !== undefined) {
      this.#early.push(value);
      return;
    }
    this.#emit(value);
    for (const queue of this.#queues) queue.push(value);
  }

  /** A listener is there; it gets what waited, after the caller's turn. */
  listened(): void {
    queueMicrotask(() => {
      const early = this.#early;
      if (early === undefined) return;
      this.#early = undefined;
      this.#queues.delete(early);
      for (const value of early.take()) this.#emit(value);
      if (early.error !== undefined) this.#overflowed(early.error);
    });
  }

  iterate(): EventQueue<Value> {
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined) {
      for (const value of early.waiting) this.#emit(value);
      return early;
    }
    const queue = this.#queue();
    if (this.#ended !== undefined) queue.end(this.#ended.error);
    return queue;
  }

  end(error: CarillonError | undefined): void {
    this.#ended = { error };
    for (const queue of [...this.#queues]) queue.end(error);
  }

  #queue(): EventQueue<Value> {
    const queue = new EventQueue<Value>(this.#limit, () => this.#queues.delete(queue));
    this.#queues.add(queue);
    return queue;
  }
}
