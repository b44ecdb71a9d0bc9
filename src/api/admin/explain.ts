import { z } from 'zod';
import type { DryRunQuestion, Explanation } from '../../broker/access/dry-run.ts';
import { ACTIONS } from '../../broker/ports.ts';
import { type Route, refused, route } from '../http/route.ts';

export type Explain = (question: DryRunQuestion) => Promise<Explanation>;

/** As a header line that carries one: longer tokens are refused unread. */
const TOKEN_MAX = 4096;
/** Beyond what any room is called: the answer says what is wrong with a longer name. */
const ROOM_MAX = 1024;

const entry = z.object({ list: z.string(), index: z.number(), match: z.string() });

export function explaining(explain: Explain): Route[] {
  return [
    route({
      method: 'POST',
      path: '/admin/v1/explain-access',
      scope: 'admin',
      summary: 'What a client with this token would be answered, and the rule that decides',
      reads: true,
      tenantOf: 'handler',
      body: z.strictObject({
        token: z.string().min(1).max(TOKEN_MAX),
        action: z.enum(ACTIONS),
        room: z.string().max(ROOM_MAX),
      }),
      answer: z.object({
        decision: z.enum(['allow', 'deny']),
        code: z.string().optional(),
        reason: z.string(),
        rule: z.object({ kind: z.string(), ...entry.partial().shape, substituted: z.string().optional() }),
        user: z.string().optional(),
        tenant: z.string().optional(),
        unfilled: z.array(entry.extend({ claims: z.array(z.string()) })).optional(),
      }),
      handle: async ({ body, caller: { tenants } }) => {
        const answer = await explain(body);
        const { tenant } = answer;
        if (tenants !== undefined && tenant !== undefined && !tenants.includes(tenant))
          return refused(403, 'forbidden', 'the issuer of your token is restricted to other tenants');
        return { answer };
      },
    }),
  ];
}
