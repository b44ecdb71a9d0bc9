import type { HttpResponse } from 'uWebSockets.js';
import type { UpgradeOutcome } from '../broker/tally.ts';

/** Why a handshake ends in an HTTP answer. The body tells it to people and programs. */
export interface Refusal {
  readonly outcome: UpgradeOutcome;
  readonly status: string;
  readonly code: string;
  readonly reason: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly details?: LimitDetails;
}

function refusalOf(outcome: UpgradeOutcome, status: string, code: string, headers?: Record<string, string>) {
  return (reason: string): Refusal => ({ outcome, status, code, reason, ...(headers && { headers }) });
}

/** Numbers beside the reason, for programs. */
export interface LimitDetails {
  readonly limit?: number | undefined;
  readonly used?: number | undefined;
  readonly retryAfterMs?: number | undefined;
}

/** 429, with the time to wait rounded up to what the header can say. */
export function limited(code: string, reason: string, details: LimitDetails): Refusal {
  const seconds = Math.max(1, Math.ceil((details.retryAfterMs ?? 0) / 1000));
  const status = '429 Too Many Requests';
  return { outcome: 'limited', status, code, reason, details, headers: { 'Retry-After': String(seconds) } };
}

const RETRY_SECONDS = '5';

export const REFUSALS = {
  badRequest: refusalOf('bad_request', '400 Bad Request', 'bad_request'),
  badSubprotocol: refusalOf('bad_subprotocol', '400 Bad Request', 'bad_subprotocol'),
  badVersion: refusalOf('bad_version', '426 Upgrade Required', 'bad_version', {
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
  }),
  unauthorized: refusalOf('unauthorized', '401 Unauthorized', 'unauthorized', {
    'WWW-Authenticate': 'Bearer error="invalid_token"',
  }),
  tokenExpired: refusalOf('token_expired', '401 Unauthorized', 'token_expired', {
    'WWW-Authenticate': 'Bearer error="invalid_token", error_description="expired"',
  }),
  badOrigin: refusalOf('bad_origin', '403 Forbidden', 'forbidden'),
  tenantDisabled: refusalOf('forbidden', '403 Forbidden', 'tenant_disabled'),
  forbidden: refusalOf('forbidden', '403 Forbidden', 'forbidden'),
  tooMany: refusalOf('too_many', '503 Service Unavailable', 'overloaded', { 'Retry-After': RETRY_SECONDS }),
  overloaded: refusalOf('overloaded', '503 Service Unavailable', 'overloaded', {
    'Retry-After': RETRY_SECONDS,
  }),
  draining: refusalOf('draining', '503 Service Unavailable', 'unavailable', { 'Retry-After': RETRY_SECONDS }),
  timeout: refusalOf('timeout', '503 Service Unavailable', 'unavailable', { 'Retry-After': RETRY_SECONDS }),
  internal: refusalOf('internal', '500 Internal Server Error', 'internal'),
} as const;

/** The credential cannot be judged now, for want of keys or of the webhook: not the client's fault, so no 401. */
export function unavailable(reason: string, retryAfterMs = 1000 * Number(RETRY_SECONDS)): Refusal {
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1000));
  const headers = { 'Retry-After': String(seconds) };
  return refusalOf('unavailable', '503 Service Unavailable', 'unavailable', headers)(reason);
}

/** Ends the exchange. The caller has made sure that the response was not aborted. */
export function refuse(response: HttpResponse, refusal: Refusal): void {
  response.cork(() => {
    response.writeStatus(refusal.status);
    response.writeHeader('Content-Type', 'application/json');
    for (const [name, value] of Object.entries(refusal.headers ?? {})) response.writeHeader(name, value);
    response.end(JSON.stringify({ code: refusal.code, reason: refusal.reason, ...refusal.details }), true);
  });
}
