import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { checkNative } from '../../src/ops/native.ts';

const ROOT = join(import.meta.dirname, '../..');
const name = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;

test('the installed binary is the pinned one', () => {
  assert.deepEqual(checkNative(process), { ok: true });
});

test('one byte more, or no file at all, is refused with path, both hashes and what to do', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-native-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const url = pathToFileURL(`${folder}/`);
  const missing = checkNative(process, url);
  assert.ok(!missing.ok);
  assert.match(missing.reason, /cannot be read .*npm ci/s);
  copyFileSync(join(ROOT, 'node_modules/uWebSockets.js/dist/bin', name), join(folder, name));
  assert.deepEqual(checkNative(process, url), { ok: true });
  appendFileSync(join(folder, name), 'x');
  const changed = checkNative(process, url);
  assert.ok(!changed.ok);
  assert.match(
    changed.reason,
    /has the SHA-256 [0-9a-f]{64}, and not [0-9a-f]{64}: it is not loaded.*npm ci/s,
  );
  assert.ok(changed.reason.startsWith(join(folder, name)));
});

test('the version stands in all places where a release wants it', () => {
  const checked = spawnSync(process.execPath, ['scripts/release-check.mjs'], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(checked.status, 0, checked.stderr);
  const other = spawnSync(process.execPath, ['scripts/release-check.mjs', 'v9.9.9'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  assert.equal(other.status, 1);
  assert.match(other.stderr, /the tag is v9\.9\.9/);
});

test('the list of what the image holds has no time in it, and the native binaries', () => {
  const made = spawnSync(process.execPath, ['scripts/sbom.mjs'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  assert.equal(made.status, 0, made.stderr);
  const bill = JSON.parse(made.stdout) as {
    readonly serialNumber?: string;
    readonly metadata: { readonly timestamp?: string };
    readonly components: readonly { readonly name: string; readonly hashes?: readonly unknown[] }[];
  };
  assert.equal(bill.serialNumber ?? bill.metadata.timestamp, undefined);
  const named = (name: string): number | undefined =>
    bill.components.find((component) => component.name === name)?.hashes?.length;
  for (const name of ['uWebSockets.js', 'jose', 'uws_linux_x64_127.node', 'uws_linux_arm64_127.node'])
    assert.equal(named(name), 1, name);
  assert.equal(named('typescript'), undefined);
});
