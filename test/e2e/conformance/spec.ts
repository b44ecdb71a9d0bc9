/** docs/protocol.md as data: its clauses, and the fields that its frames have. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const SPEC_PATH = fileURLToPath(new URL('../../../docs/protocol.md', import.meta.url));
export const SPEC = readFileSync(SPEC_PATH, 'utf8');

export interface Clause {
  /** `3.7.1` */
  readonly number: string;
  /** All that stands in it, its heading included. */
  readonly text: string;
}

/** The fields of a frame, `type` left out; `{room, id?, before? or after?}` has one required field. */
export interface Shape {
  readonly clause: string;
  readonly type: string;
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

const START = /^(?:\*\*(\d+(?:\.\d+)+)\*\*|### (\d+(?:\.\d+)+))/;

export const CLAUSES: readonly Clause[] = readClauses();

/** What the client may send: the headings of section 3. */
export const CLIENT_SHAPES = shapesOf(CLAUSES.filter(({ number }) => /^3\.\d+$/.test(number)));
/** What the server may send: the clauses of section 4. */
export const SERVER_SHAPES = shapesOf(CLAUSES.filter(({ number }) => number.startsWith('4.')));

function readClauses(): Clause[] {
  const clauses: { number: string; text: string }[] = [];
  let current: { number: string; text: string } | undefined;
  for (const line of SPEC.split('\n')) {
    const [, bold, heading] = START.exec(line) ?? [];
    const number = bold ?? heading;
    if (number !== undefined) {
      current = { number, text: '' };
      clauses.push(current);
    } else if (line.startsWith('## ')) {
      current = undefined;
    }
    if (current !== undefined) current.text += `${line}\n`;
  }
  return clauses;
}

function shapesOf(clauses: readonly Clause[]): ReadonlyMap<string, Shape> {
  const shapes = new Map<string, Shape>();
  for (const { number, text } of clauses) {
    const [, type, fields] = /^\S+ (?:\d\S* )?`(\w+)` `\{([^}]*(?:\{[^}]*\}[^}]*)*)\}`/.exec(text) ?? [];
    if (type === undefined || fields === undefined) continue;
    const names = fields.split(/[,|]/).map((name) => name.trim());
    shapes.set(type, {
      clause: number,
      type,
      required: names.filter((name) => !name.endsWith('?')),
      optional: names.filter((name) => name.endsWith('?')).map((name) => name.slice(0, -1)),
    });
  }
  return shapes;
}

/** What is wrong with a frame of the server by section 4; undefined: nothing. */
export function misshapen(frame: Readonly<Record<string, unknown>>): string | undefined {
  const shape = SERVER_SHAPES.get(String(frame['type']));
  if (shape === undefined) return `no clause knows frames of the type ${String(frame['type'])}`;
  const missing = shape.required.filter((name) => frame[name] === undefined);
  const known = new Set(['type', ...shape.required, ...shape.optional]);
  const unknown = Object.keys(frame).filter((name) => !known.has(name));
  if (missing.length + unknown.length === 0) return undefined;
  return `clause ${shape.clause}: ${shape.type} without [${missing}], with unnamed [${unknown}]`;
}
