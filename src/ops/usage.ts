import type { UsageBook } from '../broker/usage.ts';
import type { Instruments } from './instruments.ts';

/** The metrics of the usage ledger's way out of this process. What tenants use is in the ledger, no label here. */
export function describeUsage(instruments: Instruments, book: Pick<UsageBook, 'figures'>): void {
  instruments.counters(
    'usage_records_total',
    'Records of usage by what became of them; dropped: more than usage.records were waiting.',
    'outcome',
    () => {
      const { stored, dropped } = book.figures();
      return { stored, dropped };
    },
  );
  instruments.counter(
    'usage_store_failures_total',
    'Attempts to store usage that failed; they are made again.',
    () => book.figures().failures,
  );
  instruments.gauge(
    'usage_records_waiting',
    'Records of minutes that are over and not stored yet.',
    () => book.figures().waiting,
  );
}
