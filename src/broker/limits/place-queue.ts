/** Handshakes of one tenant that wait until this node has a larger part of its connections: first come, first served. */

interface Waiter {
  readonly until: number;
  readonly over: () => void;
}

/** A handshake that waits. */
export interface PlaceWait {
  /** Resolves when there may be a place, or the time is up. */
  readonly over: Promise<void>;
  /** The client has left. */
  cancel(): void;
}

export class PlaceQueue {
  readonly #max: number;
  #waiting: Waiter[] = [];

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** undefined: too many wait already. */
  add(until: number): PlaceWait | undefined {
    if (this.#waiting.length >= this.#max) return undefined;
    let done = () => {};
    const over = new Promise<void>((resolve) => {
      done = resolve;
    });
    const waiter = { until, over: done };
    this.#waiting.push(waiter);
    return {
      over,
      cancel: () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
      },
    };
  }

  /** So many have a place now. */
  release(places: number): void {
    if (places > 0) for (const { over } of this.#waiting.splice(0, places)) over();
  }

  /** Whether somebody has waited in vain. */
  expire(now: number): boolean {
    const late = this.#waiting.filter(({ until }) => until <= now);
    if (late.length === 0) return false;
    this.#waiting = this.#waiting.filter(({ until }) => until > now);
    for (const { over } of late) over();
    return true;
  }
}
