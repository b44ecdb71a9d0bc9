/** The YAML text as a plain tree, and where in the text each value stands. */
import { LineCounter, parseDocument } from 'yaml';
import { isTree, type Path, type Tree } from './tree.ts';
import type { ConfigProblem } from './types.ts';

export { isTree, type Path, type Tree } from './tree.ts';

export interface ParsedText {
  readonly tree: Tree;
  /** `carillon.yaml:12`, for a path that the text sets. */
  readonly sourceOf: (path: Path) => string | undefined;
}

export type TextResult =
  | ({ readonly ok: true } & ParsedText)
  | { readonly ok: false; readonly problem: ConfigProblem };

/** @param name how the text is called in problems. */
export function parseText(text: string, name: string): TextResult {
  const lines = new LineCounter();
  // prettyErrors would quote the text around an error, secrets and all.
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const fault = document.errors[0];
  if (fault) {
    const at = lines.linePos(fault.pos[0]);
    return refused(name, fault.code, `${name}:${at.line}:${at.col}`);
  }
  const tree = toTree(document);
  if (tree === undefined) return refused(name, 'no mapping, or an alias without its anchor', name);
  return { ok: true, tree, sourceOf: (path) => sourceIn(document, lines, name, path) };
}

function toTree(document: ReturnType<typeof parseDocument>): Tree | undefined {
  try {
    const value = withoutEmpty(document.toJS() ?? {});
    return isTree(value) ? value : undefined;
  } catch (error) {
    // An alias without its anchor: the error would quote the value.
    if (error instanceof ReferenceError) return undefined;
    throw error;
  }
}

/** A section whose every line is commented out is read as null, and means the same as no section. */
function withoutEmpty(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutEmpty);
  if (!isTree(value)) return value;
  const filled = Object.entries(value).filter(([, child]) => child !== null);
  // In a JSON Schema null is a value: { const: null }.
  return Object.fromEntries(
    filled.map(([key, child]) => [key, key === 'inline' ? child : withoutEmpty(child)]),
  );
}

function refused(name: string, value: string, source: string): TextResult {
  return { ok: false, problem: { key: name, value, expected: 'a YAML mapping of settings', source } };
}

function sourceIn(
  document: ReturnType<typeof parseDocument>,
  lines: LineCounter,
  name: string,
  path: Path,
): string | undefined {
  const node: unknown = document.getIn(path, true);
  const range = typeof node === 'object' && node !== null && 'range' in node ? node.range : undefined;
  const start: unknown = Array.isArray(range) ? range[0] : undefined;
  return typeof start === 'number' ? `${name}:${lines.linePos(start).line}` : undefined;
}
