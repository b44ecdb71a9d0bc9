/** JSON Schemas of payloads (draft 2020-12), compiled once; docs/protocol.md, 7.10. */
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import { RE2JS } from 're2js';
import type { Misfit, SchemaLimits } from '../broker/schema/schema.ts';
import { costProblem } from './schema-cost.ts';
import { addSteps, allow, characters, spend, TooCostly, withSteps } from './schema-steps.ts';
import type { Tree } from './tree.ts';

export type CompiledSchema =
  | { readonly ok: true; readonly check: (payload: unknown) => Misfit | undefined }
  | { readonly ok: false; readonly problem: string };

/**
 * For `pattern`: RegExp goes back and forth, and needs longer than the universe will last for ^(a+)+$ and 64 letters.
 * RE2 takes time in proportion to the text, and refuses what it cannot do so.
 */
const linear = Object.assign(
  (pattern: string) => {
    const compiled = RE2JS.compile(RE2JS.translateRegExp(pattern));
    return {
      test: (text: string) => {
        spend(characters(text));
        return compiled.test(text);
      },
      // ajv takes two patterns of the same text for one.
      toString: () => pattern,
    };
  },
  { code: 'never written out' },
);

const ajv = new Ajv2020({
  strict: true,
  strictTypes: true,
  strictTuples: true,
  // Required beside properties is how conditions are written.
  strictRequired: false,
  allowUnionTypes: true,
  // A payload's toString is not that of its prototype.
  ownProperties: true,
  // The first misfit ends a check: a payload that is all wrong costs no more than one that fits.
  allErrors: false,
  logger: false,
  code: { regExp: linear },
});
addSteps(ajv);

/** By the schema itself: the checks of the settings and the build of them compile the same ones. */
const COMPILED = new WeakMap<Tree, CompiledSchema>();

type CostLimits = Pick<SchemaLimits, 'bytes' | 'nodes' | 'steps'>;

export function compileSchema(schema: Tree, limits: CostLimits): CompiledSchema {
  const known = COMPILED.get(schema);
  if (known !== undefined) return known;
  const made = compile(schema, limits);
  COMPILED.set(schema, made);
  return made;
}

function compile(schema: Tree, { bytes, nodes, steps }: CostLimits): CompiledSchema {
  if (Buffer.byteLength(JSON.stringify(schema)) > bytes)
    return { ok: false, problem: `has more than ${bytes} bytes as JSON` };
  const problem = costProblem(schema, nodes);
  if (problem !== undefined) return { ok: false, problem };
  const weighted = withSteps(schema);
  try {
    // The metaschema's own patterns count as well.
    allow(Number.POSITIVE_INFINITY);
    return { ok: true, check: checkOf(ajv.compile(weighted), steps) };
  } catch (error) {
    // All that ajv and RE2JS throw here is about the schema.
    if (error instanceof Error) return { ok: false, problem: `is refused: ${error.message}` };
    throw error;
  } finally {
    // ajv would keep every schema that it has ever seen, and refuse a second one of the same $id.
    ajv.removeSchema(weighted);
  }
}

function checkOf(validate: ValidateFunction, steps: number): (payload: unknown) => Misfit | undefined {
  return (payload) => {
    if (fits(validate, payload, steps)) return undefined;
    const [error] = validate.errors ?? [];
    // It would keep the payload alive.
    validate.errors = null;
    return { path: pathOf(error), problem: error?.message ?? `takes more than ${steps} steps to check` };
  };
}

function fits(validate: ValidateFunction, payload: unknown, steps: number): boolean {
  try {
    allow(steps);
    return validate(payload);
  } catch (error) {
    if (!(error instanceof TooCostly)) throw error;
    validate.errors = null;
    return false;
  }
}

/** With the name of a property that must not be there, which ajv keeps apart. */
function pathOf(error: ErrorObject | undefined): string {
  const { instancePath = '', params = {} } = error ?? {};
  const extra: unknown = params['additionalProperty'] ?? params['unevaluatedProperty'];
  if (typeof extra !== 'string') return instancePath;
  return `${instancePath}/${extra.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}
