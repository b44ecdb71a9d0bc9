import type { Cancel } from '../../broker/cluster.ts';
import type { Log } from '../../broker/ports.ts';

/** Those who want to hear of something. One that throws pays for itself: the others hear it all the same. */
export class Listeners<A extends unknown[]> {
  readonly #what: string;
  readonly #log: Log;
  readonly #heard = new Set<{ readonly call: (...args: A) => void }>();

  constructor(what: string, log: Log) {
    this.#what = what;
    this.#log = log;
  }

  get size(): number {
    return this.#heard.size;
  }

  add(call: (...args: A) => void): Cancel {
    // The same function twice is two listeners.
    const listener = { call };
    this.#heard.add(listener);
    return () => this.#heard.delete(listener);
  }

  tell(...args: A): void {
    for (const listener of [...this.#heard]) {
      if (!this.#heard.has(listener)) continue;
      try {
        listener.call(...args);
      } catch (error) {
        this.#log.error({ err: error }, `${this.#what} has thrown`);
      }
    }
  }
}
