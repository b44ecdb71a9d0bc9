import type { Instruments } from './instruments.ts';

/** What became of the spans of this process. */
export interface SpanCounts {
  ended: number;
  exported: number;
  failed: number;
  /** Not begun: more than tracing.perSecond. */
  limited: number;
}

export function describeTracing(instruments: Instruments, counts: SpanCounts): void {
  instruments.counters(
    'trace_spans_total',
    'Spans by what became of them; ended ones that are neither exported nor failed wait, or were more than tracing.queue. limited: not begun, for tracing.perSecond.',
    'outcome',
    () => ({ ...counts }),
  );
}
