import type { Resumption } from './ports.ts';

export interface Ending {
  readonly code: number;
  readonly reason: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

interface Former {
  readonly generation: number;
  readonly ending: Ending;
}

/** Sessions remembered after their end; the oldest go first. About 200 bytes each. */
const FORMER_MAX = 200_000;

/**
 * What this node knows of sessions that have ended, for as long as a ticket could name them: why they ended, and
 * that a ticket older than their last connection has been used already.
 */
export class Resumptions {
  readonly #former = new Map<string, Former>();
  readonly #ttlMs: number;

  constructor(ttlSeconds: number) {
    this.#ttlMs = ttlSeconds * 1000;
  }

  /** Whether the ticket's generation is older than the session's last connection here. */
  used({ session, generation }: Resumption): boolean {
    const former = this.#former.get(session);
    return former !== undefined && generation < former.generation;
  }

  ended(session: string, generation: number, ending: Ending): void {
    // Taken out first, so that the map stands in the order of the endings.
    this.#former.delete(session);
    this.#former.set(session, { generation, ending });
    if (this.#former.size > FORMER_MAX) this.#dropOldest();
  }

  /** How the session's previous connection ended, if it was here. */
  take(session: string): Ending | undefined {
    const former = this.#former.get(session);
    this.#former.delete(session);
    return former?.ending;
  }

  sweep(nowMs: number): void {
    for (const [session, { ending }] of this.#former) {
      if (ending.at + this.#ttlMs > nowMs) return;
      this.#former.delete(session);
    }
  }

  #dropOldest(): void {
    for (const session of this.#former.keys()) {
      this.#former.delete(session);
      return;
    }
  }
}
