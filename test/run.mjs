/**
 * Runs test/**\/*.test.ts with node:test. `node test/run.mjs ops join` runs the files with ops or join in their path;
 * options (--test-name-pattern=…) go to node. Each file is a process. Files that start servers wait most of their time,
 * so more of them run at once; the longest begin first. Those that flood or measure memory run alone, at the end.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** What a file takes of the cores, by what its path says; the first that fits. */
const SHARES = [
  [/flood|memory|storm|conformance\/slow/, Number.POSITIVE_INFINITY],
  [/\.e2e\.test\.ts$|^test\/(e2e|page|proxies)\/|nats/, 0.5],
  [/./, 1],
];
/** Half a minute and more each: begun last, they would end alone. */
const LONG =
  /^test\/(e2e\/cluster\/(presence|lifecycle|cluster|drain)|bus\/nats\/(cluster\/faults|rollback|chaos)|proxies\/|e2e\/leaks)/;
/** A file that takes longer hangs. */
const FILE_MS = 180_000;
/** For everything: CI gives 30 minutes. */
const ALL_MS = 25 * 60_000;

const filters = process.argv.slice(2).filter((arg) => !arg.startsWith('-'));
const options = process.argv.slice(2).filter((arg) => arg.startsWith('-'));

const files = readdirSync(`${ROOT}/test`, { recursive: true })
  .map((name) => `test/${String(name).replaceAll('\\', '/')}`)
  .filter((path) => path.endsWith('.test.ts'))
  .filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter)))
  .sort((one, other) => Number(LONG.test(other)) - Number(LONG.test(one)) || (one < other ? -1 : 1));

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

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
const cores = availableParallelism();
const shareOf = (path) => Math.min(cores, SHARES.find(([pattern]) => pattern.test(path))[1]);
const waiting = files.filter((path) => shareOf(path) < cores || cores === 1);
const alone = files.filter((path) => !waiting.includes(path));
const results = [...(await runAll(waiting)), ...(await runAll(alone))];
report(results);

/** As many at once as the cores take. */
function runAll(paths) {
  const left = [...paths];
  const done = [];
  let used = 0;
  return new Promise((resolve) => {
    const next = () => {
      if (left.length === 0 && used === 0) resolve(done);
      for (let at = left.findIndex(fits); at >= 0; at = left.findIndex(fits)) {
        const [path] = left.splice(at, 1);
        used += shareOf(path);
        run(path).then((result) => {
          used -= shareOf(path);
          done.push(result);
          process.stdout.write(`▶ ${path} (${(result.ms / 1000).toFixed(1)} s)\n${result.output}\n`);
          next();
        });
      }
    };
    const fits = (path) => used + shareOf(path) <= cores + 1e-9;
    next();
  });
}

/** One file. Its process has a group of its own: what it has started ends with it. */
async function run(path) {
  const from = performance.now();
  const left = Math.max(1, Math.min(FILE_MS, ALL_MS - (from - startedAt)));
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', '--test-reporter=spec', `--test-timeout=${FILE_MS}`, ...options, path],
    {
      cwd: ROOT,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: process.stdout.isTTY ? { ...process.env, FORCE_COLOR: '1' } : process.env,
    },
  );
  const end = (signal) => {
    try {
      process.kill(-child.pid, signal);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  };
  let output = '';
  const late = setTimeout(() => {
    output += `\n${path} was ended after ${Math.round(left / 1000)} s.\n`;
    end('SIGKILL');
  }, left);
  const interrupted = () => end('SIGKILL');
  process.once('exit', interrupted);
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
    });
  const code = await new Promise((resolve) => {
    child.once('error', (error) => {
      output += String(error);
      resolve(-1);
    });
    child.once('exit', (exit) => {
      // Whatever it has left behind would hold its output open.
      end('SIGKILL');
      child.once('close', () => resolve(exit));
    });
  });
  clearTimeout(late);
  process.removeListener('exit', interrupted);
  return { path, ms: performance.now() - from, output, ok: code === 0, counts: countsOf(output) };
}

/** `ℹ tests 12`, `ℹ pass 12`, … of the spec reporter. None when the process died before them. */
function countsOf(output) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are what is taken away
  const plain = output.replace(/\u001b\[\d+m/g, '');
  const lines = plain.matchAll(/^ℹ (tests|pass|fail|cancelled|skipped|todo) (\d+)$/gm);
  return Object.fromEntries([...lines].map(([, name, count]) => [name, Number(count)]));
}

function report(all) {
  const total = (name) => all.reduce((sum, { counts }) => sum + (counts[name] ?? 0), 0);
  const failed = all.filter(({ ok }) => !ok);
  // What went wrong is said once more where it is looked for: at the end.
  for (const { path, output } of failed)
    console.log(`\n✖ ${path}\n${output.slice(output.indexOf('✖ failing tests:'))}`);
  const broken = failed.filter(({ counts }) => !(counts.fail > 0 || counts.cancelled > 0)).length;
  console.log('');
  for (const name of ['tests', 'pass', 'fail', 'cancelled', 'skipped', 'todo'])
    console.log(`ℹ ${name} ${total(name)}`);
  console.log(`ℹ duration_ms ${Math.round(performance.now() - startedAt)}`);
  console.log(`\n${total('pass')} passed, ${total('fail') + total('cancelled') + broken} failed`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
