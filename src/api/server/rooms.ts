import { z } from 'zod';
import type { Backend } from '../../broker/admin/backend.ts';
import { askAll, sum } from '../../broker/admin/node.ts';
import type { Cluster } from '../../broker/cluster.ts';
import { PRESENCE_MODES } from '../../protocol/frames.ts';
import { limit, missing, reason, roomName, tenantName, userName } from '../admin/shapes.ts';
import { type Route, refusedBy, route } from '../http/route.ts';
import { tenantOf } from './tenancy.ts';

const seq = z.coerce.number().int().min(0);
const room = z.strictObject({ room: roomName });

export function rooms(cluster: Cluster, backend: Backend): Route[] {
  return [history(backend), presence(backend), disconnect(cluster)];
}

function history(backend: Backend): Route {
  return route({
    method: 'GET',
    path: '/api/v1/rooms/{room}/history',
    scope: 'api',
    summary: 'Events of a durable room, in order: the newest, those before or those after a position',
    params: room,
    query: z.strictObject({
      tenant: tenantName.optional(),
      limit: limit(100_000, 100),
      before: seq.optional(),
      after: seq.optional(),
    }),
    answer: z.object({
      room: z.string(),
      epoch: z.string(),
      events: z.array(z.looseObject({ seq: z.number(), payload: z.unknown() })),
      more: z.boolean(),
      truncated: z.boolean(),
    }),
    handle: async ({ params, query, caller }) => {
      const bound = tenantOf(caller, query.tenant);
      if ('refused' in bound) return bound;
      const page = await backend.history(bound.tenant, params.room, query);
      if (!page.ok) return refusedBy(page);
      const { epoch, more, truncated } = page;
      const answer = { room: params.room, epoch, more, truncated };
      const events = page.events.map(({ json }) => json).join(',');
      return { answer, text: `${JSON.stringify(answer).slice(0, -1)},"events":[${events}]}` };
    },
  });
}

function presence(backend: Backend): Route {
  return route({
    method: 'GET',
    path: '/api/v1/rooms/{room}/presence',
    scope: 'api',
    summary: 'Who is in a room, on all nodes',
    params: room,
    query: z.strictObject({ tenant: tenantName.optional() }),
    answer: z.object({
      count: z.number(),
      members: z
        .array(z.object({ user: z.string(), info: z.unknown().optional(), connections: z.number() }))
        .optional(),
      mode: z.enum(PRESENCE_MODES),
      partial: z.literal(true).optional(),
    }),
    handle: async ({ params, query, caller }) => {
      const bound = tenantOf(caller, query.tenant);
      if ('refused' in bound) return bound;
      const told = await backend.presence(bound.tenant, params.room);
      return 'ok' in told ? refusedBy(told) : { answer: told };
    },
  });
}

function disconnect(cluster: Cluster): Route {
  return route({
    method: 'POST',
    path: '/api/v1/users/{user}/disconnect',
    scope: 'api',
    summary: 'Ends the connections of a user with 4009',
    params: z.strictObject({ user: userName }),
    body: z.strictObject({
      tenant: tenantName.optional(),
      reason: reason.default('disconnected by the server'),
    }),
    answer: z.object({ disconnected: z.number(), missing }),
    handle: async ({ params, body, caller }) => {
      const bound = tenantOf(caller, body.tenant);
      if ('refused' in bound) return bound;
      const { answers, missing: silent } = await askAll(cluster, 'admin.kick', {
        ...bound,
        ...params,
        reason: body.reason,
      });
      const disconnected = sum(answers);
      return { answer: { disconnected, missing: silent } };
    },
  });
}
