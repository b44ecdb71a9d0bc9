/**
 * Settings from the environment: the shortcuts by name, and every key as CARILLON_SECTION__KEY, a list's entries
 * by their number (CARILLON_AUTH__KEYS__0__SECRET). Found by walking the schema, so that no key can be forgotten.
 */
import { parse } from 'yaml';
import { z } from 'zod';
import { closest } from './closest.ts';
import { isTree, type Path, type Tree } from './document.ts';
import { HIDDEN } from './keys.ts';
import { settingsSchema } from './schema.ts';
import type { ConfigProblem } from './types.ts';

const PREFIX = 'CARILLON_';

/** What stands for itself in the environment and not for a key of the same name. */
const SHORTCUTS: ReadonlyMap<string, Path> = new Map([
  ['CARILLON_ADMIN_LISTEN', ['admin', 'listen']],
  ['CARILLON_ADMIN_TOKEN', ['admin', 'token']],
  ['CARILLON_LOG_LEVEL', ['log', 'level']],
  ['CARILLON_NATS_URL', ['nats', 'url']],
]);

const CONFIG = 'CARILLON_CONFIG';
const JWT_SECRET = 'CARILLON_JWT_SECRET';
/** Read before the tree, and after it. */
const APART: readonly string[] = [CONFIG, JWT_SECRET];
/** `off` and `on` are for limits.rates; anything else is the whole section. */
const LIMITS = 'CARILLON_LIMITS';

/** The kid of the key that CARILLON_JWT_SECRET gives. */
const ENV_KID = 'env';

export interface Overlay {
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly string[];
  /** The variable that set a path or what holds it. */
  readonly sourceOf: (path: Path) => string | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Writes into `tree` what the environment sets; the environment has the last word. */
export function overlay(tree: Tree, env: Environment): Overlay {
  const problems: ConfigProblem[] = [];
  const warnings: string[] = [];
  const sources = new Map<string, string>();
  const names = Object.keys(env)
    .filter((name) => name.startsWith(PREFIX) && !APART.includes(name))
    .sort();
  for (const name of names) {
    const text = env[name];
    // Compose files and charts pass on variables that nobody set as empty ones.
    if (text === undefined || text === '' || isServiceLink(name, text)) continue;
    const target = targetOf(name, text);
    if (target === undefined) {
      const { problem, warning } = unknownVariable(name);
      if (problem) problems.push(problem);
      if (warning) warnings.push(warning);
      continue;
    }
    const at = JSON.stringify(target.path);
    const other = sources.get(at);
    if (other !== undefined) problems.push(setTwice(name, other));
    sources.set(at, name);
    write(tree, target.path, target.value);
  }
  addSecretKey(tree, env[JWT_SECRET], sources);
  return { problems, warnings, sourceOf: (path) => lookUp(sources, path) };
}

interface Target {
  readonly path: Path;
  readonly value: unknown;
}

function targetOf(name: string, text: string): Target | undefined {
  if (name === LIMITS && /^(?:on|off)$/.test(text))
    return { path: ['limits', 'rates'], value: text === 'on' };
  const path = SHORTCUTS.get(name);
  if (path) return { path, value: text };
  const found = locate(name.slice(PREFIX.length).split('__'));
  return found && { path: found.path, value: valueFor(found.schema, text) };
}

interface Located {
  readonly path: Path;
  readonly schema: z.core.$ZodType;
}

function locate(segments: readonly string[]): Located | undefined {
  let schema = unwrapped(settingsSchema);
  const path: (string | number)[] = [];
  for (const segment of segments) {
    const step = stepInto(schema, segment);
    if (step === undefined) return undefined;
    path.push(step.key);
    schema = unwrapped(step.schema);
  }
  return { path, schema };
}

function stepInto(
  schema: z.core.$ZodType,
  segment: string,
): { key: string | number; schema: z.core.$ZodType } | undefined {
  if (schema instanceof z.ZodArray) {
    return /^\d{1,4}$/.test(segment) ? { key: Number(segment), schema: schema.element } : undefined;
  }
  if (!(schema instanceof z.ZodObject)) return undefined;
  const shape: Readonly<Record<string, z.core.$ZodType>> = schema.shape;
  const found = Object.entries(shape).find(([key]) => plain(key) === plain(segment));
  return found && { key: found[0], schema: found[1] };
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodPrefault)
    return unwrapped(schema.def.innerType);
  return schema;
}

function plain(name: string): string {
  return name.replaceAll('_', '').toLowerCase();
}

