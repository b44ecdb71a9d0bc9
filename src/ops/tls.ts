import { type Instruments, overClosedSet } from './instruments.ts';

export interface TlsFigures {
  /** When each certificate in use ends, in milliseconds since 1970. */
  readonly endsAtMs: ReadonlyMap<string, number>;
  readonly reloads: ReadonlyMap<'ok' | 'refused', number>;
}

export function describeTls(instruments: Instruments, figures: TlsFigures): void {
  instruments.gauges(
    'tls_certificate_expiry_seconds',
    'When a certificate of the public listener ends, since 1970: default, or the first name of an entry of tls.sni.',
    'certificate',
    () => Object.fromEntries([...figures.endsAtMs].map(([name, ms]) => [name, ms / 1000])),
    'min',
  );
  instruments.counters(
    'tls_reloads_total',
    'Times that the TLS files had changed: taken (ok), or not fit for use (refused).',
    'outcome',
    () => overClosedSet(['ok', 'refused'], figures.reloads),
  );
}
