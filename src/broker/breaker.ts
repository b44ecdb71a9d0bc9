export interface BreakerOptions {
  /** In a row, from which on nothing is tried. */
  readonly failures: number;
  /** Until one attempt is let through again; when it fails, the same time once more. */
  readonly openMs: number;
}

/** Keeps callers away from a service that fails, so that it is neither waited for nor burdened. */
export class Breaker {
  readonly #options: BreakerOptions;
  #failed = 0;
  #openUntil = 0;
  #probing = false;

  constructor(options: BreakerOptions) {
    this.#options = options;
  }

  get open(): boolean {
    return this.#failed >= this.#options.failures;
  }

  /** Milliseconds to wait before an attempt; 0: go, and answer with `succeeded` or `failed`. */
  enter(now: number): number {
    if (!this.open) return 0;
    if (this.#probing || now < this.#openUntil) return Math.max(1, this.#openUntil - now);
    this.#probing = true;
    return 0;
  }

  succeeded(): void {
    this.#failed = 0;
    this.#probing = false;
  }

  failed(now: number): void {
    this.#failed++;
    this.#probing = false;
    if (this.open) this.#openUntil = now + this.#options.openMs;
  }
}
