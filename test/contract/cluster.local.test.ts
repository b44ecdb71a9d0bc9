import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LocalCluster } from '../../src/bus/local/cluster.ts';
import { RunningHub } from '../support/local-hub.ts';
import { QUIET } from '../support/log.ts';
import { STATUS, until } from './cluster/subject.ts';
import { clusterContract } from './cluster.ts';

clusterContract(
  'local',
  async (setup) => {
    const dir = await mkdtemp(join(tmpdir(), 'carillon-state-'));
    const clock = { time: Date.now(), now: () => clock.time };
    const start = () => RunningHub.start({ clock, dir, limits: setup.limits });
    let hub = await start();
    const node = async (name: string): Promise<LocalCluster> => {
      const parts = { ...setup, node: name, incarnation: `${Math.random()}`, status: () => STATUS };
      const cluster = new LocalCluster({ ...parts, line: await hub.line(), clock, log: QUIET });
      await cluster.start();
      return cluster;
    };
    let here = await node('here');
    let there = await node('there');
    await until('each knows the other', () => here.nodes().length === 2);
    return {
      cluster: here,
      peer: there,
      advance: (ms) => {
        clock.time += ms;
      },
      restart: async () => {
        await Promise.all([here.close(), there.close()]);
        await hub.close();
        hub = await start();
        here = await node('here');
        there = here;
        return here;
      },
      close: async () => {
        await Promise.all([here.close(), there.close()]);
        await hub.close();
        await rm(dir, { recursive: true });
      },
    };
  },
  { nodes: 2 },
);
