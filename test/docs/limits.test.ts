/** docs/limits.md names every limit, and no setting that does not exist. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { schemaPaths } from '../../src/config/environment.ts';

const ROOT = join(import.meta.dirname, '../..');
const text = readFileSync(join(ROOT, 'docs/limits.md'), 'utf8');
const rows = text.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| What'));

/** Settings named in backticks, as dotted paths. */
const named = new Set(
  [...text.matchAll(/`([a-z][A-Za-z]*(?:\[\])?(?:\.[A-Za-z]+)+)`/g)].map(([, name = '']) => name),
);

test('each key under limits in config/carillon.yaml is named, or its section as a whole', () => {
  const { limits } = parse(readFileSync(join(ROOT, 'config/carillon.yaml'), 'utf8'));
  const paths = Object.entries(limits).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !named.has(`limits.${key}`)
      ? Object.keys(value).map((inner) => `limits.${key}.${inner}`)
      : [`limits.${key}`],
  );
  assert.ok(paths.length > 30);
  assert.deepEqual(
    paths.filter((path) => !named.has(path)),
    [],
  );
});

test('each setting that is named exists', () => {
  const known = new Set(schemaPaths().map((path) => path.join('.')));
  assert.ok(named.size > 80);
  assert.deepEqual(
    [...named].filter((name) => !known.has(name.replace('[]', '.0'))),
    [],
  );
});

test('each row says what, the bound, whose it is, what happens there and what the client gets', () => {
  assert.ok(rows.length > 50);
  for (const row of rows) assert.equal(row.split('|').length, 7, row);
});
