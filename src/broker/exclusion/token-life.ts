/** How long a credential may live: what is revoked is remembered for that long, and no credential may outlive it. */
import type { Identity } from '../ports.ts';

export interface TokenLife {
  /** The longest time from `iat` to `exp`. */
  readonly tokenLifeMs: number;
  /** How far the clocks of issuer and broker may differ. */
  readonly clockToleranceSeconds: number;
}

export type LifeVerdict =
  | {
      readonly ok: true;
      /** Seconds since 1970; of a credential without one the end of the longest life. */
      readonly exp: number;
    }
  | { readonly ok: false; readonly code: 'unauthorized' | 'token_expired'; readonly reason: string };

/**
 * Of a credential that does not say when it was issued, the life counts from now: a webhook vouches for it at this
 * moment, and tokens without `iat` are taken only where `auth.requireIat` is off.
 */
export function judgeLife(
  { issuedAt, exp }: Pick<Identity, 'issuedAt' | 'exp'>,
  { tokenLifeMs, clockToleranceSeconds }: TokenLife,
  nowMs: number,
): LifeVerdict {
  const now = nowMs / 1000;
  const life = tokenLifeMs / 1000;
  if (issuedAt !== undefined && issuedAt > now + clockToleranceSeconds)
    return refused('unauthorized', `iat (${shown(issuedAt)}) is in the future; it is ${shown(now)} here`);
  const end = (issuedAt ?? now) + life;
  if (exp === undefined)
    return end > now
      ? { ok: true, exp: end }
      : refused('token_expired', `the token has no exp, and its iat is more than ${allowed(life)} ago`);
  if (exp <= end) return { ok: true, exp };
  const from = issuedAt === undefined ? 'from now, and there is no iat' : `after iat (${shown(issuedAt)})`;
  return refused('unauthorized', `exp (${shown(exp)}) is more than ${allowed(life)} ${from}`);
}

function allowed(seconds: number): string {
  const days = seconds / 86_400;
  return `${Number.isInteger(days) ? `${days} day${days === 1 ? '' : 's'}` : `${seconds} s`} (revocation.tokenLifeMs)`;
}

function shown(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `${seconds}` : date.toISOString();
}

function refused(code: 'unauthorized' | 'token_expired', reason: string): LifeVerdict {
  return { ok: false, code, reason };
}
