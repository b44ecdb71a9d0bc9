import { after } from 'node:test';
import { natsBus, newPrefix } from '../support/nats/bus.ts';
import { NatsCluster } from '../support/nats/cluster.ts';
import { busContract } from './bus.ts';

const cluster = await NatsCluster.start(1);
after(() => cluster.close());

busContract(
  'nats',
  async () => {
    const options = { prefix: newPrefix() };
    const clock = { time: Date.now(), now: () => clock.time };
    const bus = natsBus(cluster.urls, { options, clock });
    const peer = natsBus(cluster.urls, { options, clock });
    await bus.start();
    await peer.start();
    return {
      bus,
      peer,
      advance: (ms) => {
        clock.time += ms;
      },
      close: async () => {
        await bus.close();
        await peer.close();
      },
    };
  },
  { nodes: 2, exactBounds: true, ages: true },
);
