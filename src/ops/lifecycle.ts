import type { Instruments } from './instruments.ts';

export interface LifecycleFigures {
  readonly kept?: {
    readonly stored: number;
    readonly dropped: number;
    readonly retried: number;
    readonly waiting: number;
  };
  /** Events by what became of them. */
  readonly webhook?: Readonly<Record<string, number>>;
  readonly webhookWaiting?: number;
  readonly webhookOpen?: boolean;
}

/** The metrics of the record of sessions; read at each scrape. */
export function describeLifecycle(
  instruments: Instruments,
  figures: () => LifecycleFigures | undefined,
): void {
  instruments.counters(
    'lifecycle_events_total',
    'Events of sessions and rooms by what became of them; retried: attempts to store one again.',
    'outcome',
    () => {
      const { stored = 0, dropped = 0, retried = 0 } = figures()?.kept ?? {};
      return { stored, dropped, retried };
    },
  );
  instruments.gauge(
    'lifecycle_waiting',
    'Events of sessions and rooms that are not stored yet.',
    () => figures()?.kept?.waiting ?? 0,
  );
  instruments.counters(
    'lifecycle_webhook_events_total',
    'Events by what became of them at the webhook; all but delivered and retried were kept as undelivered.',
    'outcome',
    () => figures()?.webhook ?? {},
  );
  instruments.gauge(
    'lifecycle_webhook_waiting',
    'Events that wait for the webhook.',
    () => figures()?.webhookWaiting ?? 0,
  );
  instruments.gauge(
    'lifecycle_webhook_open',
    '1: the circuit breaker of the webhook lets nothing through.',
    () => (figures()?.webhookOpen === true ? 1 : 0),
    'max',
  );
}
