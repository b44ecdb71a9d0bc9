/** What is counted of tokens and of where their keys come from. Every set is closed: no label grows by data. */

/** Why a credential was not taken. */
export const TOKEN_REFUSALS = [
  'malformed',
  'too_long',
  'alg',
  'unknown_kid',
  'ambiguous_key',
  'issuer',
  'audience',
  'signature',
  'extension',
  'expired',
  'not_yet',
  'claims',
  'tenant',
  'key_removed',
  'keys_unavailable',
  'webhook_refused',
  'webhook_unavailable',
] as const;
export type TokenRefusal = (typeof TOKEN_REFUSALS)[number];

/** What can become of an HTTP request of the broker's own, before anybody looks at the answer. */
export const HTTP_FAULTS = ['timeout', 'unreachable', 'redirect', 'status', 'oversized'] as const;
export type HttpFault = (typeof HTTP_FAULTS)[number];

/** `garbage`: no key set, or one without a usable key. */
export const REFRESH_OUTCOMES = ['ok', ...HTTP_FAULTS, 'garbage', 'unreadable'] as const;
export type RefreshOutcome = (typeof REFRESH_OUTCOMES)[number];

/** `full`: more calls at once than auth.webhook.inFlight. `open`: the circuit breaker let none through. */
export const WEBHOOK_OUTCOMES = ['ok', 'refused', ...HTTP_FAULTS, 'garbage', 'full', 'open'] as const;
export type WebhookOutcome = (typeof WEBHOOK_OUTCOMES)[number];

/** The state of one key set that is fetched or read again and again. */
export interface KeySetState {
  /** Milliseconds since 1970 of the last good fetch or read; undefined: none yet. */
  readonly loadedAt: number | undefined;
  readonly keys: number;
}

export class IdentityCounts {
  readonly refusals = new Map<TokenRefusal, number>();
  readonly refreshes = new Map<RefreshOutcome, number>();
  readonly webhook = new Map<WebhookOutcome, number>();
  /** Answers from the cache of verdicts. */
  cached = 0;
  /** Tokens whose signature was checked and good. */
  verified = 0;
  /** By issuer as configured, or `default`. */
  readonly keySets = new Map<string, KeySetState>();
  /** 1 while the circuit of the webhook is open. */
  webhookOpen = 0;

  refusal(reason: TokenRefusal): void {
    this.refusals.set(reason, (this.refusals.get(reason) ?? 0) + 1);
  }

  refresh(outcome: RefreshOutcome): void {
    this.refreshes.set(outcome, (this.refreshes.get(outcome) ?? 0) + 1);
  }

  called(outcome: WebhookOutcome): void {
    this.webhook.set(outcome, (this.webhook.get(outcome) ?? 0) + 1);
  }
}
