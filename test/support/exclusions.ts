import { createHash } from 'node:crypto';
import { Exclusions } from '../../src/broker/exclusion/exclusions.ts';
import type { Clock, Log } from '../../src/broker/ports.ts';
import type { AbuseSettings } from '../../src/broker/settings.ts';
import { MemoryCluster } from '../../src/bus/memory/cluster.ts';

export const NO_ABUSE: AbuseSettings = {
  windowMs: 60_000,
  userConnects: 0,
  addressConnects: 0,
  offences: 0,
  banMs: 600_000,
  bansMax: 100,
  entries: 1000,
  tarpitMs: 0,
  tarpitMax: 1,
};

export const digest = (text: string) => createHash('sha256').update(text).digest('base64url').slice(0, 22);

export function memoryCluster(clock: Clock, log: Log, dir?: string): MemoryCluster {
  return new MemoryCluster({
    node: 'n1',
    incarnation: 'i1',
    status: () => ({ connections: 0, acceptsPerSecond: 0, loopLagMs: 0, draining: false }),
    settings: {
      heartbeatMs: 1000,
      missed: 3,
      messageBytes: 65_536,
      leaseMs: 10_000,
      skewMs: 1000,
      skewWarnMs: 1000,
      askMs: 1000,
    },
    limits: { entries: 1000, bytes: 1_000_000, valueBytes: 4096 },
    dir,
    clock,
    log,
  });
}

/** Of a cluster of one; nothing can be stored before that has started. */
export function exclusionsOf(
  cluster: MemoryCluster,
  clock: Clock,
  log: Log,
  abuse: Partial<AbuseSettings> = {},
): Exclusions {
  return new Exclusions({
    cluster,
    abuse: { ...NO_ABUSE, ...abuse },
    life: { tokenLifeMs: 3_600_000, clockToleranceSeconds: 5 },
    ticketTtlSeconds: 180,
    clock,
    log,
    digest,
  });
}
