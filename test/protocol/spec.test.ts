/** docs/protocol.md, the code and the tests, held together. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CLOSE_CODES, ERROR_CODES } from '../../src/protocol/codes.ts';
import { CLAUSES, CLIENT_SHAPES, SERVER_SHAPES, type Shape, SPEC } from '../e2e/conformance/spec.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function table(heads: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const line = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`;
  return [line(heads), line(heads.map(() => '---')), ...rows.map(line)].join('\n');
}

function between(marker: string): string {
  const [, found] =
    new RegExp(`<!-- codes:${marker} -->\\n([\\s\\S]*?)\\n?<!-- /codes:${marker} -->`).exec(SPEC) ?? [];
  assert.ok(found !== undefined, `the markers codes:${marker}`);
  return found.trim();
}

test('C6.1 the table of error codes is that of codes.ts', () => {
  const rows = Object.entries(ERROR_CODES).map(([code, { meaning, retry }]) => [
    `\`${code}\``,
    meaning,
    retry ? 'yes' : 'no',
  ]);
  assert.equal(between('errors'), table(['code', 'meaning', 'retry'], rows));
});

test('C6.2 the table of close codes is that of codes.ts', () => {
  const rows = Object.entries(CLOSE_CODES).map(([name, { code, meaning }]) => [code, `\`${name}\``, meaning]);
  assert.equal(between('closes'), table(['code', 'name', 'meaning'], rows));
});

interface Interface {
  readonly type: string;
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

/** The frames of frames.ts by the name of their interface. */
function interfaces(): ReadonlyMap<string, Interface> {
  const source = readFileSync(join(ROOT, 'src/protocol/frames.ts'), 'utf8');
  const found = new Map<string, Interface>();
  for (const [, name = '', body = ''] of source.matchAll(
    /^export interface (\w+Frame) \{\n([\s\S]*?)^\}/gm,
  )) {
    const fields = [...body.matchAll(/^ {2}readonly (\w+)(\?)?: (.*);$/gm)];
    const type = fields.find(([, field]) => field === 'type')?.[3]?.replace(/^'(.*)'$/, '$1');
    assert.ok(type !== undefined, name);
    const named = fields.filter(([, field]) => field !== 'type');
    found.set(name, {
      type,
      required: named.filter(([, , optional]) => optional === undefined).map(([, field]) => String(field)),
      optional: named.filter(([, , optional]) => optional !== undefined).map(([, field]) => String(field)),
    });
  }
  return found;
}

/** The interfaces that a union of frames.ts has. */
function membersOf(union: string): readonly Interface[] {
  const source = readFileSync(join(ROOT, 'src/protocol/frames.ts'), 'utf8');
  const [, list] = new RegExp(`^export type ${union} =([^;]*);`, 'm').exec(source) ?? [];
  const known = interfaces();
  const names = [...(list ?? '').matchAll(/\w+Frame/g)].map(([name]) => name);
  assert.ok(names.length > 5, union);
  return names.map((name) => {
    const found = known.get(name);
    assert.ok(found !== undefined, name);
    return found;
  });
}

function assertSame(frames: readonly Interface[], shapes: ReadonlyMap<string, Shape>): void {
  const sorted = (names: readonly string[]): string[] => [...names].sort();
  assert.deepEqual(sorted([...shapes.keys()]), sorted(frames.map(({ type }) => type)));
  for (const { type, required, optional } of frames) {
    const shape = shapes.get(type);
    assert.deepEqual(
      sorted(shape?.required ?? []),
      sorted(required),
      `clause ${shape?.clause}, ${type}: required`,
    );
    assert.deepEqual(
      sorted(shape?.optional ?? []),
      sorted(optional),
      `clause ${shape?.clause}, ${type}: optional`,
    );
  }
}

test('every frame of the client has a clause with its fields', () => {
  assertSame(membersOf('ClientFrame'), CLIENT_SHAPES);
});

test('every frame of the server has a clause with its fields', () => {
  assertSame(membersOf('ServerFrame'), SERVER_SHAPES);
});

/** Clause numbers in the titles of tests, with the files that name them. */
function named(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const files = readdirSync(join(ROOT, 'test'), { recursive: true }).map(String);
  for (const file of files.filter((name) => name.endsWith('.test.ts'))) {
    const text = readFileSync(join(ROOT, 'test', file), 'utf8');
    for (const [, title = ''] of text.matchAll(/(?:\b(?:test|both|it)\(\s*|= )(['`](?:[^'`\\\n]|\\.)*['`])/g))
      for (const [, number = ''] of title.matchAll(/\bC(\d+(?:\.\d+)+)\b/g)) found.set(number, file);
  }
  return found;
}

test('clauses are numbered once, and in order', () => {
  const numbers = CLAUSES.map(({ number }) => number);
  const parts = (number: string): number[] => number.split('.').map(Number);
  const before = (a: string, b: string): boolean => {
    const [left, right] = [parts(a), parts(b)];
    const at = left.findIndex((part, index) => part !== right[index]);
    return at < 0 ? left.length < right.length : (left[at] as number) < (right[at] ?? -1);
  };
  assert.ok(numbers.length > 50);
  for (const [at, number] of numbers.entries()) {
    const next = numbers[at + 1];
    if (next !== undefined) assert.ok(before(number, next), `${next} after ${number}`);
  }
});

test('every clause that a test names exists', () => {
  const numbers = new Set(CLAUSES.map(({ number }) => number));
  const unknown = [...named()].filter(([number]) => !numbers.has(number));
  assert.deepEqual(unknown, []);
});

test('every clause is named by a test', () => {
  const tested = named();
  // The heading of a group is held by its clauses.
  const groups = new Set(CLAUSES.map(({ number }) => number.slice(0, number.lastIndexOf('.'))));
  const unnamed = CLAUSES.map(({ number }) => number).filter(
    (each) => !tested.has(each) && !groups.has(each),
  );
  assert.deepEqual(unnamed, []);
});
