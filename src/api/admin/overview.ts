import { z } from 'zod';
import { mergeConnections } from '../../broker/admin/connections.ts';
import { askAll } from '../../broker/admin/node.ts';
import { mergeRooms, ROOM_SORTS } from '../../broker/admin/rooms.ts';
import type { Cluster } from '../../broker/cluster.ts';
import { type Route, route } from '../http/route.ts';
import { limit, missing, roomName, sessionId, tenantName, userName } from './shapes.ts';

const counts = z.object({ connections: z.number(), rooms: z.number(), memberships: z.number() });
const nodeStats = counts.extend({
  node: z.string(),
  totals: z.record(z.string(), z.number()),
  perSecond: z.record(z.string(), z.number()),
  settings: z.array(z.object({ node: z.string(), setting: z.string(), here: z.string(), there: z.string() })),
  bus: z.object({ state: z.enum(['up', 'degraded', 'down']), detail: z.string() }),
});

export function overview(cluster: Cluster): Route[] {
  return [
    route({
      method: 'GET',
      path: '/admin/v1/stats',
      scope: 'admin',
      summary: 'What this node and the whole installation are doing',
      answer: z.object({
        node: nodeStats,
        cluster: counts.omit({ rooms: true }).extend({ perSecond: z.record(z.string(), z.number()) }),
        nodes: z.array(nodeStats),
        missing,
      }),
      handle: async () => {
        const { answers, missing: silent } = await askAll(cluster, 'admin.stats', {});
        const sum = (read: (stats: (typeof answers)[number]) => number) =>
          answers.reduce((total, stats) => total + read(stats), 0);
        return {
          answer: {
            node: answers.find(({ node }) => node === cluster.node),
            cluster: {
              connections: sum(({ connections }) => connections),
              memberships: sum(({ memberships }) => memberships),
              perSecond: {
                messagesIn: sum(({ perSecond }) => perSecond.messagesIn),
                deliveries: sum(({ perSecond }) => perSecond.deliveries),
              },
            },
            nodes: answers,
            missing: silent,
          },
        };
      },
    }),
    connections(cluster),
    rooms(cluster),
  ];
}

function connections(cluster: Cluster): Route {
  return route({
    method: 'GET',
    path: '/admin/v1/connections',
    scope: 'admin',
    summary: 'Connections, in the order of their session ids',
    tenantOf: ({ query }) => query.tenant,
    query: z.strictObject({
      tenant: tenantName.optional(),
      user: userName.optional(),
      room: roomName.optional(),
      limit: limit(1000, 100),
      after: sessionId.optional(),
    }),
    answer: z.object({
      connections: z.array(
        z.object({
          session: z.string(),
          user: z.string(),
          tenant: z.string(),
          ip: z.string(),
          rooms: z.array(z.string()),
          roomCount: z.number(),
          buffered: z.number(),
          connectedAt: z.number(),
          node: z.string(),
        }),
      ),
      next: z.string().optional(),
      missing,
    }),
    handle: async ({ query }) => {
      const { answers, missing: silent } = await askAll(cluster, 'admin.connections', query);
      return { answer: { ...mergeConnections(answers, query.limit), missing: silent } };
    },
  });
}

function rooms(cluster: Cluster): Route {
  return route({
    method: 'GET',
    path: '/admin/v1/rooms',
    scope: 'admin',
    summary: 'The rooms with the most members, events or bytes',
    tenantOf: ({ query }) => query.tenant,
    query: z.strictObject({
      tenant: tenantName.optional(),
      sort: z.enum(ROOM_SORTS).default('members'),
      limit: limit(1000, 100),
    }),
    answer: z.object({
      rooms: z.array(
        z.object({
          tenant: z.string(),
          room: z.string(),
          members: z.number(),
          durable: z.boolean(),
          eventsPerSecond: z.number(),
          bytesPerSecond: z.number(),
          nodes: z.number(),
        }),
      ),
      missing,
    }),
    handle: async ({ query }) => {
      const { answers, missing: silent } = await askAll(cluster, 'admin.rooms', query);
      return { answer: { rooms: mergeRooms(answers, query.sort, query.limit), missing: silent } };
    },
  });
}
