/** docs/operations/metrics.md is what the broker exports. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { exposition, metricsPage } from '../../scripts/metrics.ts';
import { OPEN_LABELS } from '../../src/ops/described.ts';
import { exported } from './exported.ts';

test('the table of metrics is current: npm run metrics writes it', async () => {
  const page = readFileSync(new URL('../../docs/operations/metrics.md', import.meta.url), 'utf8');
  assert.equal(page, await metricsPage(page));
});

test('every metric of the source is described, and labels that are not ours are few and named', async () => {
  const known = await exported();
  const text = await exposition();
  const families = [...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name);
  assert.ok(families.length > 100, String(families.length));
  // One without samples would have no labels in the table.
  for (const family of families) assert.ok(known.has(family) || known.has(`${family}_count`), family);
  const labels = new Set([...known.values()].flatMap((sample) => [...sample.keys()]));
  for (const label of OPEN_LABELS) assert.ok(labels.has(label), label);
  for (const wrong of ['room', 'user', 'tenant', 'session', 'address']) assert.ok(!labels.has(wrong), wrong);
});
