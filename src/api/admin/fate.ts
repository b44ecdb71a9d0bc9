import { z } from 'zod';
import type { FateQuestion } from '../../broker/fate/fates.ts';
import { FATES } from '../../broker/fate/infer.ts';
import { type Explained, VERDICTS } from '../../broker/fate/verdict.ts';
import type { Fault } from '../../broker/ports.ts';
import { type Route, refusedBy, route } from '../http/route.ts';
import { missing, namesOne, roomName, tenantName, userName } from './shapes.ts';

export type ExplainMessage = (question: FateQuestion) => Promise<Explained | Fault>;

const position = z.coerce.number().int().min(1).max(Number.MAX_SAFE_INTEGER);
const place = z.object({ epoch: z.string(), seq: z.number() });
const at = z.number();

const session = z.object({
  node: z.string(),
  session: z.string(),
  connectedAt: at,
  fate: z.enum(FATES),
  at: at.optional(),
  since: at.optional(),
  code: z.string().optional(),
  from: z.number().optional(),
  to: z.number().optional(),
  reason: z.string().optional(),
  action: z.string().optional(),
  joinedAt: at.optional(),
  resumed: z.boolean().optional(),
  closed: z.object({ at, code: z.number(), reason: z.string() }).optional(),
  unsent: z.number().optional(),
});

export function fates(explain: ExplainMessage): Route[] {
  return [
    route({
      method: 'GET',
      path: '/admin/v1/explain',
      scope: 'admin',
      summary: 'What became of one message for one user, on all nodes',
      tenantOf: ({ query }) => query.tenant,
      query: z
        .strictObject({
          tenant: tenantName.default('default'),
          room: roomName,
          user: userName,
          seq: position.optional(),
          epoch: z.string().min(1).max(64).optional(),
          msgId: z.string().min(1).max(64).optional(),
        })
        .refine(namesOne(['seq', 'msgId']), { error: 'one of seq and msgId is needed' }),
      answer: z.object({
        verdict: z.enum(VERDICTS),
        message: place.extend({ ts: at, from: z.string(), msgId: z.string().optional() }).optional(),
        seen: place.optional(),
        nodes: z.array(
          z.object({
            node: z.string(),
            since: at,
            passed: place.partial({ seq: true }).extend({ ts: at, at: at.optional() }).optional(),
          }),
        ),
        sessions: z.array(session),
        refused: z.array(
          z.object({
            node: z.string(),
            user: z.string().optional(),
            code: z.string(),
            at,
          }),
        ),
        missing,
      }),
      handle: async ({ query }) => {
        const explained = await explain(query);
        if (!explained.ok) return refusedBy(explained);
        const { ok: _, ...answer } = explained;
        return { answer };
      },
    }),
  ];
}
