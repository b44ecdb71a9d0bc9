import { z } from 'zod';
import type { Cluster, Unstored } from '../../broker/cluster.ts';
import type { Policies } from '../../broker/limits/policy.ts';
import { type ParsePolicy, POLICY_STORE } from '../../broker/limits/shared.ts';
import { TENANT_NAME } from '../../broker/ports.ts';
import { type Reply, type Route, refused, route } from '../http/route.ts';

const params = z.strictObject({
  tenant: z.string().regex(TENANT_NAME, 'is not the name of a tenant'),
});
const fields = z.record(z.string(), z.unknown());
const answer = z.looseObject({ tenant: z.string(), overrides: fields });

/** Policies as they are set through the cluster's store; the settings' file is what they are set over. */
export function tenants(cluster: Cluster, policies: Policies, parse: ParsePolicy): Route[] {
  const path = '/admin/v1/tenants/{tenant}';
  const now = (tenant: string): Reply => ({
    answer: { tenant, ...policies.of(tenant), overrides: policies.override(tenant) ?? {} },
  });
  return [
    route({
      method: 'GET',
      path,
      scope: 'admin',
      tenantOf: ({ params: { tenant } }) => tenant,
      summary: 'The policy in force for a tenant, and which of its fields are not the default',
      params,
      answer,
      handle: ({ params: { tenant } }) => now(tenant),
    }),
    route({
      method: 'PUT',
      path,
      scope: 'admin',
      tenantOf: ({ params: { tenant } }) => tenant,
      summary: 'Sets the policy of a tenant on all nodes, in the place of what was set for it before',
      params,
      body: fields,
      answer,
      handle: async ({ params: { tenant }, body }) => {
        const parsed = parse(body);
        if (!parsed.ok) return refused(400, 'bad_request', parsed.problem);
        const stored = await cluster.store(POLICY_STORE).put(tenant, body);
        return stored.ok ? now(tenant) : unstored(stored.why);
      },
    }),
    route({
      method: 'DELETE',
      path,
      scope: 'admin',
      tenantOf: ({ params: { tenant } }) => tenant,
      summary: 'Back to what the settings say of the tenant',
      params,
      answer,
      handle: async ({ params: { tenant } }) => {
        const gone = await cluster.store(POLICY_STORE).delete(tenant);
        return gone.ok ? now(tenant) : unstored(gone.why);
      },
    }),
  ];
}

const WHY: Readonly<Record<Unstored, readonly [number, string, string]>> = {
  conflict: [409, 'conflict', 'somebody else has changed it meanwhile'],
  unavailable: [
    503,
    'unavailable',
    'the store cannot be written to now; what was asked may or may not be done',
  ],
  too_large: [413, 'payload_too_large', 'it is larger than state.valueBytes'],
  full: [507, 'full', 'the store has as much as state.entries or state.bytes allow'],
};

/** A change that the store of the cluster did not take. */
export function unstored(why: Unstored): Reply {
  const [status, code, reason] = WHY[why];
  return refused(status, code, reason, why === 'unavailable' ? 1000 : undefined);
}
