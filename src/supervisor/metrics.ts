import { Instruments, type Readings } from '../ops/instruments.ts';
import { LoopLagMeter } from '../ops/loop.ts';
import { describeProcess } from '../ops/metrics.ts';
import { GcMeter } from '../ops/process.ts';
import type { EndCause } from './worker.ts';

export interface SupervisorSource {
  readonly version: string;
  /** Workers by what they are doing. */
  readonly states: () => Readonly<Record<'ready' | 'starting' | 'restarting', number>>;
  readonly ends: Readonly<Record<EndCause, number>>;
  readonly unanswered: () => number;
}

export interface SupervisorMetrics {
  readonly contentType: string;
  readings(): Promise<Readings>;
  close(): void;
}

/** The figures of the supervisor's own process and of its workers' lives. */
export function createSupervisorMetrics(source: SupervisorSource): SupervisorMetrics {
  const instruments = new Instruments();
  const lag = new LoopLagMeter();
  const gc = new GcMeter();
  describeProcess(instruments, lag, gc, source.version);
  instruments.gauges('workers', 'Broker processes by what they do.', 'state', source.states);
  instruments.counters(
    'worker_ends_total',
    'Broker processes that have ended unasked; stuck: killed, since they did not answer.',
    'cause',
    () => source.ends,
  );
  instruments.counter(
    'worker_scrapes_unanswered_total',
    'Scrapes that a broker process did not answer in time: its figures are those of the scrape before.',
    source.unanswered,
  );
  return {
    contentType: instruments.contentType,
    readings: () => instruments.readings(),
    close: () => {
      lag.close();
      gc.close();
    },
  };
}
