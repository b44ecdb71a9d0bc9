/**
 * Runs test/**\/*.test.ts with node:test. `node test/run.mjs ops join` runs the files with ops or join in their path;
 * options (--test-name-pattern=…) go to node. Files that start processes or servers run after the others, two at a
 * time: they wait most of their time (0.4 of a core each). Those that flood, measure memory, have a browser or download
 * packages run one at a time at the end, so that they do not take the CPU from one another.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const SERVERS = /\.e2e\.test\.ts$|^test\/e2e\/|nats/;
const ALONE = /flood|memory|storm|conformance\/slow|^test\/(page|proxies)\//;

/** Per test and per file: what takes longer hangs. */
const FILE_MS = 180_000;
/** For everything: CI gives 30 minutes. */
const ALL_MS = 25 * 60_000;

const filters = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));
const options = process.argv.slice(2).filter((arg) => arg.startsWith('-'));

const files = readdirSync(`${ROOT}/test`, { recursive: true })
  .map((name) => `test/${String(name).replaceAll('\\', '/')}`)
  .filter((path) => path.endsWith('.test.ts'))
  .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter)))
  .sort();

if (files.length === 0) {
  console.error(`No test file has ${filters.join(' or ')} in its path.`);
  process.exit(2);
}

const startedAt = performance.now();
// Built once, then cached. What goes wrong here the tests say again, and better.
if (files.some((path) => path.startsWith('test/chart/')))
  spawnSync(process.execPath, ['--import', 'tsx', 'test/support/chart-tools.ts'], {
    cwd: ROOT,
    timeout: ALL_MS / 2,
  });
const alone = files.filter((path) => ALONE.test(path));
const servers = files.filter((path) => SERVERS.test(path) && !alone.includes(path));
const together = files.filter((path) => !servers.includes(path) && !alone.includes(path));
const cores = availableParallelism();
const runs = [
  await run(together, Math.min(4, cores)),
  await run(servers, Math.min(2, cores)),
  await run(alone, 1),
];
report(runs);

/** One invocation of node's runner. Its output is passed on; its closing lines are read on the way. */
async function run(paths, concurrency) {
  if (paths.length === 0) return { ok: true, counts: {} };
  const left = ALL_MS - (performance.now() - startedAt);
  const child = spawn(
    process.execPath,
    [
      '--import',
      'tsx',
      '--test',
      '--test-reporter=spec',
      `--test-concurrency=${concurrency}`,
      `--test-timeout=${FILE_MS}`,
    ].concat(options, paths),
    {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
      env: process.stdout.isTTY ? { ...process.env, FORCE_COLOR: '1' } : process.env,
      timeout: Math.max(1, Math.round(left)),
    },
  );
  const counts = {};
  let line = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    process.stdout.write(chunk);
    const lines = (line + chunk).split('\n');
    line = lines.pop() ?? '';
    for (const full of lines) readCount(full, counts);
  });
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (...end) => resolve(end));
  });
  if (signal !== null)
    console.error(`The test runner was ended by ${signal} after ${ALL_MS / 60_000} minutes.`);
  return { ok: code === 0, counts };
}

/** `ℹ tests 12`, `ℹ pass 12`, … of the spec reporter; the last of each holds. None when it died before them. */
function readCount(line, counts) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is taken away
  const plain = line.replace(/\u001b\[\d+m/g, '');
  const [, name, count] = /^ℹ (tests|suites|pass|fail|cancelled|skipped|todo) (\d+)$/.exec(plain) ?? [];
  if (name !== undefined) counts[name] = Number(count);
}

function report(all) {
  const total = (name) => all.reduce((sum, { counts }) => sum + (counts[name] ?? 0), 0);
  const broken = all.filter(({ ok, counts }) => !ok && !(counts.fail > 0 || counts.cancelled > 0)).length;
  console.log('');
  for (const name of ['tests', 'suites', 'pass', 'fail', 'cancelled', 'skipped', 'todo'])
    console.log(`ℹ ${name} ${total(name)}`);
  console.log(`ℹ duration_ms ${Math.round(performance.now() - startedAt)}`);
  console.log(`\n${total('pass')} passed, ${total('fail') + total('cancelled') + broken} failed`);
  process.exitCode = all.every(({ ok }) => ok) ? 0 : 1;
}
