/** docs/operations/capacity.md: its values for the chart are settings that a broker starts with. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../src/config.ts';

const text = readFileSync(new URL('../../docs/operations/capacity.md', import.meta.url), 'utf8');
const values = readFileSync(new URL('../../helm/carillon/values.yaml', import.meta.url), 'utf8');

test('the values in the worked examples are those of the chart and of the settings', () => {
  const blocks = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(
    ([, block = '']) => parse(block) as object,
  );
  assert.ok(blocks.length >= 2);
  const known = parse(values) as Readonly<Record<string, unknown>>;
  for (const block of blocks) {
    assert.deepEqual(
      Object.keys(block).filter((key) => !(key in known)),
      [],
    );
    const { config } = block as { readonly config: object };
    const env = { CARILLON_JWT_SECRET: 'a secret of the tests that is long enough for any use' };
    const loaded = loadConfig({ env, text: stringify(config), openFiles: 65_536 });
    assert.ok(loaded.ok, JSON.stringify(loaded));
  }
});
