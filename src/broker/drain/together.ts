import { sum } from '../admin/node.ts';
import { type DrainProgress, NO_DRAIN } from './drain.ts';

/** The drains of several nodes as one: sums, and of what limits them that of the node with most left. */
export function together(drains: readonly DrainProgress[]): DrainProgress {
  const most = (read: (drain: DrainProgress) => number) => Math.max(0, ...drains.map(read));
  const running = drains.filter(({ state }) => state === 'draining');
  const judged = running.length > 0 ? running : drains;
  const { limit, limitedBy } = judged.reduce((a, b) => (b.left > a.left ? b : a), judged[0] ?? NO_DRAIN);
  return {
    state: stateOf(drains),
    total: sum(drains.map(({ total }) => total)),
    left: sum(drains.map(({ left }) => left)),
    // What a node that is done had last is not what leaves now.
    perSecond: sum(running.map(({ perSecond }) => perSecond)),
    limit,
    ...(limitedBy !== undefined && { limitedBy }),
    survivors: most(({ survivors }) => survivors),
    elapsedMs: most(({ elapsedMs }) => elapsedMs),
    deadlineMs: most(({ deadlineMs }) => deadlineMs),
  };
}

function stateOf(drains: readonly DrainProgress[]): DrainProgress['state'] {
  if (drains.some(({ state }) => state === 'draining')) return 'draining';
  return drains.every(({ state }) => state === 'drained') ? 'drained' : 'none';
}
