/** To its clients a broker of several processes is one: a part of the conformance suite against three workers. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';

/** Others hold what one process promises within one turn of its loop, or what a node counts alone. */
const PARTS = ['access', 'history', 'inbox'];

test('access, history and inboxes with three workers, without NATS', { timeout: 120_000 }, async () => {
  const files = PARTS.map((part) => `test/e2e/conformance/${part}.test.ts`);
  // The runner would take the child for one of its own, and run nothing.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--test', '--test-reporter=spec', '--test-concurrency=1', ...files],
    { env: { ...env, CARILLON_WORKERS: '3' }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const said = text(child.stdout);
  const [code] = await once(child, 'exit');
  const output = await said;
  assert.equal(code, 0, output);
  const [, passed] = /^ℹ pass (\d+)$/m.exec(output) ?? [];
  assert.ok(Number(passed) > 10, output);
});
