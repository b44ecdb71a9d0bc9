import type { ClusterFigures } from '../../src/broker/cluster.ts';
import type { BusHealth } from '../../src/broker/ports.ts';
import { Tally } from '../../src/broker/tally.ts';
import { FIGURE_NAMES } from '../../src/ops/figures.ts';
import { createMetrics } from '../../src/ops/metrics.ts';
import { parseExposition } from './exposition.ts';

/** Everything that a broker on NATS can export: by sample, the values that each label has at the first scrape. */
export async function exported(): Promise<ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>>> {
  const figures = Object.fromEntries(FIGURE_NAMES.map((name) => [name, 0]));
  const health: BusHealth = { state: 'up', detail: '', figures };
  const cluster: ClusterFigures = {
    nodes: 1,
    connected: true,
    tells: {},
    asks: {},
    writes: {},
    stores: [],
    storesAgeMs: 0,
  } as unknown as ClusterFigures;
  const metrics = createMetrics({
    tally: new Tally(),
    bus: { kind: 'nats', health: () => health },
    cluster: { figures: () => cluster },
    api: { answers: new Map() },
    usage: { figures: () => ({ stored: 0, dropped: 0, failures: 0, waiting: 0 }) },
    tls: { endsAtMs: new Map([['default', 0]]), reloads: new Map() },
    lifecycle: () => undefined,
    version: '1.2.3',
  });
  try {
    return labelsOf(await metrics.text());
  } finally {
    metrics.close();
  }
}

function labelsOf(text: string): Map<string, Map<string, Set<string>>> {
  const known = new Map<string, Map<string, Set<string>>>();
  for (const [family, { samples }] of parseExposition(text)) {
    for (const sample of [family, ...samples.keys()]) {
      const [name = '', rest = ''] = sample.split('{', 2);
      const labels = known.get(name) ?? new Map<string, Set<string>>();
      known.set(name, labels);
      for (const [, label = '', value = ''] of rest.matchAll(/([a-z_]+)="([^"]*)"/g))
        labels.set(label, (labels.get(label) ?? new Set()).add(value));
    }
  }
  return known;
}
