import { after } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { natsBus, newPrefix } from '../support/nats/bus.ts';
import { NatsCluster } from '../support/nats/cluster.ts';
import { roomRef } from '../support/rooms.ts';
import { opened } from './bus/probe.ts';
import { cursorsContract } from './cursors.ts';

const cluster = await NatsCluster.start(1);
const connection = await connect({ servers: cluster.urls });
const manager = await jetstreamManager(connection);
after(async () => {
  await connection.close();
  await cluster.close();
});

cursorsContract('nats', async () => {
  const options = { prefix: newPrefix(), shards: 1, cursorWriteMs: 30 };
  const buses = [natsBus(cluster.urls, { options }), natsBus(cluster.urls, { options })] as const;
  for (const bus of buses) await bus.start();
  const probes = await Promise.all(buses.map((bus) => opened(bus, roomRef('epochs'))));
  const epochOf = (at: number) => probes[at]?.positions.at(-1)?.epoch ?? '';
  return {
    cursors: buses[0].cursors,
    peer: buses[1].cursors,
    epoch: epochOf(0),
    /** The stream of the rooms made anew. */
    renew: async () => {
      const stream = `${options.prefix.toUpperCase()}_0`;
      const { config } = await manager.streams.info(stream);
      await manager.streams.delete(stream);
      await manager.streams.add({ ...config, name: stream });
      for (const probe of probes) await probe.until('the new epoch', () => probe.positions.length === 2);
      return epochOf(0);
    },
    close: async () => {
      for (const bus of buses) await bus.close();
    },
  };
});
