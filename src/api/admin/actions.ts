import { z } from 'zod';
import { askAll, sum } from '../../broker/admin/node.ts';
import type { Cluster } from '../../broker/cluster.ts';
import { LOG_LEVELS } from '../../broker/ports.ts';
import { type Route, route } from '../http/route.ts';
import { missing, reason, roomName, sessionId, tenantName, userName } from './shapes.ts';

export function actions(cluster: Cluster): Route[] {
  return [
    route({
      method: 'POST',
      path: '/admin/v1/kick',
      scope: 'admin',
      summary: 'Ends connections with 4009; they should not come back by themselves',
      tenantOf: ({ body }) => body.tenant,
      body: z
        .strictObject({
          tenant: tenantName.optional(),
          user: userName.optional(),
          session: sessionId.optional(),
          room: roomName.optional(),
          reason: reason.default('kicked by an administrator'),
        })
        .refine(({ user, session, room }) => [user, session, room].some((given) => given !== undefined), {
          error: 'one of user, session and room is needed',
        }),
      answer: z.object({ kicked: z.number(), missing }),
      handle: async ({ body }) => {
        const { answers, missing: silent } = await askAll(cluster, 'admin.kick', body);
        return { answer: { kicked: sum(answers), missing: silent } };
      },
    }),
    route({
      method: 'POST',
      path: '/admin/v1/rooms/{room}/close',
      scope: 'admin',
      summary: 'Takes everybody out of a room: they get left with room_closed',
      tenantOf: ({ body }) => body.tenant,
      params: z.strictObject({ room: roomName }),
      body: z.strictObject({
        tenant: tenantName.default('default'),
        reason: reason.default('closed by an administrator'),
      }),
      answer: z.object({ closed: z.number(), missing }),
      handle: async ({ params, body }) => {
        const { answers, missing: silent } = await askAll(cluster, 'admin.close-room', {
          ...params,
          ...body,
        });
        return { answer: { closed: sum(answers), missing: silent } };
      },
    }),
    logLevel(cluster),
  ];
}

function logLevel(cluster: Cluster): Route {
  return route({
    method: 'PUT',
    path: '/admin/v1/log-level',
    scope: 'admin',
    summary: 'Changes how much every node logs, until it restarts; of one tenant only where one is named',
    tenantOf: ({ body }) => body.tenant,
    body: z.strictObject({
      level: z.enum([...LOG_LEVELS, 'default']),
      tenant: tenantName.optional(),
    }),
    answer: z.object({ level: z.string(), tenant: z.string().optional(), missing }),
    handle: async ({ body }) => {
      const { missing: silent } = await askAll(cluster, 'admin.log-level', body);
      return { answer: { ...body, missing: silent } };
    },
  });
}
