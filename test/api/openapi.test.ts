import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { describedApi, describedRoutes } from '../../src/api/described.ts';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const { version } = JSON.parse(read('package.json')) as { version: string };

test('docs/openapi.json is what the routes say: npm run openapi writes it', () => {
  assert.deepEqual(JSON.parse(read('docs/openapi.json')), JSON.parse(JSON.stringify(describedApi(version))));
});

test('every route is described, with its parameters, and stands in docs/api.md', () => {
  const routes = describedRoutes();
  const { paths } = JSON.parse(read('docs/openapi.json')) as {
    paths: Record<string, Record<string, { parameters: { name: string; in: string }[] }>>;
  };
  const guide = read('docs/api.md');
  for (const { method, path } of routes) {
    const operation = paths[path]?.[method.toLowerCase()];
    assert.ok(operation, `${method} ${path} is not described`);
    const named = operation.parameters
      .filter((parameter) => parameter.in === 'path')
      .map(({ name }) => `{${name}}`);
    assert.deepEqual(named, path.match(/\{\w+\}/g) ?? [], path);
    assert.ok(guide.includes(`\`${method} ${path}\``), `docs/api.md does not name ${method} ${path}`);
  }
  const described = Object.values(paths).flatMap((methods) => Object.keys(methods)).length;
  assert.equal(described, routes.length);
});
