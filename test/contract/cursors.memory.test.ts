import { MemoryCursors } from '../../src/bus/memory/cursors.ts';
import { cursorsContract } from './cursors.ts';

cursorsContract('memory', async () => {
  const cursors = new MemoryCursors(1000);
  return { cursors, peer: cursors, epoch: 'e1', renew: async () => 'e2', close: async () => undefined };
});
