import type { SchemaLimits, SchemaMode } from './schema.ts';

/** A payload that did not fit, for whoever mends its publisher. */
export interface Violation {
  readonly tenant: string;
  readonly room: string;
  readonly user: string;
  /** The pattern that the schema is for. */
  readonly match: string;
  readonly mode: SchemaMode;
  readonly path: string;
  readonly problem: string;
  /** The beginning of the payload's JSON text. */
  readonly payload: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** The newest violations of each tenant, so that one who makes many does not hide the others'. */
export class Samples {
  readonly #limits: SchemaLimits;
  readonly #byTenant = new Map<string, Violation[]>();

  constructor(limits: SchemaLimits) {
    this.#limits = limits;
  }

  add(violation: Omit<Violation, 'payload'>, payload: string): void {
    const { samples, sampleBytes, tenants } = this.#limits;
    const { tenant } = violation;
    const kept = this.#byTenant.get(tenant) ?? [];
    // Last in the map: the tenant whose newest violation is oldest comes first.
    this.#byTenant.delete(tenant);
    this.#byTenant.set(tenant, kept);
    kept.push({ ...violation, payload: beginning(payload, sampleBytes) });
    if (kept.length > samples) kept.shift();
    if (this.#byTenant.size <= tenants) return;
    const [oldest] = this.#byTenant.keys();
    if (oldest !== undefined) this.#byTenant.delete(oldest);
  }

  /** The newest first, at most `limit`. */
  list(tenant: string | undefined, limit: number): readonly Violation[] {
    const lists = tenant === undefined ? [...this.#byTenant.values()] : [this.#byTenant.get(tenant) ?? []];
    return lists
      .flatMap((kept) => [...kept].reverse())
      .sort((one, other) => other.at - one.at)
      .slice(0, limit);
  }
}

/** By way of bytes: a slice of the text would keep all of it alive. */
function beginning(text: string, bytes: number): string {
  return Buffer.from(text.slice(0, bytes)).subarray(0, bytes).toString();
}
