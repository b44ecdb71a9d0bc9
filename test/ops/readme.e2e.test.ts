/** What the README promises to a newcomer is carried out here. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withBroker } from '../support/broker.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');

test('the files that it links to exist', () => {
  const links = [...README.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path ?? '');
  assert.ok(links.length >= 4);
  assert.deepEqual(
    links.filter((path) => !existsSync(join(ROOT, path))),
    [],
  );
});

test('the npm scripts that it names exist', () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: object };
  assert.match(README, /npm ci && npm start/);
  assert.match(README, /npm ci && npm test/);
  assert.ok('start' in scripts && 'test' in scripts);
});

test('the sample joins, publishes and hears itself', async () => {
  const sample = /```js\n([\s\S]+?)```/.exec(README)?.[1] ?? '';
  await withBroker({}, async (broker) => {
    const program = sample.replace('ws://127.0.0.1:8080/connect', broker.url);
    assert.notEqual(program, sample);
    // In the root of the project its own name can be imported; the flag gives Node 20 the WebSocket of Node 22.
    const child = spawn(
      process.execPath,
      ['--experimental-websocket', '--input-type=module', '-e', program],
      {
        cwd: ROOT,
        env: { ...process.env, TOKEN: await broker.token() },
        stdio: ['ignore', 'pipe', 'inherit'],
        timeout: 20_000,
      },
    );
    const output = await text(child.stdout);
    const [, seq] = /^stored as (\d+)$/m.exec(output) ?? [];
    assert.ok(seq, output);
    assert.match(output, new RegExp(`^${seq} \\S+: hello$`, 'm'));
    assert.doesNotMatch(output, /missed/);
  });
});

test('its /metrics describe every figure of the embedded bus', async () => {
  await withBroker({}, async (broker) => {
    const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
    const helps = [...metrics.matchAll(/^# HELP carillon_bus_\w+ (.*)$/gm)].map(([, help]) => help ?? '');
    assert.ok(helps.length >= 7, `${helps.length} figures`);
    assert.deepEqual(
      helps.filter((help) => /^Figure \w+ of the bus/.test(help)),
      [],
    );
  });
});
