import { after } from 'node:test';
import { newPrefix } from '../support/nats/bus.ts';
import { NatsCluster } from '../support/nats/cluster.ts';
import { startNode } from '../support/nats/nodes.ts';
import { clusterContract } from './cluster.ts';

const servers = await NatsCluster.start(1);
after(() => servers.close());

clusterContract(
  'nats',
  async (setup) => {
    const clock = { time: Date.now(), now: () => clock.time };
    const common = { ...setup, options: { prefix: newPrefix() }, clock };
    let [here, there] = await Promise.all([
      startNode(servers.urls, { ...common, node: 'here' }),
      startNode(servers.urls, { ...common, node: 'there' }),
    ]);
    return {
      cluster: here.cluster,
      peer: there.cluster,
      advance: (ms) => {
        clock.time += ms;
      },
      restart: async () => {
        // Both: nobody is left who could have told it.
        await Promise.all([here.close(), there.close()]);
        here = await startNode(servers.urls, { ...common, node: 'here' });
        there = here;
        return here.cluster;
      },
      close: async () => {
        await Promise.all([here.close(), there.close()]);
      },
    };
  },
  { nodes: 2 },
);
