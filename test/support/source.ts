/** What the house rules look at in one TypeScript file: its imports, its functions, what it touches. */
import { parseSync } from 'oxc-parser';

export interface Place {
  readonly what: string;
  readonly line: number;
}

export interface SourceFunction {
  readonly name: string;
  readonly line: number;
  readonly lines: number;
  /** Cyclomatic: 1, and 1 for each if, loop, case, catch, ?:, && || ?? and their assignments. */
  readonly complexity: number;
}

export interface Source {
  /** From the root of the project, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: number;
  /** Every module named: import, export from, import(), import type, import('…') in a type. */
  readonly imports: readonly Place[];
  readonly functions: readonly SourceFunction[];
  /** Free names and static members of them, as `setTimeout`, `Date.now`, `process`; `new Date()` as `new Date`. */
  readonly uses: readonly Place[];
  /** `any` as a type, catches with nothing in them. */
  readonly faults: readonly Place[];
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

/** Throws when the file is not TypeScript that can be parsed. */
export function readSource(path: string, text: string): Source {
  const { program, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`);
  const found = new Findings(text);
  walk(program as unknown as Node, undefined, '', (node, parent, key) => found.visit(node, parent, key));
  return {
    path,
    text,
    lines: lineCount(text),
    imports: found.imports,
    functions: found.functions,
    uses: found.uses,
    faults: found.faults,
  };
}

/** As an editor counts: the newline at the end starts no line. */
export function lineCount(text: string): number {
  return text === '' ? 0 : text.trimEnd().split('\n').length;
}

type Visit = (node: Node, parent: Node | undefined, key: string) => void;

function walk(node: Node, parent: Node | undefined, parentKey: string, visit: Visit): void {
  visit(node, parent, parentKey);
  for (const [key, child] of childrenOf(node)) walk(child, node, key, visit);
}

function* childrenOf(node: Node): Generator<[string, Node]> {
  for (const [key, value] of Object.entries(node)) {
    if (isNode(value)) yield [key, value];
    else if (Array.isArray(value)) for (const item of value) if (isNode(item)) yield [key, item];
  }
}

function isNode(value: unknown): value is Node {
  return (
    typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string'
  );
}

const FUNCTIONS = new Set(['FunctionDeclaration', 'FunctionExpression', 'ArrowFunctionExpression']);

class Findings {
  readonly imports: Place[] = [];
  readonly functions: SourceFunction[] = [];
  readonly uses: Place[] = [];
  readonly faults: Place[] = [];
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  visit(node: Node, parent: Node | undefined, key: string): void {
    const module = moduleOf(node);
    if (module !== undefined) this.#note(this.imports, module, node);
    if (FUNCTIONS.has(node.type) && isNode(node['body'])) this.functions.push(this.#function(node, parent));
    const use = useOf(node, parent, key);
    if (use !== undefined) this.#note(this.uses, use, node);
    const fault = faultOf(node);
    if (fault !== undefined) this.#note(this.faults, fault, node);
  }

  #note(list: Place[], what: string, node: Node): void {
    list.push({ what, line: this.#lineOf(node.start) });
  }

  #lineOf(offset: number): number {
    return this.#text.slice(0, offset).split('\n').length;
  }

  #function(node: Node, parent: Node | undefined): SourceFunction {
    const line = this.#lineOf(node.start);
    const name = nameOf(node['id']) ?? nameOf(parent?.['key']) ?? nameOf(parent?.['id']) ?? 'anonymous';
    return { name, line, lines: this.#lineOf(node.end) - line + 1, complexity: complexityOf(node) };
  }
}

function nameOf(node: unknown): string | undefined {
  if (!isNode(node)) return undefined;
  return typeof node['name'] === 'string' ? node['name'] : undefined;
}

/** All nodes that name a module hold it as `source`, but `import x = require()`. */
function moduleOf(node: Node): string | undefined {
  const source = node.type === 'TSExternalModuleReference' ? node['expression'] : node['source'];
  return isNode(source) && typeof source['value'] === 'string' ? source['value'] : undefined;
}

const BRANCHES = new Set([
  'IfStatement',
  'ForStatement',
  'ForInStatement',
  'ForOfStatement',
  'WhileStatement',
  'DoWhileStatement',
  'CatchClause',
  'ConditionalExpression',
  'LogicalExpression',
]);

/** A function inside counts for itself. */
function complexityOf(node: Node): number {
  let complexity = 1;
  const count = (inner: Node): void => {
    if (FUNCTIONS.has(inner.type)) return;
    if (isBranch(inner)) complexity++;
    for (const [, child] of childrenOf(inner)) count(child);
  };
  for (const [, child] of childrenOf(node)) count(child);
  return complexity;
}

function isBranch(node: Node): boolean {
  if (node.type === 'SwitchCase') return isNode(node['test']);
  if (node.type === 'AssignmentExpression') return ['&&=', '||=', '??='].includes(String(node['operator']));
  return BRANCHES.has(node.type);
}

/** Where an identifier only names a member, a field (the value of a shorthand one is visited too) or an export. */
const NAMES = new Set(['property', 'key', 'imported', 'exported']);

function useOf(node: Node, parent: Node | undefined, key: string): string | undefined {
  if (node.type === 'NewExpression') {
    const bare = Array.isArray(node['arguments']) && node['arguments'].length === 0;
    return bare ? `new ${nameOf(node['callee'])}` : undefined;
  }
  if (node.type === 'MemberExpression') {
    const of = nameOf(node['object']);
    const member = memberOf(node);
    if (of === undefined || member === undefined) return undefined;
    return of === 'globalThis' ? member : `${of}.${member}`;
  }
  if (node.type !== 'Identifier' || (NAMES.has(key) && parent?.['computed'] !== true)) return undefined;
  return nameOf(node);
}

/** `a.b` and `a['b']` alike. */
function memberOf(node: Node): string | undefined {
  const property = node['property'];
  if (node['computed'] !== true) return nameOf(property);
  return isNode(property) && typeof property['value'] === 'string' ? property['value'] : undefined;
}

function faultOf(node: Node): string | undefined {
  if (node.type === 'TSAnyKeyword') return 'any';
  if (node.type === 'CatchClause' && isEmptyBlock(node['body'])) return 'an empty catch';
  if (holdsIterator(node)) return 'an iterator that is held: it keeps all that has left its collection';
  if (node.type !== 'CallExpression') return undefined;
  const { callee, arguments: args } = node as { readonly callee?: unknown; readonly arguments?: unknown };
  if (!isNode(callee) || callee.type !== 'MemberExpression' || memberOf(callee) !== 'catch') return undefined;
  const handler = Array.isArray(args) ? args[0] : undefined;
  return isNode(handler) && isEmptyBlock(handler['body']) ? 'an empty catch' : undefined;
}

const ITERATORS = new Set(['Iterator', 'IterableIterator', 'MapIterator', 'SetIterator', 'Generator']);

/** A field that is one by its type or its value, or is set to one. */
function holdsIterator(node: Node): boolean {
  if (node.type === 'PropertyDefinition') {
    const type = isNode(node['typeAnnotation']) ? node['typeAnnotation']['typeAnnotation'] : undefined;
    const name = isNode(type) ? nameOf(type['typeName']) : undefined;
    return ITERATORS.has(name ?? '') || makesIterator(node['value']);
  }
  if (node.type !== 'AssignmentExpression' || !isNode(node['left'])) return false;
  return node['left'].type === 'MemberExpression' && makesIterator(node['right']);
}

function makesIterator(node: unknown): boolean {
  if (!isNode(node) || node.type !== 'CallExpression') return false;
  const { callee, arguments: args } = node as { readonly callee?: unknown; readonly arguments?: unknown };
  if (!isNode(callee) || callee.type !== 'MemberExpression' || !Array.isArray(args)) return false;
  return args.length === 0 && ['values', 'keys', 'entries'].includes(memberOf(callee) ?? '');
}

function isEmptyBlock(node: unknown): boolean {
  return isNode(node) && Array.isArray(node['body']) && node['body'].length === 0;
}
