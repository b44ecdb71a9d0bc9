/** Session tokens that mean nothing here are shown to a service that knows them. docs/auth.md has its contract. */

import { Breaker, type BreakerOptions } from '../broker/breaker.ts';
import type { WebhookOutcome } from '../broker/identity-counts.ts';
import { type HttpAnswer, request } from './http.ts';
import { type Denial, denial } from './reasons.ts';
import type { IssuerRights } from './rights.ts';
import type { Around } from './surroundings.ts';

export interface WebhookOptions extends BreakerOptions, IssuerRights {
  readonly url: string;
  /** Sent as `Authorization: Bearer`, so that the service knows who asks. */
  readonly secret?: string;
  readonly timeoutMs: number;
  /** How long an answer is used without asking again. */
  readonly ttlMs: number;
  /** Of the answer. */
  readonly bytes: number;
  /** Calls at once; more are refused as unavailable. */
  readonly inFlight: number;
}

export type WebhookAnswer =
  | { readonly ok: true; readonly claims: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly denial: Denial };

const BUSY_MS = 1000;

export class Webhook {
  readonly #options: WebhookOptions;
  readonly #around: Around;
  readonly #breaker: Breaker;
  #calls = 0;

  constructor(options: WebhookOptions, around: Around) {
    this.#options = options;
    this.#around = around;
    this.#breaker = new Breaker(options);
  }

  /** What it may vouch for. */
  get rights(): IssuerRights {
    return this.#options;
  }

  /** How long its answers are used, in milliseconds. */
  get ttlMs(): number {
    return this.#options.ttlMs;
  }

  /** Whatever goes wrong, nobody is let in for it. */
  async ask(token: string): Promise<WebhookAnswer> {
    const { clock } = this.#around;
    if (this.#calls >= this.#options.inFlight) return this.#unavailable('full', BUSY_MS);
    const waitMs = this.#breaker.enter(clock.now());
    if (waitMs > 0) return this.#unavailable('open', waitMs);
    this.#calls++;
    try {
      return this.#judge(await this.#call(token));
    } catch (error) {
      // Not foreseen; but a trial call that never ends would keep the circuit open for ever.
      this.#breaker.failed(clock.now());
      throw error;
    } finally {
      this.#calls--;
    }
  }

  #call(token: string): Promise<HttpAnswer> {
    const { url, secret, timeoutMs, bytes } = this.#options;
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(secret !== undefined && { authorization: `Bearer ${secret}` }),
    };
    return request(url, { method: 'POST', headers, body: JSON.stringify({ token }) }, { timeoutMs, bytes });
  }

  #judge(answer: HttpAnswer): WebhookAnswer {
    if (!answer.ok) return this.#failed(answer.fault);
    if (answer.status === 401) return this.#refused('unauthorized');
    if (answer.status === 403) return this.#refused('forbidden');
    if (answer.status !== 200) return this.#failed('status', answer.status);
    const claims = claimsOf(answer.text);
    if (claims === undefined) return this.#failed('garbage');
    this.#answered('ok');
    return { ok: true, claims };
  }

  #refused(code: 'unauthorized' | 'forbidden'): WebhookAnswer {
    this.#answered('refused');
    return { ok: false, denial: denial('webhook_refused', 'the session token was refused', code) };
  }

  #answered(outcome: WebhookOutcome): void {
    const { log, counts } = this.#around;
    if (this.#breaker.open) log.info({}, 'the auth webhook answers again');
    this.#breaker.succeeded();
    counts.webhookOpen = 0;
    counts.called(outcome);
  }

  #failed(outcome: WebhookOutcome, status?: number): WebhookAnswer {
    const { clock, log, counts } = this.#around;
    const wasOpen = this.#breaker.open;
    this.#breaker.failed(clock.now());
    // The service that is down must not fill the log as well: its first failures and each opening are told.
    if (!wasOpen) log.warn({ outcome, status, open: this.#breaker.open }, 'the auth webhook failed');
    counts.webhookOpen = this.#breaker.open ? 1 : 0;
    return this.#unavailable(outcome, this.#breaker.open ? this.#options.openMs : BUSY_MS);
  }

  #unavailable(outcome: WebhookOutcome, retryAfterMs: number): WebhookAnswer {
    this.#around.counts.called(outcome);
    const reason = 'the session token cannot be checked now: come back';
    return { ok: false, denial: denial('webhook_unavailable', reason, 'unavailable', retryAfterMs) };
  }
}

function claimsOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const claims: unknown = isObject(value) ? value['claims'] : undefined;
    return isObject(claims) ? claims : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
