import { LocalCursors } from '../../src/bus/local/cursors.ts';
import { RunningHub } from '../support/local-hub.ts';
import { cursorsContract } from './cursors.ts';

cursorsContract('local', async () => {
  const hub = await RunningHub.start();
  const lines = [await hub.line(), await hub.line()] as const;
  const [cursors, peer] = [new LocalCursors(lines[0]), new LocalCursors(lines[1])];
  return {
    cursors,
    peer,
    epoch: 'e1',
    renew: async () => 'e2',
    close: async () => {
      for (const line of lines) line.close();
      await hub.close();
    },
  };
});
