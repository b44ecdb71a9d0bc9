/** docs/sdk.md: the example is run, and every option and event of the types has its place. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withBroker } from '../support/broker.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const GUIDE = readFileSync(join(ROOT, 'docs/sdk.md'), 'utf8');

function source(name: string): string {
  return readFileSync(join(ROOT, 'src/client', name), 'utf8');
}

/** The property names of an interface. */
function members(file: string, name: string): string[] {
  const body = new RegExp(`export interface ${name}\\b[^{]*\\{\\n([\\s\\S]*?)\\n\\}`).exec(source(file))?.[1];
  assert.ok(body !== undefined, `${name} in ${file}`);
  const found = [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, property]) => property ?? '');
  assert.ok(found.length > 2, name);
  return found;
}

test('every option, event and code of the SDK stands in the guide', () => {
  const named = [
    ...['ConnectOptions', 'JoinOptions', 'PublishOptions', 'PublishQueueOptions'],
    ...['ReconnectOptions', 'QualityOptions'],
  ].flatMap((name) => members('options.ts', name));
  const codes = [...source('errors.ts').matchAll(/^ {2}\| '(\w+)'/gm)].map(([, code]) => code ?? '');
  assert.ok(codes.length >= 8);
  const all = [
    ...named,
    ...codes,
    ...members('events.ts', 'ClientEvents'),
    ...members('room.ts', 'RoomEvents'),
  ];
  assert.deepEqual(
    all.filter((name) => !GUIDE.includes(`\`${name}\``)),
    [],
  );
});

test('the defaults that the guide names are those of the code', () => {
  const values = [...source('options.ts').matchAll(/^ {2}(\w+): ([\d_]+),$/gm)];
  assert.ok(values.length >= 10);
  for (const [, name, digits] of values) {
    const value = Number(digits?.replaceAll('_', '')).toLocaleString('en-US');
    assert.ok(GUIDE.includes(value), `${name}: ${value}`);
  }
});

test('the example: unread, live, fetched, seen', async () => {
  const sample = /```js\n([\s\S]+?)```/.exec(GUIDE)?.[1] ?? '';
  await withBroker({}, async (broker) => {
    const program = sample.replace('ws://127.0.0.1:8080/connect', broker.url);
    assert.notEqual(program, sample);
    const token = await broker.token({ sub: 'alice' });
    // In the root of the project its own name can be imported; the flag gives Node 20 the WebSocket of Node 22.
    const run = (): Promise<string> => {
      const child = spawn(
        process.execPath,
        ['--experimental-websocket', '--input-type=module', '-e', program],
        {
          cwd: ROOT,
          env: { ...process.env, TOKEN: token },
          stdio: ['ignore', 'pipe', 'inherit'],
          timeout: 20_000,
        },
      );
      return text(child.stdout);
    };
    assert.equal(await run(), '0 unread\nlive from 0\nhello\n');
    // The loop was left by a break: whether its last event was done with is not known, so it comes again.
    assert.equal(await run(), '1 unread\nlive from 1\nhello\n');
  });
});
