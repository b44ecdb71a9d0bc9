import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Cluster, NodeStatus } from '../broker/cluster.ts';
import type { Bus, Cursors } from '../broker/ports.ts';
import { MemoryBus } from '../bus/memory/bus.ts';
import { MemoryCluster } from '../bus/memory/cluster.ts';
import { MemoryCursors } from '../bus/memory/cursors.ts';
import { applyStreams } from '../bus/nats/apply.ts';
import { NatsBus } from '../bus/nats/bus.ts';
import { NatsCluster } from '../bus/nats/cluster/cluster.ts';
import type { Config } from '../config.ts';
import { clock } from './time.ts';

/** Creates and updates the streams that the settings ask for: `carillon streams apply`. Throws with the reason. */
export async function provisionStreams(config: Config, log: Logger) {
  if (config.nats === undefined)
    throw new Error('the settings have no nats section: the embedded bus has no streams');
  return applyStreams({
    options: config.nats,
    policies: config.rooms,
    limits: config.limits,
    state: config.state,
    log,
  });
}

export interface Stores {
  readonly bus: Bus;
  readonly cursors: Cursors;
}

export function createBus(
  config: Config,
  log: Logger,
  node: string,
  status: () => NodeStatus,
): Stores & { readonly cluster: Cluster } {
  const incarnation = randomBytes(9).toString('hex');
  const common = { node, incarnation, status, settings: config.cluster, limits: config.state, clock, log };
  if (config.nats !== undefined) {
    const options = config.nats;
    const bus = new NatsBus({
      options,
      policies: config.rooms,
      limits: config.limits,
      node: incarnation,
      clock,
      log,
    });
    const cluster = new NatsCluster({ ...common, options, link: () => bus.link() });
    return { bus, cursors: bus.cursors, cluster };
  }
  const epoch = randomBytes(9).toString('base64url');
  return {
    bus: new MemoryBus({ limits: config.limits, clock, epoch, log }),
    cursors: new MemoryCursors(config.limits.cursors),
    cluster: new MemoryCluster({ ...common, dir: config.state.dir }),
  };
}
