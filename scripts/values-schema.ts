/** The part of helm/carillon/values.schema.json that says what `config` takes: from the broker's own schema. */
import { z } from 'zod';
import { settingsSchema } from '../src/config/schema.ts';

type Json = Readonly<Record<string, unknown>>;

/**
 * The schema with its definition `settings` made anew. What is required the broker says: settings may come from
 * variables, and streams.config is a part of them.
 */
export function valuesSchema(current: string): string {
  const schema = JSON.parse(current) as { readonly definitions: Json };
  const made = z.toJSONSchema(settingsSchema, { io: 'input', unrepresentable: 'any', target: 'draft-7' });
  const { $schema: _, ...settings } = shapes(made) as Json;
  return `${show({ ...schema, definitions: { ...schema.definitions, settings } }, '')}\n`;
}

const LEFT_OUT = new Set(['default', 'required', 'writeOnly']);

/** Names of settings stand below `properties`, and may be those of keywords. */
function shapes(value: unknown, names = false): unknown {
  if (Array.isArray(value)) return value.map((each) => shapes(each));
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => names || !LEFT_OUT.has(key));
  return Object.fromEntries(kept.map(([key, each]) => [key, shapes(each, key === 'properties' && !names)]));
}

/** As JSON.stringify with an indent, but what fits into a line stands in one. */
function show(value: unknown, indent: string): string {
  const line = JSON.stringify(value);
  if (typeof value !== 'object' || value === null || line.length + indent.length <= 100) return line;
  const deeper = `${indent}  `;
  if (Array.isArray(value)) return `[\n${value.map((each) => deeper + show(each, deeper)).join(',\n')}\n${indent}]`;
  const entries = Object.entries(value).map(([key, each]) => `${deeper}${JSON.stringify(key)}: ${show(each, deeper)}`);
  return `{\n${entries.join(',\n')}\n${indent}}`;
}
