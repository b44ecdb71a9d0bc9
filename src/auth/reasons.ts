/** What jose refused, as a verdict that tells the holder of a token what to mend and a stranger nothing of the keys. */
import { errors } from 'jose';
import type { TokenRefusal } from '../broker/identity-counts.ts';
import type { Verdict } from '../broker/ports.ts';

export type Refusal = Extract<Verdict, { ok: false }>;

/** A refusal and the kind that it is counted as. */
export interface Denial {
  readonly kind: TokenRefusal;
  readonly verdict: Refusal;
}

export function denial(
  kind: TokenRefusal,
  reason: string,
  code: Refusal['code'] = 'unauthorized',
  retryAfterMs?: number,
): Denial {
  const verdict = { ok: false, code, reason, ...(retryAfterMs !== undefined && { retryAfterMs }) } as const;
  return Object.freeze({ kind, verdict: Object.freeze(verdict) });
}

/** @param exp seconds since 1970. */
export function expired(exp: number): Denial {
  return denial('expired', `the token has expired, at ${instant(exp)}`, 'token_expired');
}

/** @param nbf seconds since 1970. */
export function notYet(nbf: number): Denial {
  return denial('not_yet', `the token is not valid before ${instant(nbf)}`);
}

export const FORGED = denial('signature', 'the signature of the token is not that of its key');

/** undefined: not jose's verdict on the token but a fault of the verifier. */
export function denialOf(error: unknown): Denial | undefined {
  if (error instanceof errors.JWTExpired) return expired(Number(error.payload.exp));
  if (error instanceof errors.JWTClaimValidationFailed) return claimDenial(error);
  if (error instanceof errors.JWSSignatureVerificationFailed) return FORGED;
  if (error instanceof errors.JOSEAlgNotAllowed)
    return denial('alg', 'the alg of the token is not the one of its key');
  if (error instanceof errors.JOSENotSupported)
    return denial('extension', 'the token asks for a JOSE extension not supported here');
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid)
    return denial('malformed', 'the token is not a well-formed JWT');
  return undefined;
}

function claimDenial(error: errors.JWTClaimValidationFailed): Denial {
  const { nbf } = error.payload;
  if (error.claim === 'nbf' && error.reason === 'check_failed' && typeof nbf === 'number') return notYet(nbf);
  const what =
    error.reason === 'missing'
      ? 'missing'
      : error.reason === 'invalid'
        ? 'of the wrong type'
        : 'not the configured one';
  return denial(KINDS.get(error.claim) ?? 'claims', `${error.claim} is ${what}`);
}

const KINDS: ReadonlyMap<string, TokenRefusal> = new Map([
  ['iss', 'issuer'],
  ['aud', 'audience'],
]);

function instant(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds}` : date.toISOString();
}
