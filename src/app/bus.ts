import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Cluster, NodeStatus } from '../broker/cluster.ts';
import type { Bus, Cursors, Log } from '../broker/ports.ts';
import type { UsageStore } from '../broker/usage.ts';
import { MemoryBus } from '../bus/memory/bus.ts';
import { MemoryCluster } from '../bus/memory/cluster.ts';
import { MemoryCursors } from '../bus/memory/cursors.ts';
import { FileUsage } from '../bus/memory/usage.ts';
import { type ApplyParts, applyStreams } from '../bus/nats/apply.ts';
import { NatsBus } from '../bus/nats/bus.ts';
import { NatsCluster } from '../bus/nats/cluster/cluster.ts';
import { NatsUsage } from '../bus/nats/usage/store.ts';
import { OwnUsage } from '../bus/usage/own.ts';
import type { Config } from '../config.ts';
import { clock } from './time.ts';

/** Creates and updates the streams that the settings ask for: `carillon streams apply`. Throws with the reason. */
export async function provisionStreams(config: Config, log: Logger, narrow: boolean) {
  return applyStreams(streamSettings(config, log), { narrow });
}

/** What decides how the streams have to be. Throws without a `nats` section. */
export function streamSettings(config: Config, log: Log): ApplyParts {
  if (config.nats === undefined)
    throw new Error('the settings have no nats section: the embedded bus has no streams');
  const { nats: options, rooms: policies, limits, state, usage, lifecycle } = config;
  return { options, policies, limits, state, usage, lifecycle, log };
}

export interface Stores {
  readonly bus: Bus;
  readonly cursors: Cursors;
}

interface Kept extends Stores {
  readonly cluster: Cluster;
  readonly usage: UsageStore;
}

export interface BusSurroundings {
  readonly node: string;
  readonly status: () => NodeStatus;
  /** Of a tenant's policy. */
  readonly openRooms: (tenant: string) => number;
}

export function createBus(config: Config, log: Logger, { node, status, openRooms }: BusSurroundings): Kept {
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
    const link = () => bus.link();
    const cluster = new NatsCluster({ ...common, options, link });
    const usage = new NatsUsage({ link, options, settings: config.usage, node, incarnation, clock, log });
    return { bus, cursors: bus.cursors, cluster, usage };
  }
  const epoch = randomBytes(9).toString('base64url');
  return {
    bus: new MemoryBus({ limits: config.limits, openRooms, clock, epoch, log }),
    cursors: new MemoryCursors(config.limits.cursors),
    cluster: new MemoryCluster({ ...common, dir: config.state.dir }),
    usage: ownUsage(config, log),
  };
}

function ownUsage(config: Config, log: Logger): UsageStore {
  const { state, usage } = config;
  if (state.dir === undefined) return new OwnUsage(usage.records);
  return new FileUsage({ dir: state.dir, ageMs: usage.ageMs, clock, log });
}
