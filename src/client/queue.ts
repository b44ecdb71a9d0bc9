import { CarillonError } from './errors.ts';

interface Reader<Value> {
  resolve(result: IteratorResult<Value, undefined>): void;
  reject(error: CarillonError): void;
}

/** Values for one async iterator, bounded: who reads too slowly is told so instead of filling the memory. */
export class EventQueue<Value> implements AsyncIterableIterator<Value, undefined> {
  readonly #limit: number;
  readonly #stopped: () => void;
  readonly #consumed: () => void;
  #values: Value[] = [];
  #readers: Reader<Value>[] = [];
  #ended = false;
  #error: CarillonError | undefined;

  /** How many values were pushed before the first of this queue. */
  readonly #start: number;
  #handed = 0;
  #out: Value | undefined;

  /** `consumed` runs when the reader comes back for more: it has done with what it was given. */
  constructor(limit: number, start: number, stopped: () => void, consumed: () => void) {
    this.#limit = limit;
    this.#start = start;
    this.#stopped = stopped;
    this.#consumed = consumed;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  push(value: Value): void {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      this.#hand(reader, value);
      return;
    }
    this.#values.push(value);
    if (this.#values.length <= this.#limit) return;
    const reason = `more than ${this.#limit} events wait for a reader; join with a larger buffer or read faster`;
    this.#values = [];
    this.end(new CarillonError('buffer_overflow', reason));
  }

  /** Nothing more comes; what is waiting can still be read, then the error is thrown, if any. */
  end(error?: CarillonError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#stopped();
    for (const reader of this.#readers.splice(0)) this.#finish(reader);
  }

  next(): Promise<IteratorResult<Value, undefined>> {
    return new Promise((resolve, reject) => {
      const reader = { resolve, reject };
      if (this.#handed > 0) this.#consumed();
      if (this.#values.length > 0) this.#hand(reader, this.#values.shift() as Value);
      else if (this.#ended) this.#finish(reader);
      else this.#readers.push(reader);
    });
  }

  async return(): Promise<IteratorResult<Value, undefined>> {
    this.#values = [];
    this.end();
    return { done: true, value: undefined };
  }

  /** The value that the reader has, or had last, and its number in the stream, beginning with 1. */
  get handed(): { readonly number: number; readonly value: Value | undefined } {
    return { number: this.#start + this.#handed, value: this.#out };
  }

  /** The reader waits for more. */
  get idle(): boolean {
    return this.#readers.length > 0;
  }

  /** The number of the newest value that the reader has done with. */
  get done(): number {
    const busy = this.#handed > 0 && !this.idle;
    return this.#start + this.#handed - (busy ? 1 : 0);
  }

  #hand(reader: Reader<Value>, value: Value): void {
    this.#handed++;
    this.#out = value;
    reader.resolve({ done: false, value });
  }

  get waiting(): readonly Value[] {
    return this.#values;
  }

  take(): Value[] {
    return this.#values.splice(0);
  }

  /** What it was ended with, until somebody is told. */
  get error(): CarillonError | undefined {
    return this.#error;
  }

  #finish(reader: Reader<Value>): void {
    const error = this.#error;
    this.#error = undefined;
    if (error === undefined) reader.resolve({ done: true, value: undefined });
    else reader.reject(error);
  }
}
