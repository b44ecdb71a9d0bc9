/** Every metric that a broker can export, as at its first scrape: for docs/operations/metrics.md, and what is held to it. */
import { NO_DRAIN } from '../broker/drain/drain.ts';
import { Tally } from '../broker/tally.ts';
import { FIGURE_NAMES } from './figures.ts';
import { createMetrics, type MetricsSource } from './metrics.ts';

/** Labels whose values are the installation's, not ours. Each is bounded by the settings. */
export const OPEN_LABELS: ReadonlySet<string> = new Set([
  'bus',
  'certificate',
  'set',
  'shard',
  'store',
  'version',
]);

/** The exposition of a broker with everything switched on. */
export async function describedMetrics(): Promise<string> {
  const metrics = createMetrics(everything());
  try {
    return await metrics.text();
  } finally {
    metrics.close();
  }
}

function everything(): MetricsSource {
  const tally = new Tally();
  tally.identity.keySets.set('example', { loadedAt: undefined, keys: 0 });
  const figures = Object.fromEntries(FIGURE_NAMES.map((name) => [name, 0]));
  const shards = [{ unanswered: 0, lagMs: 0 }];
  return {
    tally,
    bus: { kind: 'nats', health: () => ({ state: 'up', detail: '', figures, shards }) },
    cluster: {
      figures: () => ({
        nodes: 1,
        connected: true,
        skewMs: 0,
        tells: { sent: 0, heard: 0, ignored: 0, too_large: 0, unavailable: 0 },
        asks: { whole: 0, partial: 0, answered: 0 },
        writes: { stored: 0, conflict: 0, unavailable: 0, too_large: 0, full: 0 },
        stores: [{ name: 'example', entries: 0, bytes: 0, revision: 0 }],
        storesAgeMs: 0,
      }),
    },
    usage: { figures: () => ({ stored: 0, dropped: 0, failures: 0, waiting: 0 }) },
    api: { answers: new Map() },
    tls: { endsAtMs: new Map([['default', 0]]), reloads: new Map() },
    lifecycle: () => ({
      kept: { stored: 0, dropped: 0, retried: 0, waiting: 0 },
      webhook: { delivered: 0, retried: 0, failed: 0, refused: 0, full: 0, stopped: 0 },
    }),
    drain: { progress: NO_DRAIN },
    traces: { ended: 0, exported: 0, failed: 0, limited: 0 },
    version: '0.0.0',
  };
}
