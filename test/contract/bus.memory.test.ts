import { MemoryBus } from '../../src/bus/memory/bus.ts';
import { busContract } from './bus.ts';

function quiet(): void {}

busContract(
  'memory',
  async () => {
    const clock = { time: 1_760_000_000_000, now: () => clock.time };
    const bus = new MemoryBus({
      limits: {
        historyTotalBytes: 64 * 1024 * 1024,
        rooms: 1000,
        roomsPerTenant: 0,
        dedupeWindowMs: 60_000,
        dedupeEntries: 10_000,
        dedupeEntriesPerTenant: 10_000,
      },
      clock,
      epoch: 'e1',
      log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    });
    await bus.start();
    return {
      bus,
      advance: (ms) => {
        clock.time += ms;
        bus.sweep(clock.now());
      },
      close: () => bus.close(),
    };
  },
  { nodes: 1, exactBounds: true, ages: true },
);
