import type { Cluster, ClusterFigures } from '../broker/cluster.ts';
import type { Instruments } from './instruments.ts';

/** The metrics of what nodes tell one another; read at each scrape. */
export function describeCluster(
  instruments: Instruments,
  cluster: Pick<Cluster, 'figures'>,
  differences: () => number,
): void {
  const figure = (read: (figures: ClusterFigures) => number) => () => read(cluster.figures());
  instruments.gauge(
    'cluster_nodes',
    'Nodes that this one takes to be alive, itself included.',
    figure(({ nodes }) => nodes),
    'max',
  );
  instruments.gauge(
    'cluster_connected',
    '1: the other nodes can be reached; 0: not.',
    figure(({ connected }) => (connected ? 1 : 0)),
    'min',
  );
  instruments.gauge(
    'cluster_settings_differing',
    'Settings that other nodes have otherwise than this one, although all should have them the same.',
    differences,
    'max',
  );
  instruments.gauge(
    'cluster_clock_skew_seconds',
    'How far the clock of another node is from the clock of this one, at most.',
    figure(({ skewMs }) => skewMs / 1000),
    'max',
  );
  instruments.counters(
    'cluster_tells_total',
    'Messages to other nodes by what became of them; heard: from others; ignored: from others, of a kind or topic that this node does not know.',
    'outcome',
    () => cluster.figures().tells,
  );
  instruments.counters(
    'cluster_asks_total',
    'Questions to all nodes by how whole the answer was; answered: of others.',
    'outcome',
    () => cluster.figures().asks,
  );
  instruments.counters(
    'store_writes_total',
    'Changes of the stores by what became of them.',
    'outcome',
    () => cluster.figures().writes,
  );
  describeStores(instruments, cluster);
}

function describeStores(instruments: Instruments, cluster: Pick<Cluster, 'figures'>): void {
  const each = (read: (store: ClusterFigures['stores'][number]) => number) => () =>
    Object.fromEntries(cluster.figures().stores.map((store) => [store.name, read(store)]));
  instruments.gauges(
    'store_entries',
    'Entries that this node has of a store.',
    'store',
    each(({ entries }) => entries),
    'max',
  );
  instruments.gauges(
    'store_bytes',
    'Bytes of keys and values of a store.',
    'store',
    each(({ bytes }) => bytes),
    'max',
  );
  instruments.gauges(
    'store_revision',
    'The last change of a store that this node has.',
    'store',
    each(({ revision }) => revision),
    'max',
  );
  instruments.gauge(
    'store_age_seconds',
    'Since this node last knew that it misses nothing of the stores. NaN: never, or each node has its own.',
    () => cluster.figures().storesAgeMs / 1000,
    'max',
  );
}
