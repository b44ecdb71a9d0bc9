import { z } from 'zod';
import type { Exclusions } from '../../broker/exclusion/exclusions.ts';
import type { RevocationTarget, Revoked } from '../../broker/exclusion/revocations.ts';
import { type Reply, type Route, refused, route } from '../http/route.ts';
import { namesOne, reason, sessionId, tenantName, userName } from './shapes.ts';
import { unstored } from './tenants.ts';

export function revoking({ revocations }: Exclusions): Route[] {
  return [
    route({
      method: 'POST',
      path: '/admin/v1/revoke',
      scope: 'admin',
      summary:
        'Revokes a token by its jti, the tokens of a user issued before a time (now, unless named), or a session: ' +
        'connections are ended with 4001 within a second, and the credential is refused from then on',
      tenantOf: ({ body }) => body.tenant,
      body: z
        .strictObject({ ...REVOCABLE, session: sessionId.optional(), tenant: tenantName.optional() })
        .refine(namesOne(['jti', 'user', 'session']), { error: 'one of jti, user and session is needed' }),
      answer: revocation,
      handle: async ({ body }) => revokedReply(await revocations.revoke(targetOf(body), body.reason)),
    }),
  ];
}

/** What can be revoked by backends too. Times in seconds since 1970, as in tokens. */
export const REVOCABLE = {
  jti: z.string().min(1).max(128).optional(),
  /** Of the token, where it is known: the revocation is kept until then. */
  exp: z.number().min(0).max(1e11).optional(),
  user: userName.optional(),
  before: z.number().min(0).max(1e11).optional(),
  reason: reason.default('revoked'),
};

export const revocation = z.object({ until: z.number() });

type Revocable = {
  readonly jti?: string | undefined;
  readonly exp?: number | undefined;
  readonly user?: string | undefined;
  readonly before?: number | undefined;
  readonly session?: string | undefined;
  readonly tenant?: string | undefined;
};

export function targetOf({ jti, exp, user, before, session, tenant }: Revocable): RevocationTarget {
  const where = tenant === undefined ? {} : { tenant };
  if (jti !== undefined) return { kind: 'token', tokenId: jti, ...where, ...(exp !== undefined && { exp }) };
  if (user !== undefined) return { kind: 'user', user, ...where, ...(before !== undefined && { before }) };
  return { kind: 'session', session: session ?? '', ...where };
}

export function revokedReply(revoked: Revoked): Reply {
  if (revoked.ok) return { answer: { until: revoked.until } };
  return revoked.why === 'future'
    ? refused(400, 'bad_request', 'before: lies in the future')
    : unstored(revoked.why);
}
