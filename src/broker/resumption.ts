import type { Resumption } from './ports.ts';

export interface Ending {
  readonly code: number;
  readonly reason: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

interface Former {
  /** Of the newest connection that is known of. */
  readonly generation: number;
  /** Of the one that ended here. */
  readonly endedAs: number;
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

  /** The session goes on elsewhere: a ticket older than its connection there has been used. */
  wentOn({ session, generation }: Resumption): void {
    const former = this.#former.get(session);
    if (former !== undefined && generation > former.generation)
      this.#former.set(session, { ...former, generation });
  }

  /** @param newest generation of the session that is known of */
  ended({ session, generation }: Resumption, newest: number, ending: Ending): void {
    // The late close of a socket that hung: what came after it has ended already.
    if (generation < (this.#former.get(session)?.generation ?? 0)) return;
    // Taken out first, so that the map stands in the order of the endings.
    this.#former.delete(session);
    this.#former.set(session, { generation: newest, endedAs: generation, ending });
    if (this.#former.size > FORMER_MAX) this.#dropOldest();
  }

  /** How the connection that the ticket was made for ended, if it was here. */
  take({ session, generation }: Resumption): Ending | undefined {
    const former = this.#former.get(session);
    this.#former.delete(session);
    return former?.endedAs === generation ? former.ending : undefined;
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
