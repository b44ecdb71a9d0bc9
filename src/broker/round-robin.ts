/** What a `RoundRobin` goes round. */
export interface RoundRobinItem {
  /** Its index there; -1: it is in none. */
  roundRobinIndex: number;
}

/**
 * Visits the members of a changing collection one after the other, some at a time, for ever.
 *
 * Not an iterator of the Map: one that is held between two turns keeps every table that the Map has grown out of, and
 * with them all members that are gone. 175,000 connections that came and went have ended a process of 256 MB so.
 *
 * From the end to the start: a member that fills the place of a removed one has been visited or comes later, and is
 * never skipped.
 */
export class RoundRobin<T extends RoundRobinItem> {
  readonly #items: T[] = [];
  /** The next one is before this. */
  #at = 0;

  get size(): number {
    return this.#items.length;
  }

  add(item: T): void {
    item.roundRobinIndex = this.#items.length;
    this.#items.push(item);
  }

  remove(item: T): void {
    if (this.#items[item.roundRobinIndex] !== item) return;
    const last = this.#items.pop() as T;
    if (last !== item) {
      this.#items[item.roundRobinIndex] = last;
      last.roundRobinIndex = item.roundRobinIndex;
    }
    item.roundRobinIndex = -1;
  }

  /** undefined: there are none. */
  next(): T | undefined {
    if (this.#at === 0 || this.#at > this.#items.length) this.#at = this.#items.length;
    return this.#at === 0 ? undefined : this.#items[--this.#at];
  }
}
