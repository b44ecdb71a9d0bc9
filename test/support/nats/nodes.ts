import type { Clock, Log } from '../../../src/broker/ports.ts';
import type { ClusterSettings, StateLimits } from '../../../src/broker/settings.ts';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import { NatsCluster } from '../../../src/bus/nats/cluster/cluster.ts';
import { type NatsOptions, natsOptions } from '../../../src/bus/nats/options.ts';
import { SETTINGS, STATE, STATUS } from '../../contract/cluster/subject.ts';
import { QUIET } from '../log.ts';
import { LIVE } from '../rooms.ts';
import { natsBus } from './bus.ts';

export interface NodeSetup {
  readonly options: Partial<NatsOptions> & Pick<NatsOptions, 'prefix'>;
  readonly node?: string;
  readonly settings?: ClusterSettings;
  readonly limits?: StateLimits;
  readonly clock?: Clock;
  readonly log?: Log;
}

export interface TestNode {
  readonly cluster: NatsCluster;
  readonly bus: NatsBus;
  close(): Promise<void>;
}

let count = 0;

/** A node as app.ts puts it together, without rooms; not started. */
export function natsNode(servers: readonly string[], setup: NodeSetup): TestNode {
  const { options, settings = SETTINGS, limits = STATE, clock = { now: Date.now }, log = QUIET } = setup;
  const bus = natsBus(servers, { options, policies: [LIVE], clock, log });
  const incarnation = `i${process.pid}-${++count}`;
  const cluster = new NatsCluster({
    link: () => bus.link(),
    options: natsOptions({ servers, ...options }),
    settings,
    limits,
    node: setup.node ?? `n${count}`,
    incarnation,
    status: () => STATUS,
    clock,
    log,
  });
  return {
    cluster,
    bus,
    close: async () => {
      await cluster.close();
      await bus.close();
    },
  };
}

export async function startNode(servers: readonly string[], setup: NodeSetup): Promise<TestNode> {
  const node = natsNode(servers, setup);
  try {
    await node.bus.start();
    await node.cluster.start();
    return node;
  } catch (error) {
    await node.close();
    throw error;
  }
}
