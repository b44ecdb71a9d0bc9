/** The real broker as a real process, on free loopback ports. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type JWTPayload, SignJWT } from 'jose';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const SECRET = 'a key that only these tests use, 32 bytes or more';
const START_MS = 20_000;
const STOP_MS = 30_000;

export interface BrokerOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Written to a file as the broker's YAML config: JSON is YAML. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** The file of another build. */
  readonly program?: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface RunningBroker {
  /** ws://…/connect */
  readonly url: string;
  readonly httpUrl: string;
  readonly adminUrl: string;
  readonly pid: number;
  /** Every line of stdout and stderr so far. */
  readonly logs: readonly string[];
  readonly exited: Promise<Exit>;
  /** An HS256 token: user `sub`, every action in every room, an hour; `claims` add to that or replace it. */
  token(claims?: JWTPayload): Promise<string>;
  /** SIGTERM; resolves when the process has ended. */
  stop(patienceMs?: number): Promise<Exit>;
  /** SIGKILL; resolves when the process has ended. */
  kill(): Promise<Exit>;
}

/** Runs `body` against a broker and stops it; a failure carries what the broker logged and how it ended. */
export async function withBroker(
  options: BrokerOptions,
  body: (broker: RunningBroker) => Promise<void>,
): Promise<void> {
  const broker = await startBroker(options);
  let died: Exit | undefined;
  void broker.exited.then((exit) => {
    died = exit;
  });
  try {
    await body(broker);
  } catch (error) {
    const state = died === undefined ? 'runs' : `died (${died.code ?? died.signal})`;
    throw new Error(`the broker ${state}, its last lines:\n${broker.logs.slice(-20).join('\n')}`, {
      cause: error,
    });
  } finally {
    await broker.stop();
  }
}

export async function startBroker({ env = {}, config, program }: BrokerOptions = {}): Promise<RunningBroker> {
  const file = config === undefined ? undefined : writeConfig(config);
  const child = spawn(process.execPath, program === undefined ? present() : [program], {
    cwd: ROOT,
    env: {
      ...process.env,
      CARILLON_LISTEN: '127.0.0.1:0',
      CARILLON_ADMIN_LISTEN: '127.0.0.1:0',
      CARILLON_JWT_SECRET: SECRET,
      ...(file === undefined ? {} : { CARILLON_CONFIG: file.path }),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // A failing test run must not leave brokers behind.
  const orphan = () => child.kill('SIGKILL');
  process.once('exit', orphan);
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      process.removeListener('exit', orphan);
      file?.remove();
      resolve({ code, signal });
    });
  });
  const logs: string[] = [];
  const { listen, admin } = await listening(child, exited, logs);
  return {
    url: `ws://${listen}/connect`,
    httpUrl: `http://${listen}`,
    adminUrl: `http://${admin}`,
    pid: child.pid as number,
    logs,
    exited,
    token,
    stop: (patienceMs) => end(child, exited, 'SIGTERM', patienceMs),
    kill: () => end(child, exited, 'SIGKILL'),
  };
}

/** The build where there is one, which is what users run; else the sources. */
function present(): string[] {
  return existsSync(join(ROOT, 'dist/main.js')) ? ['dist/main.js'] : ['--import', 'tsx', 'src/main.ts'];
}

function writeConfig(config: Readonly<Record<string, unknown>>): { path: string; remove: () => void } {
  const directory = mkdtempSync(join(tmpdir(), 'carillon-test-'));
  const path = join(directory, 'carillon.yaml');
  writeFileSync(path, JSON.stringify(config));
  return { path, remove: () => rmSync(directory, { recursive: true, force: true }) };
}

interface Addresses {
  readonly listen: string;
  readonly admin: string;
}

function listening(child: ChildProcess, exited: Promise<Exit>, logs: string[]): Promise<Addresses> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('the child has no pipes');
  createInterface({ input: stderr }).on('line', (line) => logs.push(line));
  return new Promise((resolve, reject) => {
    const fail = (why: string) => reject(new Error(`the broker ${why}\n${logs.slice(-30).join('\n')}`));
    const late = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`was not listening after ${START_MS} ms`);
    }, START_MS);
    createInterface({ input: stdout }).on('line', (line) => {
      logs.push(line);
      const found = addresses(line);
      if (found === undefined) return;
      clearTimeout(late);
      resolve(found);
    });
    exited.then(({ code, signal }) => {
      clearTimeout(late);
      fail(`ended before it listened (${code ?? signal})`);
    });
  });
}

function addresses(line: string): Addresses | undefined {
  if (!line.startsWith('{') || !line.includes('listening')) return undefined;
  const record = JSON.parse(line);
  return record.msg === 'listening' ? { listen: record.listen, admin: record.admin } : undefined;
}

export function token(claims: JWTPayload = {}): Promise<string> {
  const everything = [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }];
  const iat = Math.floor(Date.now() / 1000);
  return new SignJWT({ sub: 'user', iat, exp: iat + 3600, rooms: everything, ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .sign(new TextEncoder().encode(SECRET));
}

async function end(
  child: ChildProcess,
  exited: Promise<Exit>,
  signal: 'SIGTERM' | 'SIGKILL',
  patienceMs = STOP_MS,
): Promise<Exit> {
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), patienceMs);
  const exit = await exited;
  clearTimeout(late);
  return exit;
}
