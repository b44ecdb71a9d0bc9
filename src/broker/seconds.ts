/** What can fall due; every connection is such a thing, so it keeps its own time. */
export interface Timed {
  /** Seconds since 1970, for `Seconds` alone to write; 0: not due at any time. */
  due: number;
}

/** Things that fall due at a second of the clock, without a timer for each. */
export class Seconds<T extends Timed> {
  readonly #bySecond = new Map<number, Set<T>>();
  #looked: number;

  constructor(nowMs: number) {
    this.#looked = Math.floor(nowMs / 1000);
  }

  /** Sets or moves when the item is due; what is past is due at the next look. */
  set(item: T, second: number): void {
    this.delete(item);
    const due = Math.max(Math.ceil(second), this.#looked + 1);
    const items = this.#bySecond.get(due);
    if (items === undefined) this.#bySecond.set(due, new Set([item]));
    else items.add(item);
    item.due = due;
  }

  delete(item: T): void {
    const { due } = item;
    if (due === 0) return;
    item.due = 0;
    const items = this.#bySecond.get(due);
    items?.delete(item);
    if (items?.size === 0) this.#bySecond.delete(due);
  }

  /** Takes out what is due by now. */
  take(nowMs: number): T[] {
    const now = Math.floor(nowMs / 1000);
    const due: T[] = [];
    for (const second of this.#secondsUntil(now)) due.push(...(this.#bySecond.get(second) ?? []));
    for (const item of due) this.delete(item);
    this.#looked = Math.max(this.#looked, now);
    return due;
  }

  /** After a long sleep of the machine there are more seconds to look at than entries. */
  #secondsUntil(now: number): number[] {
    const passed = Math.max(0, now - this.#looked);
    if (passed > this.#bySecond.size) return [...this.#bySecond.keys()].filter((second) => second <= now);
    return Array.from({ length: passed }, (_, index) => this.#looked + 1 + index);
  }
}
