import { z } from 'zod';
import { OPERATOR } from '../../broker/access/reserved-users.ts';
import type { Backend, BackendPublication } from '../../broker/admin/backend.ts';
import { askAll, sum } from '../../broker/admin/node.ts';
import type { Cluster } from '../../broker/cluster.ts';
import { inboxOf } from '../../protocol/room.ts';
import { missing, roomName, sessionId, tenantName, userName } from '../admin/shapes.ts';
import { type Caller, type Reply, type Route, refused, refusedBy, route } from '../http/route.ts';
import { tenantOf } from './tenancy.ts';

const payload = z.unknown().refine((value) => value !== undefined, { error: 'is missing' });
const msgId = z.string().min(1).max(64);

export function publishing(cluster: Cluster, backend: Backend, targets: number): Route[] {
  return [publish(backend), broadcast(cluster, backend, targets)];
}

function publish(backend: Backend): Route {
  return route({
    method: 'POST',
    path: '/api/v1/publish',
    scope: 'api',
    summary: 'Publishes to a room; in a durable one the answer comes when it is stored',
    reads: true,
    body: z.strictObject({
      tenant: tenantName.optional(),
      room: roomName,
      payload,
      msgId: msgId.optional(),
      key: z.string().min(1).max(64).optional(),
    }),
    answer: z.object({
      room: z.string(),
      seq: z.number().optional(),
      epoch: z.string(),
      duplicate: z.boolean(),
      dedupe: z.literal('partial').optional(),
    }),
    handle: async ({ body, caller, payload: text = '', traceparent }) => {
      const bound = tenantOf(caller, body.tenant);
      if ('refused' in bound) return bound;
      const outcome = await backend.publish({
        tenant: bound.tenant,
        room: body.room,
        payload: text,
        from: senderOf(caller),
        msgId: body.msgId,
        key: body.key,
        traceparent,
      });
      if (!outcome.ok) return refusedBy(outcome);
      const { seq, epoch, duplicate, dedupe } = outcome;
      const place = { ...(seq !== undefined && { seq }), epoch, duplicate };
      return { answer: { room: body.room, ...place, ...(dedupe && { dedupe }) } };
    },
  });
}

function broadcast(cluster: Cluster, backend: Backend, targets: number): Route {
  return route({
    method: 'POST',
    path: '/api/v1/broadcast',
    scope: 'api',
    summary:
      'One payload to several rooms, to the inboxes of users, or, at most once and without a trace, to single sessions or every connection of the tenant',
    reads: true,
    body: z
      .strictObject({
        tenant: z.union([tenantName, z.literal(true)]).optional(),
        rooms: z.array(roomName).min(1).max(targets).optional(),
        users: z.array(userName).min(1).max(targets).optional(),
        sessions: z.array(sessionId).min(1).max(targets).optional(),
        payload,
        msgId: msgId.optional(),
      })
      .refine(
        ({ rooms, users, sessions, tenant }) =>
          [rooms ?? users, sessions, tenant === true || undefined].filter((to) => to !== undefined).length ===
          1,
        { error: 'one of rooms or users, sessions, and tenant: true is needed' },
      ),
    answer: z.object({
      accepted: z.number(),
      refused: z.array(z.object({ room: z.string(), code: z.string(), reason: z.string() })),
      connections: z.number().optional(),
      missing: missing.optional(),
    }),
    handle: ({ body, caller, payload: text = '', traceparent }): Reply | Promise<Reply> => {
      const bound = tenantOf(caller, body.tenant === true ? undefined : body.tenant);
      if ('refused' in bound) return bound;
      const event = {
        tenant: bound.tenant,
        payload: text,
        from: senderOf(caller),
        msgId: body.msgId,
        traceparent,
      };
      const { rooms, users, sessions } = body;
      if (rooms !== undefined || users !== undefined) return toRooms(backend, event, body);
      const oversized = backend.oversized(event.payload);
      return oversized === undefined ? toConnections(cluster, event, sessions) : refusedBy(oversized);
    },
  });
}

type Broadcast = Omit<BackendPublication, 'room'>;

/** Without `sessions` to all of the tenant. */
async function toConnections(
  cluster: Cluster,
  { tenant, payload: text, from }: Broadcast,
  sessions: readonly string[] | undefined,
): Promise<Reply> {
  const question = { tenant, payload: text, from };
  const { answers, missing: silent } =
    sessions === undefined
      ? await askAll(cluster, 'tenant.broadcast', question)
      : await askAll(cluster, 'tenant.message', { ...question, sessions: [...new Set(sessions)] });
  const connections = sum(answers);
  return { answer: { accepted: connections, refused: [], connections, missing: silent } };
}

async function toRooms(
  backend: Backend,
  event: Broadcast,
  named: { readonly rooms?: string[] | undefined; readonly users?: string[] | undefined },
): Promise<Reply> {
  const rooms = new Set(named.rooms);
  for (const user of named.users ?? []) {
    const inbox = inboxOf(user);
    if (inbox === undefined)
      return refused(400, 'bad_room', `the user id ${user} cannot stand in the name of an inbox`);
    rooms.add(inbox);
  }
  const outcomes = await Promise.all(
    [...rooms].map(async (room) => ({ room, outcome: await backend.publish({ ...event, room }) })),
  );
  const failed = outcomes.flatMap(({ room, outcome }) =>
    outcome.ok ? [] : [{ room, code: outcome.code, reason: outcome.reason }],
  );
  return { answer: { accepted: rooms.size - failed.length, refused: failed } };
}

/** What stands in `from` of the events. */
function senderOf({ kind, name }: Caller): string {
  return kind === 'admin_token' ? OPERATOR : name;
}
