import { z } from 'zod';
import type { Exclusions } from '../../broker/exclusion/exclusions.ts';
import { REVOCABLE, revocation, revokedReply, targetOf } from '../admin/revoke.ts';
import { namesOne, tenantName } from '../admin/shapes.ts';
import { type Route, route } from '../http/route.ts';
import { tenantOf } from './tenancy.ts';

export function tokens({ revocations }: Exclusions): Route[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/tokens/revoke',
      scope: 'api',
      summary:
        'Revokes a token of the tenant by its jti, or the tokens of a user issued before a time (now, unless named)',
      body: z
        .strictObject({ ...REVOCABLE, tenant: tenantName.optional() })
        .refine(namesOne(['jti', 'user']), { error: 'one of jti and user is needed' }),
      answer: revocation,
      handle: async ({ body, caller }) => {
        const bound = tenantOf(caller, body.tenant);
        if ('refused' in bound) return bound;
        return revokedReply(await revocations.revoke(targetOf({ ...body, ...bound }), body.reason));
      },
    }),
  ];
}
