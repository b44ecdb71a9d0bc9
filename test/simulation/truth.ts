import assert from 'node:assert/strict';

/** An event as it was accepted. */
export interface Fact {
  readonly seq: number;
  readonly payload: string;
  readonly from: string;
  readonly msgId: string | undefined;
  readonly key: string | undefined;
}

/** One room in one epoch: every event that was ever accepted, in its order. */
export class Order {
  readonly facts: Fact[] = [];
  readonly #messages = new Map<string, number>();

  add(fact: Fact): void {
    assert.ok(fact.seq > this.head, `${fact.seq} is accepted after ${this.head}`);
    this.facts.push(fact);
    if (fact.msgId === undefined) return;
    const message = JSON.stringify([fact.from, fact.msgId]);
    assert.ok(!this.#messages.has(message), `${fact.msgId} is stored twice`);
    this.#messages.set(message, fact.seq);
  }

  get head(): number {
    return this.facts.at(-1)?.seq ?? 0;
  }

  /** The first event after a position. */
  next(seq: number): Fact | undefined {
    return this.facts[this.#after(seq)];
  }

  at(seq: number): Fact | undefined {
    const fact = this.facts[this.#after(seq - 1)];
    return fact?.seq === seq ? fact : undefined;
  }

  /** Events of (from, to]. */
  between(from: number, to: number): readonly Fact[] {
    return this.facts.slice(this.#after(from), this.#after(to));
  }

  #after(seq: number): number {
    let low = 0;
    let high = this.facts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.facts[middle] as Fact).seq > seq) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** What really happened, for the model to explain what clients were told. */
export class Truth {
  readonly #orders = new Map<string, Order>();
  /** Seq of the oldest event of a room's epoch that is still kept; undefined: none is. Rooms by `RoomRef.key`. */
  oldestKept: (epoch: string, room: string) => number | undefined = () => undefined;

  /** Whether the store is another one by now: a node that has not noticed may know less than its clients. */
  over: (epoch: string) => boolean = () => false;
  readonly #lost = new Set<string>();

  /** Some node has never had this event, and has said so. */
  lost(epoch: string, seq: number): void {
    this.#lost.add(`${epoch} ${seq}`);
  }

  wasLost(epoch: string, seq: number): boolean {
    return this.#lost.has(`${epoch} ${seq}`);
  }

  order(epoch: string, room: string): Order {
    const key = `${epoch}\0${room}`;
    let order = this.#orders.get(key);
    if (order === undefined) {
      order = new Order();
      this.#orders.set(key, order);
    }
    return order;
  }
}
