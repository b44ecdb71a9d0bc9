import type { Defer } from '../ports.ts';
import type { FairnessLimits } from '../settings.ts';

export interface FairParts<T> {
  readonly limits: FairnessLimits;
  readonly defer: Defer;
  readonly handle: (item: T) => void;
  /** Called for each turn in which tenants took turns. */
  readonly served: () => void;
}

interface Item<T> {
  readonly item: T;
  readonly cost: number;
  readonly bytes: number;
}

/** What waits of one tenant. */
class Lane<T> {
  readonly weight: number;
  #items: Item<T>[] = [];
  #at = 0;
  bytes = 0;
  deficit = 0;

  constructor(weight: number) {
    this.weight = weight;
  }

  get head(): Item<T> | undefined {
    return this.#items[this.#at];
  }

  push(item: Item<T>): void {
    this.#items.push(item);
    this.bytes += item.bytes;
  }

  shift(): void {
    this.bytes -= this.#items[this.#at]?.bytes ?? 0;
    this.#at++;
    // Half of the array is dead: copying the rest costs less than was served since.
    if (this.#at * 2 < this.#items.length) return;
    this.#items = this.#items.slice(this.#at);
    this.#at = 0;
  }
}

/**
 * Deficit round robin (Shreedhar and Varghese, 1995) over tenants, by what their frames make the node do: while turns of
 * the loop take too long, each turn gives out a bounded amount of work, to each tenant in proportion to its weight. While
 * turns are short nothing waits, and all that it costs is a look at `active`.
 */
export class FairQueue<T> {
  readonly #parts: FairParts<T>;
  readonly #lanes = new Map<string, Lane<T>>();
  /** Tenants with something waiting, the next one first. */
  #ring: string[] = [];
  #scheduled = false;
  #calm = true;
  active = false;

  constructor(parts: FairParts<T>) {
    this.#parts = parts;
  }

  /** How long the last turn took, in milliseconds. */
  observe(turnMs: number): void {
    const { lagMs } = this.#parts.limits;
    if (turnMs > lagMs) this.active = true;
    this.#calm = turnMs < lagMs / 2;
  }

  /** false: the tenant has `queueBytes` waiting already. */
  offer(tenant: string, weight: number, item: T, cost: number, bytes: number): boolean {
    let lane = this.#lanes.get(tenant);
    if (lane === undefined) {
      lane = new Lane(weight);
      this.#lanes.set(tenant, lane);
      this.#ring.push(tenant);
    }
    if (lane.bytes + bytes > this.#parts.limits.queueBytes && lane.head !== undefined) return false;
    lane.push({ item, cost, bytes });
    this.#schedule();
    return true;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#parts.defer(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    this.#parts.served();
    let left = this.#parts.limits.turnCost;
    while (left > 0 && this.#ring.length > 0) left -= this.#serveNext(left);
    if (this.#ring.length > 0) this.#schedule();
    // Only now: what comes next must not overtake what waited.
    else if (this.#calm) this.active = false;
  }

  /** One visit to the tenant whose turn it is. What it cost. */
  #serveNext(left: number): number {
    const tenant = this.#ring[0] as string;
    const lane = this.#lanes.get(tenant) as Lane<T>;
    // A visit that the end of the turn cut short goes on without a new grant.
    if (lane.deficit <= 0 || lane.deficit < (lane.head?.cost ?? 0))
      lane.deficit += this.#parts.limits.quantum * lane.weight;
    let spent = 0;
    for (let next = lane.head; next !== undefined && next.cost <= lane.deficit; next = lane.head) {
      if (spent >= left) return spent;
      lane.shift();
      lane.deficit -= next.cost;
      spent += next.cost;
      this.#parts.handle(next.item);
    }
    this.#ring.shift();
    if (lane.head === undefined) this.#lanes.delete(tenant);
    else this.#ring.push(tenant);
    return spent;
  }
}
