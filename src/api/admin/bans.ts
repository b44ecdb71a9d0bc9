import { z } from 'zod';
import type { Ban, Banned, Bans, BanTarget } from '../../broker/exclusion/bans.ts';
import type { Exclusions } from '../../broker/exclusion/exclusions.ts';
import { type Caller, type Reply, type Route, refused, route } from '../http/route.ts';
import { limit, namesOne, reason, tenantName, userName } from './shapes.ts';
import { unstored } from './tenants.ts';

export function banning({ bans }: Exclusions): Route[] {
  return [adding(bans), listing(bans), lifting(bans)];
}

/** 30 years: beyond it a ban without an end is meant. */
const MOST_SECONDS = 946_080_000;

const network = z.string().min(2).max(64);

const ban = z.object({
  id: z.string(),
  kind: z.enum(['user', 'network', 'tenant']),
  user: z.string().optional(),
  tenant: z.string().optional(),
  network: z.string().optional(),
  reason: z.string(),
  by: z.enum(['admin', 'flapping', 'abuse']),
  at: z.number(),
  until: z.number().optional(),
});

function adding(bans: Bans): Route {
  return route({
    method: 'POST',
    path: '/admin/v1/bans',
    scope: 'admin',
    summary:
      'Bans a user, an address, a network or a tenant: connections are ended with 4003 within a second, and ' +
      'handshakes get 403 until the ban ends or is lifted',
    tenantOf: ({ body }) => body.tenant,
    body: z
      .strictObject({
        user: userName.optional(),
        tenant: tenantName.optional(),
        ip: network.optional(),
        cidr: network.optional(),
        seconds: z.number().int().min(1).max(MOST_SECONDS).optional(),
        reason: reason.default('banned by an administrator'),
      })
      .refine(banTarget, { error: 'one of ip, cidr, user (perhaps with tenant) and tenant is needed' }),
    answer: z.object({ id: z.string(), until: z.number().optional() }),
    handle: async ({ body }) =>
      bannedReply(await bans.ban(banTarget(body) as BanTarget, body.reason, 'admin', body.seconds)),
  });
}

function listing(bans: Bans): Route {
  return route({
    method: 'GET',
    path: '/admin/v1/bans',
    scope: 'admin',
    summary: 'Bans in force, those that the broker has made by itself among them',
    tenantOf: 'handler',
    query: z.strictObject({ limit: limit(1000, 100), after: z.string().max(64).optional() }),
    answer: z.object({ bans: z.array(ban), next: z.string().optional() }),
    handle: ({ query, caller }) => {
      const found = bans.list(query.limit + 1, query.after, (ban) => concerns(ban, caller));
      const page = found.slice(0, query.limit);
      const last = page.at(-1);
      return {
        answer: { bans: page, ...(found.length > query.limit && last !== undefined && { next: last.id }) },
      };
    },
  });
}

function lifting(bans: Bans): Route {
  return route({
    method: 'DELETE',
    path: '/admin/v1/bans/{id}',
    scope: 'admin',
    summary: 'Lifts a ban',
    tenantOf: 'handler',
    params: z.strictObject({ id: z.string().min(1).max(64) }),
    answer: z.object({ id: z.string() }),
    handle: async ({ params, caller }) => {
      const lifted = await bans.unban(params.id, (ban) => concerns(ban, caller));
      if (!lifted.ok) return unstored(lifted.why);
      return lifted.found ? { answer: params } : refused(404, 'not_found', 'there is no such ban');
    },
  });
}

/** Whether the caller may see and lift it: one restricted to some tenants, what is of these alone. */
function concerns(ban: Ban, { tenants }: Caller): boolean {
  if (tenants === undefined) return true;
  return ban.kind !== 'network' && ban.tenant !== undefined && tenants.includes(ban.tenant);
}

/** undefined: not one target, but none or several. */
function banTarget(body: {
  readonly user?: string | undefined;
  readonly tenant?: string | undefined;
  readonly ip?: string | undefined;
  readonly cidr?: string | undefined;
}): BanTarget | undefined {
  const { user, tenant, ip, cidr } = body;
  const text = ip ?? cidr;
  if (text !== undefined)
    return namesOne(['ip', 'cidr', 'user', 'tenant'])(body) ? { kind: 'network', network: text } : undefined;
  if (user !== undefined) return { kind: 'user', user, ...(tenant !== undefined && { tenant }) };
  return tenant === undefined ? undefined : { kind: 'tenant', tenant };
}

function bannedReply(banned: Banned): Reply {
  if (!banned.ok)
    return banned.why === 'bad_network'
      ? refused(400, 'bad_request', 'not an address or a network; prefixes are at least /8, of IPv6 /16')
      : unstored(banned.why);
  const { id, until } = banned;
  return { answer: { id, ...(until !== undefined && { until }) } };
}
