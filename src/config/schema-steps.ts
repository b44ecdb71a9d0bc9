/**
 * A bound on what one check may do. The subschemas of a schema say nothing about it: 490 alternatives for each of 32,000
 * numbers took 5.4 s. So every subschema gets a keyword of ours that counts, and stops the check when it is too much.
 */
import type { Ajv2020 } from 'ajv/dist/2020.js';
import { childrenOf, UNIQUE_ITEMS_MAX } from './schema-cost.ts';
import { isTree, type Tree } from './tree.ts';

const STEPS = 'x-steps';
/** Characters of a text that cost as much as a step: some 0.3 us by RE2. */
const CHARACTERS = 32;

/** Thrown through the compiled check, since nothing else ends it. */
export class TooCostly extends Error {}

/** Of the check that runs. */
let left = 0;

export function allow(steps: number): void {
  left = steps;
}

export function spend(steps: number): void {
  left -= steps;
  if (left < 0) throw new TooCostly();
}

export function characters(text: string): number {
  return Math.ceil(text.length / CHARACTERS);
}

/** Before all others of its group: what it counts has not been done yet. */
export function addSteps(ajv: Ajv2020): void {
  const before = ajv.RULES.rules.find(({ type }) => type === undefined)?.rules[0]?.keyword;
  ajv.addKeyword({
    keyword: STEPS,
    schemaType: 'object',
    errors: false,
    ...(before !== undefined && { before }),
    validate: ({ once, each }: Weight, value: unknown) => {
      spend(once + sizeOf(value, each));
      return true;
    },
  });
}

interface Weight {
  readonly once: number;
  /** Per element of an array. */
  readonly each: number;
}

function sizeOf(value: unknown, each: number): number {
  if (typeof value === 'string') return characters(value);
  return Array.isArray(value) ? value.length * each : 0;
}

/** The same schema, with what each of its parts costs. */
export function withSteps(schema: Tree): Tree {
  const copy: Tree = structuredClone(schema);
  weigh(copy);
  return copy;
}

function weigh(schema: Tree): void {
  for (const [, child] of childrenOf(schema)) if (isTree(child)) weigh(child);
  for (const name of ['$defs', 'definitions'])
    for (const child of Object.values(schema[name] ?? {})) if (isTree(child)) weigh(child);
  const unique = schema['uniqueItems'] === true ? UNIQUE_ITEMS_MAX / 2 : 0;
  schema[STEPS] = {
    once: 1 + ['anyOf', 'oneOf', 'allOf', 'enum'].reduce((sum, name) => sum + lengthOf(schema[name]), 0),
    each: unique + ['items', 'contains', 'unevaluatedItems'].filter((name) => name in schema).length,
  } satisfies Weight;
}

function lengthOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 0;
}
