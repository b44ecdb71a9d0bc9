import type { RoomRef } from '../../../src/broker/ports.ts';
import { MemoryBus } from '../../../src/bus/memory/bus.ts';

const quiet = () => undefined;
export const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

const status = { connections: 0, acceptsPerSecond: 0, loopLagMs: 0, draining: false };
export const cluster = {
  settings: { heartbeatMs: 1000, missed: 6, messageBytes: 2 ** 18, leaseMs: 10_000, askMs: 500, skewMs: 0 },
  limits: { entries: 1000, bytes: 2 ** 20, valueBytes: 2 ** 16 },
  status: () => status,
};

export function memoryBus(): MemoryBus {
  const limits = { historyTotalBytes: 2 ** 28, rooms: 1000, dedupeWindowMs: 60_000, dedupeEntries: 100_000 };
  return new MemoryBus({ limits, clock: { now: Date.now }, epoch: 'bench', log });
}

export const ROOM: RoomRef = {
  key: 'default\0bench',
  tenant: 'default',
  name: 'bench',
  policy: {
    match: '**',
    matches: () => true,
    overflow: 'backfill',
    history: { count: 200, bytes: 2 ** 22, ageMs: 600_000 },
  },
};
