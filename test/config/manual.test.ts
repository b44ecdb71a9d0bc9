/** config/carillon.yaml is the manual: it says what the schema does, and says all of it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { schemaPaths } from '../../src/config/environment.ts';
import { type Config, loadConfig } from '../../src/config.ts';
import { certificateFolder } from '../support/certificates.ts';

const MANUAL = fileURLToPath(new URL('../../config/carillon.yaml', import.meta.url));
const text = readFileSync(MANUAL, 'utf8');

/** Compiled patterns are functions, equal to nothing but themselves. */
function plain(config: Config): unknown {
  return JSON.parse(JSON.stringify(config));
}

function load(input: Parameters<typeof loadConfig>[0]): Config {
  const result = loadConfig(input);
  assert.ok(result.ok, JSON.stringify(result));
  return result.config;
}

test('every value of the manual is the default', () => {
  assert.deepEqual(plain(load({ env: {}, file: MANUAL })), plain(load({ env: {} })));
});

test('every line of the manual that sets a default can be left out, and none is a default by accident', () => {
  // A value that differs must show: else the comparison above could not fail.
  const changed = text.replace('perSecond: 500', 'perSecond: 501');
  assert.notDeepEqual(plain(load({ env: {}, text: changed })), plain(load({ env: {} })));
});

/** Comment marks removed from commented settings, so that they stand where they belong. */
const uncommented = text.replace(/^( *)#(?! )/gm, '$1');

/** The keys of the manual as dotted paths, list entries as 0, by indentation. */
function manualPaths(): Set<string> {
  const found = new Set<string>();
  const stack: { indent: number; key: string }[] = [];
  for (const line of uncommented.split('\n')) {
    const match = /^( *)(- )?([A-Za-z]+):(?: |$)/.exec(line);
    if (!match) continue;
    const indent = (match[1] ?? '').length;
    while ((stack.at(-1)?.indent ?? -1) >= indent + (match[2] ? 1 : 0)) stack.pop();
    if (match[2]) stack.push({ indent: indent + 1, key: '0' });
    stack.push({ indent: indent + (match[2] ? 2 : 0), key: match[3] ?? '' });
    found.add(stack.map(({ key }) => key).join('.'));
  }
  return found;
}

test('every key of the schema stands in the manual', () => {
  const listed = manualPaths();
  // Keys of list entries whose default is an empty list are in the comment above it.
  const explained = (path: readonly string[]) =>
    path.includes('0') && path.at(-1) !== '0' && new RegExp(`#.*\\b${path.at(-1)}:`).test(text);
  const missing = schemaPaths().filter(
    (path) => path.at(-1) !== '0' && !listed.has(path.join('.')) && !explained(path),
  );
  assert.deepEqual(
    missing.map((path) => path.join('.')),
    [],
  );
});

test('every commented setting is one, too', () => {
  const known = new Set(schemaPaths().map((path) => path.join('.')));
  assert.deepEqual(
    [...manualPaths()].filter((path) => !known.has(path)),
    [],
  );
});

test('the uncommented manual is a configuration', (t) => {
  const certificates = certificateFolder(t);
  certificates.write('tls', certificates.ca.issue('broker.test'));
  certificates.write('clients-ca', certificates.ca);
  const result = loadConfig({
    env: {},
    text: uncommented
      .replace(/^ *(?:tokenFile|secretFile|jwksFile|dir):.*$/gm, '')
      .replaceAll('/etc/carillon/tls', certificates.folder),
  });
  assert.ok(result.ok, JSON.stringify(result));
  assert.deepEqual(result.config.nats?.servers, ['nats://127.0.0.1:4222']);
  assert.equal(result.config.node.serverId, 'pod-1');
});
