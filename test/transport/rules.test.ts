/** The rules of docs/transport.md that are kept by not doing something, and those kept by the config. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadConfig } from '../../src/config.ts';

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url));

function sources(folder = ''): { path: string; text: string }[] {
  return readdirSync(SOURCES + folder, { recursive: true })
    .map((name) => folder + String(name))
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path, text: readFileSync(SOURCES + path, 'utf8') }));
}

/** The paths of those that have it. */
function having(found: readonly { path: string; text: string }[], what: RegExp): string[] {
  return found.filter(({ text }) => what.test(text)).map(({ path }) => path);
}

test('the checks of this file find what they look for', () => {
  const sample = [{ path: 'x', text: "import w from 'node:worker_threads';\n  subscription: (ws) => {}" }];
  assert.deepEqual(having(sample, WORKERS), ['x']);
  assert.deepEqual(having(sample, SUBSCRIPTION), ['x']);
});

const WORKERS =
  /\bfrom ['"](?:node:)?(?:worker_threads|cluster)['"]|\b(?:require|import)\(['"](?:node:)?(?:worker_threads|cluster)['"]/;
const SUBSCRIPTION = /\bsubscription\b\s*[:(]/;

test('nobody but src/transport knows uWebSockets.js', () => {
  const users = having(sources(), /from 'uWebSockets\.js'/);
  assert.notEqual(users.length, 0);
  for (const path of users) assert.match(path, /^transport\//);
});

test('rule 1: what is deferred runs in setImmediate, not in a microtask', () => {
  const { text } = sources().find(({ path }) => path === 'app/hub.ts') as { text: string };
  const defers = text.match(/\bdefer\b[^,\n]*/g);
  assert.deepEqual(defers, ['defer: setImmediate', 'defer: setImmediate']);
});

test('rule 6: there is no subscription callback', () => {
  assert.deepEqual(having(sources('transport/'), SUBSCRIPTION), []);
});

test('rule 7: there are no worker threads', () => {
  assert.deepEqual(having(sources(), WORKERS), []);
});

test('rule 8: the config refuses what uWebSockets.js aborts on', () => {
  const withIdle = (idleSeconds: number) =>
    loadConfig({ env: { CARILLON_HEARTBEAT__IDLESECONDS: String(idleSeconds) }, openFiles: 20_000 });
  for (const refused of [-1, 0, 1, 7, 961, 100_000]) {
    const result = withIdle(refused);
    assert.equal(result.ok, false, String(refused));
    assert.ok(!result.ok && result.problems.some(({ key }) => /idleSeconds/.test(key)), String(refused));
  }
  for (const taken of [8, 32, 60]) assert.equal(withIdle(taken).ok, true, String(taken));
});

test('rule 8: no lifetime is set, and what is set comes from the config', () => {
  const { text } = sources('transport/').find(({ path }) => path === 'transport/server.ts') as {
    text: string;
  };
  assert.match(text, /\bmaxLifetime: 0,/);
  assert.match(text, /\bidleTimeout: idleSeconds,/);
});

test('rule 9: the config leaves descriptors to other things than connections', () => {
  const limit = 5000;
  const result = loadConfig({ env: {}, openFiles: limit });
  const connections = result.ok ? result.config.limits.connections : Number.NaN;
  assert.ok(connections <= limit - 1000, `${connections} connections`);
  const asked = loadConfig({ env: { CARILLON_LIMITS__CONNECTIONS: '4500' }, openFiles: limit });
  assert.equal(asked.ok, false);
});
