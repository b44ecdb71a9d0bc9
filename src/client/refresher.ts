import { fullJitterMs } from './backoff.ts';

export interface RefresherParts {
  /** Gets a new token and gives it to the server; whoever does that calls `renewed`. */
  refresh(): Promise<unknown>;
  failed(error: unknown): void;
  /** By `performance.now()`: the end of the token in force, where it is known. */
  endsAt(): number | undefined;
  readonly random: () => number;
}

/** A new token is asked for so long before the end of the old one: this, or a tenth of what is left. */
const LEAD_MS = 10_000;
const LEAD_SHARE = 0.1;
/** But never before a third of what is left, half with jitter: tokens of seconds exist. */
const LEAD_MAX_SHARE = 1 / 3;
/** Between two refreshes at least, should the provider keep giving the token that is about to end. */
const PAUSE_MS = 500;
const RETRY = { minMs: 1000, maxMs: 30_000 };
/** Timers hold 31 bits of milliseconds, and some tokens last longer. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** Milliseconds until the refresh of a token that has `leftMs`; jitter, so that clients spread. */
export function refreshInMs(leftMs: number, random: () => number): number {
  const leadMs = Math.min(Math.max(LEAD_MS, leftMs * LEAD_SHARE), leftMs * LEAD_MAX_SHARE);
  return Math.max(PAUSE_MS, leftMs - leadMs * (1 + random() / 2));
}

/**
 * Renews the token of an open connection before it ends. Tries again while it has not ended; after that the
 * server closes with 4201, and the client comes back with a new one.
 */
export class Refresher {
  readonly #parts: RefresherParts;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  /** Counts connections: a provider that answers after the loss of one must not speak for the next. */
  #round = 0;
  #open = false;

  constructor(parts: RefresherParts) {
    this.#parts = parts;
  }

  opened(): void {
    this.#open = true;
    this.#round++;
    this.renewed();
  }

  /** The token in force is another one, or the connection. */
  renewed(): void {
    this.#failures = 0;
    this.#arm();
  }

  /** The connection is lost or closed. */
  stop(): void {
    this.#open = false;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const endsAt = this.#parts.endsAt();
    const leftMs = endsAt === undefined ? 0 : endsAt - performance.now();
    if (!this.#open || leftMs <= 0) return;
    const { random } = this.#parts;
    const waitMs =
      this.#failures === 0
        ? refreshInMs(leftMs, random)
        : PAUSE_MS + fullJitterMs(this.#failures - 1, RETRY, random);
    if (waitMs <= TIMER_MAX_MS) this.#timer = setTimeout(() => this.#run(), waitMs);
    else this.#timer = setTimeout(() => this.#arm(), TIMER_MAX_MS);
  }

  async #run(): Promise<void> {
    const round = this.#round;
    try {
      await this.#parts.refresh();
    } catch (error) {
      this.#parts.failed(error);
      if (round !== this.#round) return;
      this.#failures++;
      this.#arm();
    }
  }
}
