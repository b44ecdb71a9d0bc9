import { z } from 'zod';
import { askAll, PATIENCE_MS, sum } from '../../broker/admin/node.ts';
import type { Cluster } from '../../broker/cluster.ts';
import { LOG_LEVELS } from '../../broker/ports.ts';
import { type Reply, type Route, refused, route } from '../http/route.ts';
import { missing, reason, roomName, sessionId, tenantName, userName } from './shapes.ts';

export function actions(cluster: Cluster): Route[] {
  return [
    route({
      method: 'POST',
      path: '/admin/v1/kick',
      scope: 'admin',
      summary: 'Ends connections with 4009; they should not come back by themselves',
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
    drain(cluster),
    logLevel(cluster),
  ];
}

function drain(cluster: Cluster): Route {
  return route({
    method: 'POST',
    path: '/admin/v1/drain',
    scope: 'admin',
    summary:
      'Sends the clients of a node away in slots of their own, this one without `node`, every one with "all"',
    body: z.strictObject({ node: z.string().max(64).optional(), reason: reason.default('drained') }),
    answer: z.object({ draining: z.array(z.string()), missing }),
    handle: async ({ body }): Promise<Reply> => {
      const { node = cluster.node, reason: why } = body;
      if (node === 'all') {
        const names = cluster.nodes().map((info) => info.node);
        const { missing: silent } = await askAll(cluster, 'admin.drain', { reason: why });
        return { answer: { draining: names.filter((name) => !silent.includes(name)), missing: silent } };
      }
      const answer = await cluster.askNode(node, 'admin.drain', { reason: why }, PATIENCE_MS);
      if (answer.ok) return { answer: { draining: [node], missing: [] } };
      return answer.why === 'unknown_node'
        ? refused(404, 'not_found', 'there is no node of that name')
        : { answer: { draining: [], missing: [node] } };
    },
  });
}

function logLevel(cluster: Cluster): Route {
  return route({
    method: 'PUT',
    path: '/admin/v1/log-level',
    scope: 'admin',
    summary: 'Changes how much every node logs, until it restarts; of one tenant only where one is named',
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
