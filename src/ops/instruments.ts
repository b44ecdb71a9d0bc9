/** Prometheus metrics that are read when they are asked for, instead of being kept up on the hot path. */
import {
  Counter,
  Gauge,
  type Metric,
  type MetricObjectWithValues,
  type MetricValue,
  Registry,
} from 'prom-client';

const PREFIX = 'carillon_';

type Read = () => number | Promise<number>;

/** One process's metrics as plain data, which can be merged with those of others. */
export type Readings = MetricObjectWithValues<MetricValue<string>>[];

/** What the values of several processes make together. Counters and histograms are sums. */
export type Merged = 'sum' | 'min' | 'max';

export interface HistogramReading {
  /** Per bucket, not cumulative; one more than there are bounds. */
  readonly counts: ArrayLike<number>;
  readonly sum: number;
}

/** Every label has a closed set of values, all of them present from the first scrape: a rate needs its zero. */
export class Instruments {
  readonly #registry = new Registry();

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(): Promise<string> {
    return this.#registry.metrics();
  }

  readings(): Promise<Readings> {
    return this.#registry.getMetricsAsJSON();
  }

  has(name: string): boolean {
    return this.#registry.getSingleMetric(PREFIX + name) !== undefined;
  }

  gauge(name: string, help: string, read: Read, aggregator: Merged = 'sum'): void {
    new Gauge({
      name: PREFIX + name,
      help,
      aggregator,
      registers: [this.#registry],
      async collect() {
        this.set(await read());
      },
    });
  }

  gauges<L extends string>(
    name: string,
    help: string,
    label: string,
    read: () => Readonly<Record<L, number>>,
    aggregator: Merged = 'sum',
  ): void {
    new Gauge({
      name: PREFIX + name,
      help,
      aggregator,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        for (const [key, value] of Object.entries<number>(read())) this.set({ [label]: key }, value);
      },
    });
  }

  /** The whole count is read each time: it only grows, so setting it anew keeps the promise of a counter. */
  counter(name: string, help: string, read: () => number): void {
    new Counter({
      name: PREFIX + name,
      help,
      registers: [this.#registry],
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  counters<L extends string>(
    name: string,
    help: string,
    label: string,
    read: () => Readonly<Record<L, number>>,
  ): void {
    new Counter({
      name: PREFIX + name,
      help,
      labelNames: [label],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const [key, value] of Object.entries<number>(read())) this.inc({ [label]: key }, value);
      },
    });
  }

  histogram(name: string, help: string, upperBounds: readonly number[], read: () => HistogramReading): void {
    const full = PREFIX + name;
    const metric = {
      name: full,
      get: async () => ({
        name: full,
        help,
        type: 'histogram',
        aggregator: 'sum',
        values: bucketValues(full, upperBounds, read()),
      }),
    };
    // prom-client's own histogram can only be filled one observation at a time. What its registry needs of a
    // metric is a name and this `get`, which its types do not say.
    this.#registry.registerMetric(metric as unknown as Metric);
  }
}

function bucketValues(name: string, upperBounds: readonly number[], reading: HistogramReading): object[] {
  let count = 0;
  const values: object[] = [...upperBounds, '+Inf'].map((le, at) => {
    count += reading.counts[at] ?? 0;
    return { metricName: `${name}_bucket`, labels: { le }, value: count };
  });
  values.push({ metricName: `${name}_sum`, labels: {}, value: reading.sum });
  values.push({ metricName: `${name}_count`, labels: {}, value: count });
  return values;
}

/** Keys that are not in the set count as `other`, where the set has it: a label can never grow by data. */
export function overClosedSet(
  keys: readonly string[],
  counts: ReadonlyMap<string, number>,
): Record<string, number> {
  const row = Object.fromEntries(keys.map((key) => [key, 0]));
  for (const [key, count] of counts) {
    const label = key in row ? key : 'other';
    if (label in row) row[label] = (row[label] ?? 0) + count;
  }
  return row;
}
