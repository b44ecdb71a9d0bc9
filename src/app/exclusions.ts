import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { Cluster } from '../broker/cluster.ts';
import { Exclusions } from '../broker/exclusion/exclusions.ts';
import { lifeOf } from '../config/token-life.ts';
import type { Config } from '../config.ts';
import { clock } from './time.ts';

export function createExclusions(config: Config, log: Logger, cluster: Cluster): Exclusions {
  const { abuse, limits } = config;
  const never = { userConnects: 0, addressConnects: 0, offences: 0 };
  return new Exclusions({
    cluster,
    abuse: limits.rates ? abuse : { ...abuse, ...never },
    life: lifeOf(config),
    ticketTtlSeconds: config.tickets.ttlSeconds,
    clock,
    log,
    // Half of SHA-256: 128 bits, which nobody can make collide with what somebody else has chosen.
    digest: (text) => createHash('sha256').update(text).digest('base64url').slice(0, 22),
  });
}
