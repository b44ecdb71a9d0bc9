/** What zod found, told to a person: key, value, what was expected, where it was set. Never a secret. */
import type { z } from 'zod';
import { closest } from './closest.ts';
import type { Path } from './document.ts';
import { schemaPaths } from './environment.ts';
import { HIDDEN } from './keys.ts';
import type { ConfigProblem } from './types.ts';

const SHOWN_MAX = 80;

type SourceOf = (path: Path) => string | undefined;

export function problemsOf(error: z.ZodError, tree: unknown, sourceOf: SourceOf): ConfigProblem[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.filter((part) => typeof part !== 'symbol');
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => unknownKey([...path, key], sourceOf));
    return [
      located(path, { value: valueShown(issue, valueAt(tree, path)), expected: expectedBy(issue) }, sourceOf),
    ];
  });
}

/** A problem at a path, as the checks between settings find them. */
export function located(
  path: Path,
  problem: { readonly value: string; readonly expected: string; readonly fix?: string },
  sourceOf: SourceOf,
): ConfigProblem {
  const source = sourceOf(path);
  return { key: showPath(path), ...problem, ...(source === undefined ? {} : { source }) };
}

function unknownKey(path: Path, sourceOf: SourceOf): ConfigProblem {
  const siblings = siblingsOf(path);
  const near = closest(String(path.at(-1)), siblings);
  const fix = near === undefined ? `known here: ${siblings.join(', ')}` : `did you mean ${near}?`;
  // The value of a misspelt key may be a secret.
  return located(path, { value: HIDDEN, expected: 'a known key', fix }, sourceOf);
}

function siblingsOf(path: Path): readonly string[] {
  const parent = path.slice(0, -1).map((part) => (typeof part === 'number' ? '0' : part));
  return schemaPaths()
    .filter((known) => known.length === path.length && parent.every((part, at) => part === known[at]))
    .map((known) => String(known.at(-1)));
}

function expectedBy(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return issue.expected === 'array' ? 'a list' : 'a mapping';
  if (issue.code === 'too_small') return 'a list with at least one entry';
  return issue.message;
}

/** Leaves are shown unless they are secrets; of anything else only the kind, for it may hold a secret. */
function valueShown(issue: z.core.$ZodIssue, value: unknown): string {
  if (value === undefined) return '(missing)';
  if (issue.code !== 'custom') return kindOf(value);
  if (issue.params?.['secret'] === true) return HIDDEN;
  return showScalar(value);
}

export function showScalar(value: unknown): string {
  if (typeof value === 'object' && value !== null) return kindOf(value);
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a mapping' : `a ${typeof value}`;
}

function valueAt(tree: unknown, path: Path): unknown {
  return path.reduce<unknown>((at, part) => {
    return typeof at === 'object' && at !== null ? Reflect.get(at, part) : undefined;
  }, tree);
}

/** `auth.keys[0].alg` */
export function showPath(path: Path): string {
  return path
    .map((part, at) => (typeof part === 'number' ? `[${part}]` : at === 0 ? part : `.${part}`))
    .join('');
}
