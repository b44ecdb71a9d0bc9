import type { HttpResponse } from 'uWebSockets.js';
import type { Log } from '../broker/ports.ts';
import type { Tally } from '../broker/tally.ts';

export interface TarpitSettings {
  /** 0: nobody waits. */
  readonly holdMs: number;
  /** Responses held at once. */
  readonly max: number;
}

/** Lets clients that are refused wait for it: one that comes back at once comes back less often. */
export class Tarpit {
  readonly #settings: TarpitSettings;
  readonly #tally: Tally;
  readonly #log: Log;

  constructor(settings: TarpitSettings, tally: Tally, log: Log) {
    this.#settings = settings;
    this.#tally = tally;
    this.#log = log;
  }

  /** Answers later, unless the client goes away. false: not held, the caller has to answer now. */
  hold(response: HttpResponse, answer: () => void): boolean {
    const { holdMs, max } = this.#settings;
    const tally = this.#tally;
    if (holdMs === 0 || tally.tarpitHeld >= max) return false;
    tally.tarpitHeld++;
    tally.tarpitted++;
    const timer = setTimeout(() => {
      tally.tarpitHeld--;
      try {
        answer();
      } catch (error) {
        this.#log.error({ err: error }, 'a held handshake could not be answered');
      }
    }, holdMs);
    // Takes the place of the one that the check of the token has set, which is over.
    response.onAborted(() => {
      clearTimeout(timer);
      tally.tarpitHeld--;
      tally.upgrade('aborted');
    });
    return true;
  }
}
