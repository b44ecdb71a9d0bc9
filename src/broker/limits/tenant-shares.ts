/**
 * What tenants have of one bounded thing of the node. A tenant may have as much as is left for all others: one alone half
 * of it, the next one half of the rest, and a further one still finds some.
 */
export class TenantShares {
  readonly #max: number;
  readonly #used = new Map<string, number>();
  #all = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get all(): number {
    return this.#all;
  }

  of(tenant: string): number {
    return this.#used.get(tenant) ?? 0;
  }

  /** `full`: nobody may have so much more; `over`: the tenant may not. */
  check(tenant: string, amount = 1): 'free' | 'full' | 'over' {
    const left = this.#max - this.#all;
    if (amount > left) return 'full';
    const used = this.of(tenant);
    return used === 0 || used + amount <= left ? 'free' : 'over';
  }

  /** @param amount below 0: given back */
  add(tenant: string, amount: number): void {
    const used = this.of(tenant) + amount;
    this.#all += amount;
    if (used > 0) this.#used.set(tenant, used);
    else this.#used.delete(tenant);
  }
}
