/** What of JSON Schema is not taken, because what it costs cannot be told, and how large a schema may be. */
import { isTree, type Tree } from './tree.ts';

/** Of arrays that have to be without equals: each element is compared with every other. */
export const UNIQUE_ITEMS_MAX = 256;

const MAPS = ['properties', 'patternProperties', 'dependentSchemas'] as const;
const LISTS = ['allOf', 'anyOf', 'oneOf', 'prefixItems'] as const;
const SINGLE = [
  'items',
  'additionalProperties',
  'contains',
  'not',
  'if',
  'then',
  'else',
  'propertyNames',
  'unevaluatedItems',
  'unevaluatedProperties',
] as const;

/** References that are not known before a payload is, and answers that are not there when they are needed. */
const REFUSED = ['$dynamicRef', '$dynamicAnchor', '$recursiveRef', '$recursiveAnchor', '$anchor', '$async'];

/** undefined: it costs no more than the limit. Otherwise what is wrong with it. */
export function costProblem(schema: Tree, nodes: number): string | undefined {
  return new Count(schema, nodes).of(schema, '', []);
}

class Count {
  readonly #root: Tree;
  readonly #most: number;
  #seen = 0;

  constructor(root: Tree, most: number) {
    this.#root = root;
    this.#most = most;
  }

  /** @param within the references that led here. */
  of(schema: unknown, at: string, within: readonly string[]): string | undefined {
    if (++this.#seen > this.#most)
      return `has more than ${this.#most} subschemas, those behind each $ref counted anew`;
    if (!isTree(schema)) return undefined;
    const refused = REFUSED.find((keyword) => Object.hasOwn(schema, keyword));
    if (refused !== undefined) return `has ${refused} at ${at || '/'}, which is not taken here`;
    if (at !== '' && Object.hasOwn(schema, '$id')) return `has $id at ${at}, below its root`;
    return uniqueProblem(schema, at) ?? this.#behind(schema, at, within) ?? this.#below(schema, at, within);
  }

  #behind(schema: Tree, at: string, within: readonly string[]): string | undefined {
    const ref = schema['$ref'];
    if (typeof ref !== 'string') return undefined;
    if (within.includes(ref))
      return `refers to itself by ${ref} at ${at || '/'}: its cost would have no bound`;
    const target = resolve(this.#root, ref);
    if (target === undefined)
      return `has $ref ${JSON.stringify(ref)} at ${at}: only #/… within the schema is followed`;
    return this.of(target, `${at}/$ref`, [...within, ref]);
  }

  #below(schema: Tree, at: string, within: readonly string[]): string | undefined {
    for (const [name, child] of childrenOf(schema)) {
      const problem = this.of(child, `${at}/${name}`, within);
      if (problem !== undefined) return problem;
    }
    return undefined;
  }
}

function uniqueProblem({ uniqueItems, maxItems }: Tree, at: string): string | undefined {
  if (uniqueItems !== true || (typeof maxItems === 'number' && maxItems <= UNIQUE_ITEMS_MAX))
    return undefined;
  return `has uniqueItems at ${at || '/'} without maxItems of at most ${UNIQUE_ITEMS_MAX}: all are compared with all`;
}

/** Its subschemas, by where they stand in it; not those that only references lead to. */
export function* childrenOf(schema: Tree): Generator<readonly [string, unknown]> {
  for (const name of SINGLE) if (Object.hasOwn(schema, name)) yield [name, schema[name]];
  for (const name of [...MAPS, ...LISTS]) {
    const children = schema[name];
    if (typeof children !== 'object' || children === null) continue;
    for (const [key, child] of Object.entries(children)) yield [`${name}/${key}`, child];
  }
}

/** @param ref a JSON pointer in a fragment. */
function resolve(root: Tree, ref: string): Tree | boolean | undefined {
  if (ref === '#') return root;
  if (!ref.startsWith('#/')) return undefined;
  let at: unknown = root;
  for (const part of ref.slice(2).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = Reflect.get(at, key);
  }
  return isTree(at) || typeof at === 'boolean' ? at : undefined;
}
