/** Metrics of tokens, key sets and the auth webhook. */
import {
  type IdentityCounts,
  type KeySetState,
  REFRESH_OUTCOMES,
  TOKEN_REFUSALS,
  WEBHOOK_OUTCOMES,
} from '../broker/identity-counts.ts';
import { type Instruments, overClosedSet } from './instruments.ts';

export function describeIdentity(instruments: Instruments, counts: IdentityCounts): void {
  instruments.counters('token_refusals_total', 'Credentials not taken, by reason.', 'reason', () =>
    overClosedSet(TOKEN_REFUSALS, counts.refusals),
  );
  instruments.counter(
    'tokens_verified_total',
    'Tokens whose signature was checked and good.',
    () => counts.verified,
  );
  instruments.counter('tokens_cached_total', 'Tokens taken by a verdict kept.', () => counts.cached);
  instruments.counters(
    'jwks_refreshes_total',
    'Fetches and reads of key sets, by what became of them.',
    'outcome',
    () => overClosedSet(REFRESH_OUTCOMES, counts.refreshes),
  );
  const perSet = (read: (state: KeySetState) => number) => () =>
    Object.fromEntries([...counts.keySets].map(([set, state]) => [set, read(state)]));
  instruments.gauges(
    'jwks_age_seconds',
    'Since the last good fetch or read of a key set, by issuer as configured. NaN: none yet.',
    'set',
    perSet(({ loadedAt }) => (loadedAt === undefined ? Number.NaN : (Date.now() - loadedAt) / 1000)),
    'max',
  );
  instruments.gauges(
    'jwks_keys',
    'Usable keys of a key set.',
    'set',
    perSet(({ keys }) => keys),
    'max',
  );
  instruments.counters('auth_webhook_calls_total', 'Calls of the auth webhook, by outcome.', 'outcome', () =>
    overClosedSet(WEBHOOK_OUTCOMES, counts.webhook),
  );
  instruments.gauge(
    'auth_webhook_open',
    '1 while the circuit of the auth webhook is open.',
    () => counts.webhookOpen,
    'max',
  );
}
