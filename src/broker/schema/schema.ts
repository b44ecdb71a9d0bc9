/** What payloads of a room have to look like (docs/protocol.md, 7.10). */
import type { RoomMatcher } from '../../protocol/room.ts';

/** observe: counted and sampled; warn: the ack says it, too; enforce: refused. */
export const SCHEMA_MODES = ['observe', 'warn', 'enforce'] as const;
export type SchemaMode = (typeof SCHEMA_MODES)[number];

/** The first place of a payload that does not fit. */
export interface Misfit {
  /** A JSON pointer into the payload; empty: the payload itself. */
  readonly path: string;
  readonly problem: string;
}

export interface PayloadSchema {
  /** The pattern of rooms that it is for. */
  readonly match: string;
  readonly mode: SchemaMode;
  /** undefined: the payload fits. Never throws; what it costs is bounded when it is compiled. */
  check(payload: unknown): Misfit | undefined;
}

/** Of a tenant's policy. */
export interface SchemaRule extends PayloadSchema {
  readonly matches: RoomMatcher;
  /** What it was compiled from. */
  readonly inline: Readonly<Record<string, unknown>>;
}

/** The schema of a room, if any: the tenant's own, or what the config says. */
export function schemaOf(
  { schemas }: { readonly schemas: readonly SchemaRule[] },
  { name, policy }: { readonly name: string; readonly policy: { readonly schema?: PayloadSchema } },
): PayloadSchema | undefined {
  return schemas.find(({ matches }) => matches(name)) ?? policy.schema;
}

export interface SchemaLimits {
  /** Of one schema as JSON text. */
  readonly bytes: number;
  /** Subschemas of one schema, counted again wherever a `$ref` leads to them. */
  readonly nodes: number;
  /** Of one check: subschemas looked at, elements, and texts by their length. */
  readonly steps: number;
  /** Violations kept per tenant. */
  readonly samples: number;
  /** Of each payload that is kept. 0: none of it. */
  readonly sampleBytes: number;
  /** Tenants that violations are kept of. */
  readonly tenants: number;
}
