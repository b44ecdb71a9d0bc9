import { RecentLag } from '../ops/loop.ts';
import { Rate } from '../ops/rate.ts';
import { nowMs } from './time.ts';

/** The others want the last moment, not a reading of a single sample. */
const WINDOW_MIN_MS = 1000;

/** What heartbeats tell of the time since about the last one. */
export class Pulse {
  readonly #accepts: Rate;
  readonly #lag: RecentLag;

  constructor(heartbeatMs: number) {
    // Each tells of one to two windows.
    const windowMs = Math.max(WINDOW_MIN_MS, heartbeatMs / 2);
    this.#accepts = new Rate(nowMs, windowMs);
    this.#lag = new RecentLag(nowMs, windowMs);
  }

  /** @param accepted connections since the start */
  read(accepted: number): { readonly acceptsPerSecond: number; readonly loopLagMs: number } {
    return {
      acceptsPerSecond: Math.round(this.#accepts.of(accepted)),
      loopLagMs: Math.round(this.#lag.p99Ms()),
    };
  }

  close(): void {
    this.#lag.close();
  }
}
