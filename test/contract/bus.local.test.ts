import { LocalBus } from '../../src/bus/local/bus.ts';
import { RunningHub } from '../support/local-hub.ts';
import { busContract } from './bus.ts';

busContract(
  'local',
  async () => {
    const clock = { time: 1_760_000_000_000, now: () => clock.time };
    const hub = await RunningHub.start({ clock });
    const [bus, peer] = [new LocalBus(await hub.line()), new LocalBus(await hub.line())];
    await Promise.all([bus.start(), peer.start()]);
    return {
      bus,
      peer,
      advance: (ms) => {
        clock.time += ms;
        hub.bus.sweep(clock.now());
      },
      close: async () => {
        await Promise.all([bus.close(), peer.close()]);
        await hub.close();
      },
    };
  },
  { nodes: 2, exactBounds: true, ages: true },
);
