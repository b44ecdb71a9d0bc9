/** The hub of bus.ts as a process of its own, as the supervisor has it. */

import { Socket } from 'node:net';
import process from 'node:process';
import { LocalHub } from '../../../src/bus/local/hub/hub.ts';
import { MemoryCluster } from '../../../src/bus/memory/cluster.ts';
import { MemoryCursors } from '../../../src/bus/memory/cursors.ts';
import { OwnUsage } from '../../../src/bus/usage/own.ts';
import { cluster, log, memoryBus } from './parts.ts';

const clock = { now: Date.now };
const hub = new LocalHub({
  bus: memoryBus(),
  cursors: new MemoryCursors(1000),
  cluster: new MemoryCluster({ ...cluster, node: 'hub', incarnation: 'hub', clock, log }),
  usage: new OwnUsage(1000),
  queueBytes: 2 ** 26,
  clock,
  log,
});
await hub.start();
hub.attach(new Socket({ fd: 4, readable: true, writable: true }));
process.on('message', () => process.send?.(process.cpuUsage()));
process.on('disconnect', () => process.exit());
