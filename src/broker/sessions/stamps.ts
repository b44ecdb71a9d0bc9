import type { Clock } from '../ports.ts';

/**
 * Times that also say what was before what: whatever this node does after it has heard of something has a later stamp
 * than that, however wrong its clock is (Lamport, 1978). Two nodes may have the same one; then their names decide.
 */
export class Stamps {
  readonly #clock: Clock;
  #last = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** About milliseconds since 1970. */
  next(): number {
    this.#last = Math.max(this.#clock.now(), this.#last + 1);
    return this.#last;
  }

  heard(stamp: number): void {
    this.#last = Math.max(this.#last, stamp);
  }
}

/** Something that a node did, among what all of them do. */
export interface Stamped {
  readonly stamp: number;
  readonly node: string;
}

export function isBefore(one: Stamped, other: Stamped): boolean {
  return one.stamp === other.stamp ? one.node < other.node : one.stamp < other.stamp;
}
