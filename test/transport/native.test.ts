import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { checkNative, currentRuntime, nativeBuildFor } from '../../src/transport/native.ts';

const ROOT = join(import.meta.dirname, '../..');
const RUNTIME = currentRuntime();
const name = `uws_${RUNTIME.platform}_${RUNTIME.arch}_${RUNTIME.abi}.node`;

test('the installed binary is the pinned one', () => {
  assert.deepEqual(checkNative(RUNTIME), { ok: true });
});

test('a Node without a binary, or with one for a newer glibc, is told which Node to take', () => {
  const linux = { platform: 'linux', arch: 'x64' };
  const told = (version: string, abi: string, glibc: string | undefined) => {
    const build = nativeBuildFor({ ...linux, version, abi, glibc });
    return typeof build === 'string' ? build : build.version;
  };
  assert.equal(told('v20.20.2', '115', '2.36'), '20.49');
  assert.equal(told('v22.20.0', '127', '2.28'), '20.49');
  assert.equal(told('v24.11.0', '137', '2.41'), '20.57');
  assert.match(told('v24.11.0', '137', '2.36'), /glibc 2\.38 \(Debian 13, .* has 2\.36: use Node 20 or 22/);
  assert.match(told('v26.0.0', '147', '2.41'), /Node v26\.0\.0: use Node 20, 22, 24 or 25/);
  assert.match(told('v26.0.0', '147', '2.36'), /Node v26\.0\.0: use Node 20 or 22/);
  assert.match(told('v22.20.0', '127', undefined), /glibc.*Alpine/);
});

test('npm ci warns of nothing on the oldest Node that is supported', () => {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly engines?: { readonly node?: string } }>>;
  };
  const oldest = 20;
  for (const [path, { engines }] of Object.entries(lock.packages)) {
    const majors = [...(engines?.node ?? '').matchAll(/(?:>=|\^)\s*(\d+)/g)].map(([, major]) =>
      Number(major),
    );
    // uWebSockets.js (uws-pack) and @nats-io/nuid ask for 22 and run on 20: the lock leaves their wish out.
    assert.ok(majors.length === 0 || Math.min(...majors) <= oldest, `${path}: ${engines?.node}`);
  }
});

function installedFolder(): string {
  const build = nativeBuildFor(RUNTIME);
  assert.ok(typeof build !== 'string', String(build));
  return fileURLToPath(new URL(build.folder, import.meta.resolve(build.package)));
}

test('one byte more, or no file at all, is refused with path, both hashes and what to do', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-native-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const url = pathToFileURL(`${folder}/`);
  const missing = checkNative(RUNTIME, url);
  assert.ok(!missing.ok);
  assert.match(missing.reason, /cannot be read .*npm ci/s);
  copyFileSync(join(installedFolder(), name), join(folder, name));
  assert.deepEqual(checkNative(RUNTIME, url), { ok: true });
  appendFileSync(join(folder, name), 'x');
  const changed = checkNative(RUNTIME, url);
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
  for (const name of ['uWebSockets.js', 'jose', 'uws_linux_x64_127.node', 'uws_linux_arm64_137.node'])
    assert.equal(named(name), 1, name);
  assert.equal(named('typescript'), undefined);
});
