import { AggregatorRegistry } from 'prom-client';
import type { Readings } from '../ops/instruments.ts';

/**
 * The metrics of several processes as one. What a process has counted stays in the sums when it ends, up to its last
 * scrape: a sum that fell would look to Prometheus like a restart of all of them, and be counted a second time.
 */
export class MergedMetrics {
  readonly #last = new Map<number, Readings>();
  #ended: Readings = [];

  /** A worker has been scraped. */
  scraped(worker: number, readings: Readings): void {
    this.#last.set(worker, readings);
  }

  /** Its process has ended. */
  async ended(worker: number): Promise<void> {
    const readings = this.#last.get(worker);
    if (readings === undefined) return;
    this.#last.delete(worker);
    const growing = readings.filter(({ type }) => GROWING.has(String(type)));
    this.#ended = await AggregatorRegistry.aggregate([this.#ended, growing]).getMetricsAsJSON();
  }

  /** The exposition of all workers and of what this process itself says. */
  text(own: Readings): Promise<string> {
    return AggregatorRegistry.aggregate([own, this.#ended, ...this.#last.values()]).metrics();
  }
}

const GROWING = new Set(['counter', 'histogram']);
