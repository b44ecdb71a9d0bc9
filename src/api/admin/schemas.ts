import { z } from 'zod';
import { askAll } from '../../broker/admin/node.ts';
import type { Cluster } from '../../broker/cluster.ts';
import { SCHEMA_MODES } from '../../broker/schema/schema.ts';
import { type Route, route } from '../http/route.ts';
import { limit, missing, tenantName } from './shapes.ts';

export function schemaViolations(cluster: Cluster): Route[] {
  return [
    route({
      method: 'GET',
      path: '/admin/v1/schema-violations',
      scope: 'admin',
      tenantOf: ({ query }) => query.tenant,
      summary: 'Payloads that did not fit the schema of their room, the newest first',
      query: z.strictObject({ tenant: tenantName.optional(), limit: limit(100, 20) }),
      answer: z.object({
        violations: z.array(
          z.object({
            tenant: z.string(),
            room: z.string(),
            user: z.string(),
            match: z.string(),
            mode: z.enum(SCHEMA_MODES),
            path: z.string(),
            problem: z.string(),
            payload: z.string(),
            at: z.number(),
          }),
        ),
        missing,
      }),
      handle: async ({ query }) => {
        const { answers, missing: silent } = await askAll(cluster, 'admin.schema-violations', query);
        const newest = answers.flat().sort((one, other) => other.at - one.at);
        return { answer: { violations: newest.slice(0, query.limit), missing: silent } };
      },
    }),
  ];
}