/**
 * The text as it stands where the setting takes it so: a secret that happens to be a number or to hold a `#` must
 * arrive unchanged. Otherwise as YAML; a list or a mapping is always YAML.
 */
function valueFor(schema: z.core.$ZodType, text: string): unknown {
  const asYaml = fromYaml(text);
  const candidates = /^\s*[[{]/.test(text) ? [asYaml, text] : [text, asYaml];
  return candidates.find((candidate) => z.safeParse(schema, candidate).success) ?? asYaml;
}

function fromYaml(text: string): unknown {
  try {
    return parse(text, { prettyErrors: false, logLevel: 'error' });
  } catch {
    // Not YAML: the schema judges the text and names the key.
    return text;
  }
}

function write(tree: Tree, path: Path, value: unknown): void {
  let at: Tree | unknown[] = tree;
  path.slice(0, -1).forEach((key, depth) => {
    const next = read(at, key);
    const container =
      isTree(next) || Array.isArray(next) ? next : typeof path[depth + 1] === 'number' ? [] : {};
    put(at, key, container);
    at = container;
  });
  const last = path.at(-1);
  if (last !== undefined) put(at, last, value);
}

function read(container: Tree | unknown[], key: string | number): unknown {
  return Array.isArray(container) ? container[Number(key)] : container[key];
}

function put(container: Tree | unknown[], key: string | number, value: unknown): void {
  if (Array.isArray(container)) container[Number(key)] = value;
  else container[key] = value;
}

function addSecretKey(tree: Tree, secret: string | undefined, sources: Map<string, string>): void {
  if (secret === undefined || secret === '') return;
  const auth = tree['auth'] ?? {};
  const keys = isTree(auth) ? (auth['keys'] ?? []) : undefined;
  // What is no list is a problem of its own, which the schema names.
  if (!isTree(auth) || !Array.isArray(keys)) return;
  sources.set(JSON.stringify(['auth', 'keys', keys.length]), JWT_SECRET);
  tree['auth'] = { ...auth, keys: [...keys, { kid: ENV_KID, alg: 'HS256', secret }] };
}

function lookUp(sources: ReadonlyMap<string, string>, path: Path): string | undefined {
  for (let length = path.length; length > 0; length--) {
    const source = sources.get(JSON.stringify(path.slice(0, length)));
    if (source !== undefined) return source;
  }
  return undefined;
}

function setTwice(name: string, other: string): ConfigProblem {
  return {
    key: name,
    value: HIDDEN,
    expected: `one variable for one key; ${other} sets it too`,
    source: name,
  };
}

/** Kubernetes sets these for every Service whose name starts with `carillon`. */
function isServiceLink(name: string, text: string): boolean {
  if (/_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$/.test(name)) return true;
  return /_PORT(?:_\d+_(?:TCP|UDP|SCTP))?$/.test(name)
    ? /^(?:tcp|udp|sctp):\/\//.test(text)
    : /_PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)$/.test(name);
}

/** A misspelt setting must not pass unseen; another program's variable must not stop the start. */
function unknownVariable(name: string): { problem?: ConfigProblem; warning?: string } {
  const near = closest(name.slice(PREFIX.length), variableNames());
  if (!name.includes('__') && near === undefined)
    return { warning: `${name} is no setting of Carillon: ignored` };
  return {
    problem: {
      key: name,
      value: HIDDEN,
      expected: 'a known setting',
      ...(near === undefined ? {} : { fix: `did you mean ${PREFIX}${near}?` }),
      source: name,
    },
  };
}

/** Without the prefix, which would make every two names alike. */
function variableNames(): readonly string[] {
  const keys = schemaPaths().map((path) => path.map((segment) => segment.toUpperCase()).join('__'));
  return [...[...APART, ...SHORTCUTS.keys()].map((name) => name.slice(PREFIX.length)), ...keys];
}

/** Every key of the schema, sections included; entries of lists stand as `0`. */
export function schemaPaths(): readonly (readonly string[])[] {
  return pathsUnder(settingsSchema, []);
}

function pathsUnder(schema: z.core.$ZodType, path: readonly string[]): readonly (readonly string[])[] {
  const inner = unwrapped(schema);
  const here = path.length > 0 ? [path] : [];
  if (inner instanceof z.ZodArray) return [...here, ...pathsUnder(inner.element, [...path, '0'])];
  if (!(inner instanceof z.ZodObject)) return here;
  const shape: Readonly<Record<string, z.core.$ZodType>> = inner.shape;
  return [...here, ...Object.entries(shape).flatMap(([key, child]) => pathsUnder(child, [...path, key]))];
}
