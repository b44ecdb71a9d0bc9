import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { promtool } from '../support/chart-tools.ts';
import { run } from '../support/provide.ts';
import { ROOT } from './render.ts';

test('promtool takes the rules, and the alerts fire when they should and not otherwise', async () => {
  const { path } = await promtool();
  const folder = join(ROOT, 'config/alerts');
  const checked = await run(path, ['check', 'rules', 'carillon.yaml'], { cwd: folder });
  assert.match(checked.stdout, /SUCCESS/);
  const tested = await run(path, ['test', 'rules', 'carillon.test.yaml'], { cwd: folder });
  assert.match(tested.stdout, /SUCCESS/);
});
