/** The `tenants` section: what tenants may have and do, by default and by name. */
import { z } from 'zod';
import type { Rate } from '../broker/limits/bucket.ts';
import {
  ON_DUPLICATE,
  type PolicyOverride,
  PRESENCE_MODES,
  type TenantPolicy,
} from '../broker/limits/policy.ts';
import { ACTIONS } from '../broker/ports.ts';
import type { SchemaLimits, SchemaRule } from '../broker/schema/schema.ts';
import { accessPattern, choice, count, flag, size } from './leaves.ts';
import { ruleOf, type TenantSchemaSetting, tenantSchemas } from './schema-fields.ts';
import { GIB, KIB } from './units.ts';

const MANY = 1_000_000_000;
/** Each is compared when a session first asks about a room. */
const RULES_MAX = 500;
/** As in the claim. */

const publishRate = z.strictObject({ perSecond: count(0, MANY), burst: count(1, MANY).optional() });
const bytesRate = z.strictObject({
  perSecond: size(0, 1024 * GIB),
  burst: size(KIB, 1024 * GIB).optional(),
});

const rule = z.strictObject({
  match: accessPattern(),
  allow: z.array(choice(ACTIONS)).optional(),
  deny: z.array(choice(ACTIONS)).optional(),
});

const FIELDS = {
  enabled: flag(),
  connections: count(0, MANY),
  connectionsPerUser: count(0, MANY),
  onDuplicate: choice(ON_DUPLICATE),
  roomsPerConnection: count(0, MANY),
  openRooms: count(0, MANY),
  membersPerRoom: count(0, MANY),
  publish: publishRate,
  publishBytes: bytesRate,
  bytesPerDay: size(0, 1024 * 1024 * GIB),
  historyBytes: size(0, GIB),
  deliveriesPerSecond: count(0, MANY),
  ephemeral: publishRate,
  presence: choice(PRESENCE_MODES),
  rooms: z.array(rule).max(RULES_MAX, `at most ${RULES_MAX} entries`),
  weight: count(1, 1000),
  schemas: tenantSchemas,
};

/** Every field may be left out: the default holds then. */
const override = z.strictObject(FIELDS).partial();
type Override = z.output<typeof override>;

const byDefault = z.strictObject({
  enabled: FIELDS.enabled.prefault(true),
  connections: FIELDS.connections.prefault(0),
  connectionsPerUser: FIELDS.connectionsPerUser.prefault(0),
  onDuplicate: FIELDS.onDuplicate.prefault('keep-all'),
  roomsPerConnection: FIELDS.roomsPerConnection.prefault(0),
  openRooms: FIELDS.openRooms.prefault(0),
  membersPerRoom: FIELDS.membersPerRoom.prefault(0),
  publish: FIELDS.publish.prefault({ perSecond: 0 }),
  publishBytes: FIELDS.publishBytes.prefault({ perSecond: 0 }),
  bytesPerDay: FIELDS.bytesPerDay.prefault(0),
  historyBytes: FIELDS.historyBytes.prefault(0),
  deliveriesPerSecond: FIELDS.deliveriesPerSecond.prefault(0),
  ephemeral: FIELDS.ephemeral.prefault({ perSecond: 0 }),
  presence: FIELDS.presence.prefault('full'),
  rooms: FIELDS.rooms.prefault([]),
  weight: FIELDS.weight.prefault(1),
  schemas: FIELDS.schemas.prefault([]),
});

export const tenantsSchema = z.object({ default: byDefault.prefault({}) }).catchall(override);

export interface TenantsConfig {
  readonly default: TenantPolicy;
  readonly named: ReadonlyMap<string, PolicyOverride>;
}

export function buildTenants(settings: z.output<typeof tenantsSchema>, limits: SchemaLimits): TenantsConfig {
  const { default: base, ...named } = settings;
  return {
    default: { ...base, ...buildOverride(base, limits) } as TenantPolicy,
    named: new Map(
      Object.entries(named).map(([name, each]) => [name, buildOverride(each as Override, limits)]),
    ),
  };
}

/** A policy from outside, such as the admin API. `problem` says what is wrong with it. */
export function parsePolicy(
  value: unknown,
  limits: SchemaLimits,
): { ok: true; policy: PolicyOverride } | { ok: false; problem: string } {
  const parsed = override.safeParse(value);
  if (parsed.success) {
    const misfit = schemaProblem(parsed.data.schemas ?? [], limits);
    return misfit === undefined
      ? { ok: true, policy: buildOverride(parsed.data, limits) }
      : { ok: false, problem: misfit };
  }
  const problem = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  return { ok: false, problem };
}

function schemaProblem(schemas: readonly TenantSchemaSetting[], limits: SchemaLimits): string | undefined {
  for (const [at, schema] of schemas.entries()) {
    if (schema.file !== undefined)
      return `schemas.${at}.file: files are for the settings; give the schema as inline`;
    const rule = ruleOf(schema, limits);
    if ('problem' in rule) return `schemas.${at}.inline: the schema ${rule.problem}`;
  }
  return undefined;
}

function buildOverride(
  { publish, publishBytes, ephemeral, rooms, schemas, ...rest }: Override,
  limits: SchemaLimits,
): PolicyOverride {
  const given = Object.entries(rest).filter(([, value]) => value !== undefined);
  return {
    ...(Object.fromEntries(given) as PolicyOverride),
    ...(publish !== undefined && { publish: rateOf(publish) }),
    ...(publishBytes !== undefined && { publishBytes: rateOf(publishBytes) }),
    ...(ephemeral !== undefined && { ephemeral: rateOf(ephemeral) }),
    ...(rooms !== undefined && {
      rooms: rooms.map(({ match, allow = [], deny = [] }) => ({ match, allow, deny })),
    }),
    ...(schemas !== undefined && { schemas: schemas.map((schema) => judgedRule(schema, limits)) }),
  };
}

function judgedRule(schema: TenantSchemaSetting, limits: SchemaLimits): SchemaRule {
  const rule = ruleOf(schema, limits);
  if ('problem' in rule) throw new Error(`the schema of ${schema.match} ${rule.problem}`);
  return rule;
}

/** Without a burst: what comes in a second. */
function rateOf({ perSecond, burst }: { perSecond: number; burst?: number | undefined }): Rate {
  return { perSecond, burst: burst ?? perSecond };
}
