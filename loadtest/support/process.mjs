/** Server processes under test: start, wait for their address, read what they cost, stop. */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** USER_HZ is 100 on every Linux that Node runs on; /proc counts CPU time in it. */
const TICKS_PER_SECOND = 100;
const START_MS = 15_000;
const STOP_MS = 10_000;
/** 256 bits, made for the run; nothing outside it knows the key. */
export const SECRET = `loadtest-${Buffer.from(crypto.getRandomValues(new Uint8Array(24))).toString('hex')}`;

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/**
 * Runs `node <args>` and resolves with its addresses once it has logged a JSON line with `msg: "listening"`.
 * `core` pins it to one CPU where taskset exists.
 */
export async function startServer(name, args, { env = {}, core } = {}) {
  const pin = core === undefined ? [] : pinning(core);
  const [command, ...rest] = [...pin, process.execPath, ...args];
  const child = spawn(command, rest, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const tail = [];
  const exited = new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
  });
  const keep = (line) => {
    tail.push(line);
    if (tail.length > 40) tail.shift();
  };
  createInterface({ input: child.stderr }).on('line', keep);
  const lines = createInterface({ input: child.stdout });
  const listening = new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${name}: not listening after ${START_MS} ms`)), START_MS);
    lines.on('line', (line) => {
      keep(line);
      const address = listeningLine(line);
      if (address === undefined) return;
      clearTimeout(late);
      resolve(address);
    });
    exited.then(({ code, signal }) => {
      clearTimeout(late);
      reject(new Error(`${name}: ended before listening (${code ?? signal})\n${tail.join('\n')}`));
    });
  });
  const { listen, admin } = await listening;
  return {
    name,
    pid: child.pid,
    listen: parseAddress(listen),
    admin: admin === undefined ? undefined : parseAddress(admin),
    tail,
    exited,
    stop: () => stop(child, exited),
  };
}

/** The broker with rate limits off, on free loopback ports. `main` names another build to measure. */
export function startBroker({ main = 'dist/main.js', nodeArgs = [], env = {}, core } = {}) {
  if (!existsSync(new URL(`../../${main}`, import.meta.url)) && !existsSync(main)) {
    throw new Error(`${main} does not exist: run "npm run build" first`);
  }
  return startServer('carillon', [...nodeArgs, main], {
    core,
    env: {
      CARILLON_LISTEN: '127.0.0.1:0',
      CARILLON_ADMIN_LISTEN: '127.0.0.1:0',
      CARILLON_JWT_SECRET: SECRET,
      CARILLON_LIMITS: 'off',
      CARILLON_LOG_LEVEL: 'info',
      ...env,
    },
  });
}

/**
 * Seconds of CPU, user and system, that the process has used since its start: the nanoseconds of all its threads
 * where the kernel counts them, since the ticks of /proc/<pid>/stat are 10 ms, 2 % of a short window.
 */
export function cpuSeconds(pid) {
  if (!existsSync(`/proc/${pid}/schedstat`)) return cpuTicks(pid) / TICKS_PER_SECOND;
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  }
  return nanoseconds / 1e9;
}

function cpuTicks(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The second field is the command in parentheses and may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** Bytes of resident memory. */
export function residentBytes(pid) {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (match === null) throw new Error(`no VmRSS for ${pid}`);
  return Number(match[1]) * 1024;
}

let taskset;
/** The words that put a command on one CPU; none where there is no second CPU or no taskset. */
export function pinning(core) {
  taskset ??= availableParallelism() > 1 && existsSync('/usr/bin/taskset') ? '/usr/bin/taskset' : '';
  return taskset === '' ? [] : [taskset, '-c', String(core)];
}

/** Puts this process, and those that it forks from now on, on one CPU, so that the server has the other. */
export function pinSelf(core) {
  const [program] = pinning(core);
  if (program !== undefined) execFileSync(program, ['-a', '-c', '-p', String(core), String(process.pid)]);
}

/**
 * Puts the main thread of a server before everything else on its CPU, where that is allowed. false: it is not; then
 * times within the server hold what other programs of the machine took.
 */
export function putFirst(pid) {
  try {
    setPriority(pid, constants.priority.PRIORITY_HIGHEST);
    return true;
  } catch (error) {
    if (error.code === 'ERR_SYSTEM_ERROR') return false;
    throw error;
  }
}

/** Seconds that the main thread was ready to run and waited for a CPU; NaN where the kernel does not say. */
export function waitedSeconds(pid) {
  const file = `/proc/${pid}/task/${pid}/schedstat`;
  return existsSync(file) ? Number(readFileSync(file, 'utf8').split(' ')[1]) / 1e9 : Number.NaN;
}

async function stop(child, exited) {
  if (child.exitCode !== null || child.signalCode !== null) return exited;
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  const result = await exited;
  clearTimeout(late);
  return result;
}

function listeningLine(line) {
  if (!line.includes('listening')) return undefined;
  try {
    const record = JSON.parse(line);
    return record.msg === 'listening' && typeof record.listen === 'string' ? record : undefined;
  } catch (error) {
    // Other programs on the same stdout may write plain text that happens to hold the word.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function parseAddress(text) {
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at), port: Number(text.slice(at + 1)), text };
}
