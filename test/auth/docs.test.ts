/** docs/auth.md says what is counted, all of it, and its commands are those that exist. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { REFRESH_OUTCOMES, TOKEN_REFUSALS, WEBHOOK_OUTCOMES } from '../../src/broker/identity-counts.ts';
import { KEYS_HELP } from '../../src/cli/keys.ts';

const text = readFileSync(new URL('../../docs/auth.md', import.meta.url), 'utf8');

/** The values of the label in the row of that metric. */
function row(metric: string): string[] {
  const line = text.split('\n').find((each) => each.startsWith(`| \`carillon_${metric}\` |`)) ?? '';
  return (/: ([\w, ]+) \|$/.exec(line)?.[1] ?? '').split(', ');
}

test('every reason and outcome of the metrics stands in the table', () => {
  assert.deepEqual(row('token_refusals_total'), [...TOKEN_REFUSALS]);
  assert.deepEqual(row('jwks_refreshes_total'), [...REFRESH_OUTCOMES]);
  assert.deepEqual(row('auth_webhook_calls_total'), [...WEBHOOK_OUTCOMES]);
});

test('its commands have the actions and flags of the help', () => {
  const commands = [...text.matchAll(/^carillon keys (\w+)([^#\n]*)/gm)];
  assert.ok(commands.length >= 4);
  for (const [, action = '', flags = ''] of commands) {
    assert.match(KEYS_HELP, new RegExp(`carillon keys ${action}\\b`));
    for (const [flag] of flags.matchAll(/--\w+/g)) assert.ok(KEYS_HELP.includes(flag), flag);
  }
});
