/** What jose refused, as a verdict that tells the holder of a token what to mend and a stranger nothing of the keys. */
import { errors } from 'jose';
import type { Verdict } from '../broker/ports.ts';

export type Refusal = Extract<Verdict, { ok: false }>;

export function unauthorized(reason: string): Refusal {
  return Object.freeze({ ok: false, code: 'unauthorized', reason });
}

/** @param exp seconds since 1970. */
export function expired(exp: number): Refusal {
  return Object.freeze({
    ok: false,
    code: 'token_expired',
    reason: `the token has expired, at ${instant(exp)}`,
  });
}

/** @param nbf seconds since 1970. */
export function notYet(nbf: number): Refusal {
  return unauthorized(`the token is not valid before ${instant(nbf)}`);
}

/** undefined: not jose's verdict on the token but a fault of the verifier. */
export function refusalOf(error: unknown): Refusal | undefined {
  if (error instanceof errors.JWTExpired) return expired(Number(error.payload.exp));
  if (error instanceof errors.JWTClaimValidationFailed) return claimRefusal(error);
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return unauthorized('the signature of the token is not that of its key');
  if (error instanceof errors.JOSEAlgNotAllowed)
    return unauthorized('the alg of the token is not the one of its key');
  if (error instanceof errors.JOSENotSupported)
    return unauthorized('the token asks for a JOSE extension not supported here');
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid)
    return unauthorized('the token is not a well-formed JWT');
  return undefined;
}

function claimRefusal(error: errors.JWTClaimValidationFailed): Refusal {
  const { nbf } = error.payload;
  if (error.claim === 'nbf' && error.reason === 'check_failed' && typeof nbf === 'number') return notYet(nbf);
  const what =
    error.reason === 'missing'
      ? 'missing'
      : error.reason === 'invalid'
        ? 'of the wrong type'
        : 'not the configured one';
  return unauthorized(`${error.claim} is ${what}`);
}

function instant(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds}` : date.toISOString();
}
