/**
 * The last stage of the Dockerfile, carried out without Docker: the files that it copies, its environment and its
 * command, as a user who may write nothing.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LINES = readFileSync(join(ROOT, 'Dockerfile'), 'utf8').split('\n');
const LAST_STAGE = LINES.slice(LINES.findLastIndex((line) => line.startsWith('FROM ')));

/** What follows a keyword of the last stage, once per line. */
function instructions(keyword: string): string[] {
  return LAST_STAGE.filter((line) => line.startsWith(`${keyword} `)).map((line) =>
    line.slice(keyword.length + 1),
  );
}

/** What `npm ci --omit=dev` installs. */
function runtimePackages(): string[] {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
  };
  return Object.keys(lock.packages).filter(
    (path) => path !== '' && lock.packages[path]?.dev !== true && existsSync(join(ROOT, path)),
  );
}

function copyModules(to: string): void {
  for (const path of runtimePackages()) cpSync(join(ROOT, path), join(to, path), { recursive: true });
}

function prune(modules: string): ReturnType<typeof spawnSync> {
  return spawnSync(process.execPath, [join(ROOT, 'scripts/prune-native.mjs'), modules], { encoding: 'utf8' });
}

/** The app folder as the last stage leaves it. */
function build(t: TestContext): string {
  const app = mkdtempSync(join(tmpdir(), 'carillon-image-'));
  t.after(() => rmSync(app, { recursive: true, force: true }));
  for (const line of instructions('COPY')) {
    const [to = '', ...from] = line
      .replace(/^--from=\w+ /, '')
      .split(' ')
      .reverse();
    for (const path of from.map((one) => one.replace(/^\/app\//, ''))) {
      if (path === 'node_modules') copyModules(app);
      else
        cpSync(join(ROOT, path), to.endsWith('/') ? join(app, to, basename(path)) : join(app, to), {
          recursive: true,
        });
    }
  }
  assert.equal(prune(join(app, 'node_modules')).status, 0);
  chmodSync(app, 0o755);
  return app;
}

/** The user of the image, where this test is root and that user can run this node. */
function user(): { readonly uid?: number; readonly gid?: number } {
  const [uid = 0, gid = 0] = (instructions('USER')[0] ?? '').split(':').map(Number);
  const possible =
    process.getuid?.() === 0 && spawnSync(process.execPath, ['-v'], { uid, gid, cwd: '/' }).status === 0;
  return possible ? { uid, gid } : {};
}

test('the image runs as a user with a number, and leaves probing to HTTP', () => {
  assert.match(instructions('USER')[0] ?? '', /^[1-9]\d*:[1-9]\d*$/);
  assert.ok(!LINES.some((line) => line.startsWith('HEALTHCHECK')));
  assert.deepEqual(JSON.parse(instructions('CMD')[0] ?? ''), ['node', 'dist/main.js']);
});

test('pruning keeps the two binaries that Linux can load, and refuses a package that has none', (t) => {
  const modules = mkdtempSync(join(tmpdir(), 'carillon-prune-'));
  t.after(() => rmSync(modules, { recursive: true, force: true }));
  for (const name of ['uWebSockets.js', 'uWebSockets.js-node24'])
    cpSync(join(ROOT, 'node_modules', name), join(modules, name), { recursive: true });
  assert.equal(prune(modules).status, 0);
  const abi = process.versions.modules;
  const kept = (readdirSync(modules, { recursive: true }) as string[]).filter((path) =>
    path.endsWith('.node'),
  );
  assert.deepEqual(kept.map((path) => basename(path)).sort(), [
    `uws_linux_arm64_${abi}.node`,
    `uws_linux_x64_${abi}.node`,
  ]);
  for (const path of kept.filter((one) => one.includes('x64'))) rmSync(join(modules, path));
  const refused = prune(modules);
  assert.equal(refused.status, 1);
  assert.match(String(refused.stderr), /no build for Node .*uws_linux_x64_/);
  for (const path of kept.filter((one) => one.includes('arm64')))
    assert.ok(existsSync(join(modules, path)), 'nothing is removed then');
});

test('what the image holds starts, is ready, listens and ends with 0 at SIGTERM', async (t) => {
  assert.ok(existsSync(join(ROOT, 'dist/main.js')), 'run `npm run build` first');
  const app = build(t);
  const environment = instructions('ENV').flatMap((line) => line.split(' ').map((pair) => pair.split('=')));
  const [, ...args] = JSON.parse(instructions('CMD')[0] ?? '') as string[];
  const env = Object.fromEntries(environment);
  assert.equal(env.CARILLON_LISTEN, '0.0.0.0:8080');
  const child = spawn(process.execPath, args, {
    cwd: app,
    env: {
      ...env,
      CARILLON_LISTEN: '127.0.0.1:0',
      CARILLON_ADMIN_LISTEN: '127.0.0.1:0',
      CARILLON_JWT_SECRET: 'a key that only this test uses, 32 bytes or more',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
    ...user(),
  });
  t.after(() => child.kill('SIGKILL'));
  const exit = once(child, 'exit');
  const addresses = await Promise.race([listening(child.stdout), exit]);
  assert.ok('listen' in addresses, `ended before it listened: ${addresses}`);
  assert.equal((await fetch(`http://${addresses.admin}/readyz`)).status, 200);
  assert.match(await (await fetch(`http://${addresses.admin}/metrics`)).text(), /^carillon_connections 0$/m);
  assert.equal((await fetch(`http://${addresses.listen}/connect`)).status, 426);
  child.kill('SIGTERM');
  assert.deepEqual(await exit, [0, null]);
});

interface Addresses {
  readonly listen: string;
  readonly admin: string;
}

async function listening(stdout: NodeJS.ReadableStream): Promise<Addresses> {
  for await (const line of createInterface({ input: stdout })) {
    const record = JSON.parse(line) as Addresses & { readonly msg: string };
    if (record.msg === 'listening') return record;
  }
  throw new Error('stdout ended');
}
