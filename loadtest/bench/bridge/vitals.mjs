/** What a pod says of itself on its admin listener. */
import { sleep } from '../../support/stats.mjs';

// Counters end in _total; the name is what the bus calls it.
const FIGURE = /^carillon_bus_(\w+?)(?:_total)?(?:\{[^}]*\})? (\S+)$/;

export class Vitals {
  #base;
  slowestMs = 0;

  constructor({ host, port }) {
    this.#base = `http://${host}:${port}`;
  }

  /** The figures of the bus by name, and the status of /readyz. */
  async read() {
    const started = performance.now();
    const [metrics, ready] = await Promise.all([
      fetch(`${this.#base}/metrics`),
      fetch(`${this.#base}/readyz`),
    ]);
    const text = await metrics.text();
    await ready.text();
    this.slowestMs = Math.max(this.slowestMs, performance.now() - started);
    const figures = { readyz: ready.status };
    for (const line of text.split('\n')) {
      const match = FIGURE.exec(line);
      if (match !== null) figures[match[1]] = Number(match[2]);
    }
    return figures;
  }
}

/** Milliseconds until `reached` said true; throws after `latestMs`. */
export async function until(latestMs, everyMs, reached) {
  const started = performance.now();
  while (!(await reached())) {
    if (performance.now() - started > latestMs) throw new Error(`not reached after ${latestMs} ms`);
    await sleep(everyMs);
  }
  return performance.now() - started;
}
