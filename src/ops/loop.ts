import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

/** How often the delay is sampled. Also the floor of what the histogram reports, so it is taken off again. */
const RESOLUTION_MS = 10;

/** Readiness looks at this long: a single pause of the collector must not take a pod out of the service. */
const WINDOW_MS = 10_000;

export interface LoopLag {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** How late timers fire. */
export class LoopLagMeter {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** The figures since the last take. 0 while there is no sample yet. */
  read(): LoopLag {
    const { count, max } = this.#histogram;
    if (count === 0) return { p50Ms: 0, p99Ms: 0, maxMs: 0 };
    return {
      p50Ms: overFloor(this.#histogram.percentile(50)),
      p99Ms: overFloor(this.#histogram.percentile(99)),
      maxMs: overFloor(max),
    };
  }

  /** The figures since the last take, and starts anew. */
  take(): LoopLag {
    const lag = this.read();
    this.#histogram.reset();
    return lag;
  }

  close(): void {
    this.#histogram.disable();
  }
}

/**
 * The loop lag of the last one to two windows (p99), whoever asks and however often. It has its own meter, so that a
 * scrape of the metrics does not hide a bad spell from the probe.
 */
export class RecentLag {
  readonly #meter = new LoopLagMeter();
  readonly #now: () => number;
  readonly #windowMs: number;
  #startedAt: number;
  #previousMs = 0;

  /** @param now milliseconds of a monotonic clock */
  constructor(now: () => number, windowMs = WINDOW_MS) {
    this.#now = now;
    this.#windowMs = windowMs;
    this.#startedAt = now();
  }

  p99Ms(): number {
    const currentMs = this.#meter.read().p99Ms;
    const worstMs = Math.max(this.#previousMs, currentMs);
    if (this.#now() - this.#startedAt >= this.#windowMs) {
      this.#previousMs = currentMs;
      this.#startedAt = this.#now();
      this.#meter.take();
    }
    return worstMs;
  }

  close(): void {
    this.#meter.close();
  }
}

function overFloor(nanoseconds: number): number {
  return Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
}
