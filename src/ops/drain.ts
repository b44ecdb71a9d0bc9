import { DRAIN_LIMITS } from '../broker/drain/budget.ts';
import type { DrainProgress } from '../broker/drain/drain.ts';
import type { Instruments } from './instruments.ts';

export type DrainFigures = Pick<DrainProgress, 'state' | 'left' | 'perSecond' | 'limit' | 'survivors'>;

/** The metrics of a drain. Which survivor limits is in the log and in GET /admin/v1/drain: a label would grow with names. */
export function describeDrain(instruments: Instruments, drain: { readonly progress: DrainFigures }): void {
  const figure = (read: (figures: DrainFigures) => number) => () => read(drain.progress);
  instruments.gauge(
    'drain_connections_left',
    'Connections that a drain has yet to send away; 0 without one.',
    figure(({ left }) => left),
  );
  instruments.gauge(
    'drain_connections_per_second',
    'Connections a second that a drain may send away now; 0 without one.',
    figure(({ state, perSecond }) => (state === 'draining' ? perSecond : 0)),
  );
  instruments.gauge(
    'drain_survivors',
    'Nodes that the connections of a drain can go to, as far as is known; 0 without one.',
    figure(({ survivors }) => survivors),
  );
  instruments.gauges(
    'drain_limit',
    '1: what keeps a drain from being faster now; none: nothing drains.',
    'limit',
    () => {
      const { limit } = drain.progress;
      return Object.fromEntries(DRAIN_LIMITS.map((name) => [name, Number(name === limit)]));
    },
  );
}
