/** A schema of payloads as a setting, and what the broker gets of it. */
import { z } from 'zod';
import {
  type PayloadSchema,
  SCHEMA_MODES,
  type SchemaLimits,
  type SchemaRule,
} from '../broker/schema/schema.ts';
import { compilePattern } from '../protocol/room.ts';
import { choice, leaf, pattern, text } from './leaves.ts';
import { compileSchema } from './payload-schema.ts';
import { isTree } from './tree.ts';

export const SCHEMA_FIELDS = {
  mode: choice(SCHEMA_MODES).prefault('observe'),
  file: text('the path of a file that holds a JSON Schema', /^.+$/).optional(),
  inline: leaf('a JSON Schema: an object', (value) => (isTree(value) ? value : undefined)).optional(),
};

export const roomSchema = z.strictObject(SCHEMA_FIELDS);
export const tenantSchemas = z.array(z.strictObject({ match: pattern(), ...SCHEMA_FIELDS })).max(100);

export type SchemaSetting = z.output<typeof roomSchema>;
export type TenantSchemaSetting = z.output<typeof tenantSchemas>[number];

/** Of a room pattern of the config; readSchemas has judged it. */
export function roomSchemaOf(
  match: string,
  { mode, inline }: SchemaSetting,
  limits: SchemaLimits,
): PayloadSchema {
  const made = ruleOf({ match, mode, inline }, limits);
  if ('problem' in made) throw new Error(`the schema of ${match} ${made.problem}`);
  return { match, mode, check: made.check };
}

/** Of a tenant's policy. Files are read from settings only: a policy set at run time must not name any. */
export function ruleOf(
  { match, mode, inline }: Omit<TenantSchemaSetting, 'file'>,
  limits: SchemaLimits,
): SchemaRule | { readonly problem: string } {
  if (inline === undefined) return { problem: 'has no inline schema' };
  const compiled = compileSchema(inline, limits);
  return compiled.ok
    ? { match, matches: compilePattern(match), mode, inline, check: compiled.check }
    : { problem: compiled.problem };
}
