import type { Logger } from 'pino';
import { answerUsage } from '../broker/admin/usage.ts';
import type { Cluster } from '../broker/cluster.ts';
import type { Tenants } from '../broker/limits/tenants.ts';
import { UsageBook, type UsageStore } from '../broker/usage.ts';
import type { Config } from '../config.ts';
import { after, clock } from './time.ts';

/** What a stopping node takes for its last records. */
const LAST_MS = 2000;

export interface UsageOfTenants {
  readonly book: UsageBook;
  /** When bus and cluster have started, before the first client. */
  begin(): Promise<void>;
  /** Before the cluster is closed. */
  end(): Promise<void>;
}

export function createUsage(
  config: Config,
  log: Logger,
  cluster: Cluster,
  tenants: Tenants,
  store: UsageStore,
): UsageOfTenants {
  const { node, incarnation } = cluster;
  const book = new UsageBook({
    ledger: tenants.ledger,
    store,
    node,
    incarnation,
    settings: config.usage,
    clock,
    log,
  });
  const stop = answerUsage(cluster, book);
  return {
    book,
    begin: async () => {
      const today = await book.start();
      // Where nodes share limits, what was taken of the day stands with the leases.
      if (cluster.kind === 'embedded') tenants.resumeDay(today);
    },
    end: async () => {
      stop();
      await Promise.race([book.close(), after(LAST_MS).reached]);
    },
  };
}
