import type { CarillonError } from './errors.ts';
import { EventQueue } from './queue.ts';

export interface Consumed<Value> {
  readonly value: Value;
  /** The value's place in the stream, beginning with 1. */
  readonly number: number;
}

export interface StreamParts<Value> {
  /** Values that may wait for a slow iterator. */
  readonly limit: number;
  emit(value: Value): void;
  overflowed(error: CarillonError): void;
  /** Every consumer has done with this value and all before it. Not told of each: a later one stands for them. */
  consumed(consumed: Consumed<Value>): void;
}

/**
 * Events on their way to listeners and iterators. Those that come before the first of either wait for it, since
 * `await room.whenJoined()` before `for await` may not cost the replay that came in between.
 */
export class EventStream<Value> {
  readonly #parts: StreamParts<Value>;
  readonly #queues = new Set<EventQueue<Value>>();
  #early: EventQueue<Value> | undefined;
  #ended: { readonly error: CarillonError | undefined } | undefined;
  #listeners = 0;
  #pushed = 0;
  #emitted: Consumed<Value> | undefined;

  constructor(parts: StreamParts<Value>) {
    this.#parts = parts;
    this.#early = this.#queue();
  }

  /** How many values have come. */
  get pushed(): number {
    return this.#pushed;
  }

  /** Nothing waits to be consumed, or is being consumed. */
  get idle(): boolean {
    if (this.#early !== undefined) return this.#pushed === 0;
    const queues = [...this.#queues];
    return queues.length > 0 ? queues.every(({ idle }) => idle) : this.#listeners > 0;
  }

  /** The newest value that every consumer has been given. */
  get handed(): Consumed<Value> | undefined {
    return this.#queues.size > 0 ? this.#slowest() : this.#emitted;
  }

  push(value: Value): void {
    this.#pushed++;
    if (this.#early !== undefined) {
      this.#early.push(value);
      return;
    }
    this.#emit(value, this.#pushed);
    for (const queue of this.#queues) queue.push(value);
  }

  /** A listener is there; it gets what waited, after the caller's turn. Returns what takes it off the count. */
  listened(): () => void {
    this.#listeners++;
    queueMicrotask(() => {
      const early = this.#early;
      if (early === undefined) return;
      this.#early = undefined;
      this.#queues.delete(early);
      const waiting = early.take();
      const before = this.#pushed - waiting.length;
      for (const [at, value] of waiting.entries()) this.#emit(value, before + at + 1);
      if (early.error !== undefined) this.#parts.overflowed(early.error);
    });
    let counted = true;
    return () => {
      if (counted) this.#listeners--;
      counted = false;
    };
  }

  iterate(): EventQueue<Value> {
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined) {
      for (const value of early.waiting) this.#parts.emit(value);
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

  #emit(value: Value, number: number): void {
    if (this.#listeners > 0) this.#emitted = { value, number };
    this.#parts.emit(value);
    // Iterators are behind the listeners, always.
    if (this.#emitted?.number === number && this.#queues.size === 0) this.#parts.consumed(this.#emitted);
  }

  #queue(): EventQueue<Value> {
    const queue: EventQueue<Value> = new EventQueue(
      this.#parts.limit,
      this.#pushed,
      () => this.#queues.delete(queue),
      () => this.#consumed(queue),
    );
    this.#queues.add(queue);
    return queue;
  }

  /** The reader of this queue has done with what it was given; the others may not have come so far. */
  #consumed(queue: EventQueue<Value>): void {
    const { number, value } = queue.handed;
    for (const other of this.#queues) if (other !== queue && other.done < number) return;
    if (value !== undefined) this.#parts.consumed({ number, value });
  }

  /** undefined: there is an iterator that was given nothing yet. */
  #slowest(): Consumed<Value> | undefined {
    const [first, ...others] = [...this.#queues].map(({ handed }) => handed);
    if (first === undefined) return undefined;
    const { number, value } = others.reduce((low, next) => (next.number < low.number ? next : low), first);
    return value === undefined ? undefined : { number, value };
  }
}
