import type { Logger } from 'pino';
import type { Cluster } from '../broker/cluster.ts';
import { Policies } from '../broker/limits/policy.ts';
import { SharedLimits } from '../broker/limits/shared.ts';
import { Tenants } from '../broker/limits/tenants.ts';
import { type Config, parsePolicy } from '../config.ts';
import { after, clock, later } from './time.ts';

/** How often nodes look at their shares of tenants' limits, when nothing is refused. */
const LEASES_MS = 250;
const GIVE_BACK_MS = 500;

export interface LimitsOfTenants {
  readonly tenants: Tenants;
  /** When the cluster has started. */
  begin(): void;
  /** Before the cluster is closed. */
  end(): Promise<void>;
}

export function createLimits(config: Config, log: Logger, cluster: Cluster): LimitsOfTenants {
  const policies = new Policies(config.tenants.default, config.tenants.named);
  const tenants = new Tenants(policies, config.limits.rates, clock);
  const shared = new SharedLimits({
    cluster,
    tenants,
    parse: (value) => parsePolicy(value, config.limits.schemas),
    times: config.cluster,
    waiting: config.limits.tenantWaiting,
    clock,
    after: later,
    log,
  });
  let ticking: NodeJS.Timeout | undefined;
  return {
    tenants,
    begin: () => {
      shared.start();
      ticking = setInterval(() => shared.tick(), LEASES_MS);
    },
    end: async () => {
      clearInterval(ticking);
      // What is not given back in time is free when the lease is over.
      await Promise.race([shared.close(), after(GIVE_BACK_MS).reached]);
    },
  };
}
