/**
 * Gives the tests a real nats-server: from PATH, from the cache, by `go install`, from the Debian package, from
 * the official download, in that order. What was made once stays in the cache.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, copyFile, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { arch, homedir, platform, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Wanted {
  /** What is made when nothing that fits is found. */
  readonly version: string;
  /** The versions that fit: from this one (inclusive) … */
  readonly atLeast: string;
  /** … up to this one (exclusive). */
  readonly below: string;
}

/** The server of production: one of the two supported lines. */
export const CURRENT: Wanted = { version: '2.15.2', atLeast: '2.14.0', below: '3.0.0' };
/** A server without batch direct get, which came with 2.11: the core-only path. */
export const WITHOUT_BATCH: Wanted = { version: '2.10.27', atLeast: '2.9.0', below: '2.11.0' };

const RELEASES = 'https://github.com/nats-io/nats-server/releases/download';
const STALE_LOCK_MS = 10 * 60_000;

export interface Provision {
  readonly path: string;
  readonly version: string;
  readonly source: 'path' | 'cache' | 'go' | 'debian' | 'download';
}

type Attempt = (wanted: Wanted, into: string) => Promise<string>;

const provided = new Map<Wanted, Promise<Provision>>();

/** Throws with every attempt and why it failed. */
export function natsServer(wanted: Wanted = CURRENT): Promise<Provision> {
  let provision = provided.get(wanted);
  if (provision === undefined) {
    provision = provide(wanted);
    provided.set(wanted, provision);
  }
  return provision;
}

async function provide(wanted: Wanted): Promise<Provision> {
  return (await onPath(wanted)) ?? (await inCache(wanted)) ?? (await underLock(wanted));
}

async function onPath(wanted: Wanted): Promise<Provision | undefined> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).concat('/usr/sbin', '/usr/local/sbin');
  for (const folder of folders) {
    const path = join(folder, 'nats-server');
    const version = await versionOf(path);
    if (version !== undefined && fits(version, wanted)) return { path, version, source: 'path' };
  }
  return undefined;
}

async function inCache(wanted: Wanted): Promise<Provision | undefined> {
  for (const root of cacheRoots()) {
    const names = await readdir(root).catch(() => []);
    for (const name of names) {
      const path = join(root, name, 'nats-server');
      const version = await versionOf(path);
      if (version !== undefined && fits(version, wanted)) return { path, version, source: 'cache' };
    }
  }
  return undefined;
}

/** Test files run side by side: one makes the server, the others wait for it. */
async function underLock(wanted: Wanted): Promise<Provision> {
  const root = cacheRoots()[0] as string;
  await mkdir(root, { recursive: true });
  const lock = join(root, `.lock-${wanted.version}`);
  while (!(await taken(lock))) {
    await sleep(250);
    const made = await inCache(wanted);
    if (made !== undefined) return made;
  }
  try {
    return (await inCache(wanted)) ?? (await make(wanted, root));
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
}

async function taken(lock: string): Promise<boolean> {
  try {
    await mkdir(lock);
    return true;
  } catch {
    const since = await stat(lock).then((found) => found.mtimeMs, Date.now);
    if (Date.now() - since > STALE_LOCK_MS) await rm(lock, { recursive: true, force: true });
    return false;
  }
}

async function make(wanted: Wanted, root: string): Promise<Provision> {
  const attempts: readonly (readonly [Provision['source'], Attempt])[] = [
    ['go', goInstall],
    ['debian', debianPackage],
    ['download', officialDownload],
  ];
  const failures: string[] = [];
  for (const [source, attempt] of attempts) {
    const into = await mkdtemp(join(root, '.making-'));
    try {
      const made = await attempt(wanted, into);
      const version = await versionOf(made);
      if (version === undefined || !fits(version, wanted)) throw new Error(`it gave version ${version}`);
      const path = join(root, version, 'nats-server');
      await mkdir(join(root, version), { recursive: true });
      await copyFile(made, `${path}.new`);
      await rename(`${path}.new`, path);
      return { path, version, source };
    } catch (error) {
      failures.push(`  ${source}: ${firstLine(error)}`);
    } finally {
      await rm(into, { recursive: true, force: true });
    }
  }
  throw new Error(
    `no nats-server from ${wanted.atLeast} up to ${wanted.below} was found on PATH or in ${root}, ` +
      `and none could be made:\n${failures.join('\n')}\n` +
      'Install nats-server yourself, or Go, so that `go install` can build it.',
  );
}

async function goInstall(wanted: Wanted, into: string): Promise<string> {
  const target = `github.com/nats-io/nats-server/v2@v${wanted.version}`;
  await run('go', ['install', target], {
    env: { ...process.env, GOBIN: into, GOFLAGS: '' },
    timeout: 8 * 60_000,
  });
  return join(into, 'nats-server');
}

async function debianPackage(_wanted: Wanted, into: string): Promise<string> {
  if (process.getuid?.() !== 0) throw new Error('apt-get needs root');
  await run('apt-get', ['download', 'nats-server'], { cwd: into, timeout: 120_000 });
  const names = await readdir(into);
  const deb = names.find((name) => name.endsWith('.deb'));
  if (deb === undefined) throw new Error('apt-get download left no package');
  await run('dpkg-deb', ['-x', join(into, deb), into]);
  return join(into, 'usr/sbin/nats-server');
}

async function officialDownload(wanted: Wanted, into: string): Promise<string> {
  const machine = { x64: 'amd64', arm64: 'arm64' }[arch() as string];
  if (machine === undefined) throw new Error(`no download for ${arch()}`);
  const name = `nats-server-v${wanted.version}-${platform()}-${machine}`;
  const base = `${RELEASES}/v${wanted.version}`;
  const archive = await download(`${base}/${name}.tar.gz`);
  const sums = (await download(`${base}/SHA256SUMS`)).toString();
  const digest = createHash('sha256').update(archive).digest('hex');
  if (!sums.split('\n').some((line) => line.startsWith(digest) && line.trimEnd().endsWith(`${name}.tar.gz`)))
    throw new Error(`the digest of ${name}.tar.gz is not in SHA256SUMS`);
  const file = join(into, 'server.tar.gz');
  await writeFile(file, archive);
  await run('tar', ['-xzf', file, '-C', into]);
  return join(into, name, 'nats-server');
}

async function download(url: string): Promise<Buffer> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(120_000) });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return Buffer.from(await answer.arrayBuffer());
}

async function versionOf(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.X_OK);
    const { stdout } = await run(path, ['--version'], { timeout: 10_000 });
    return /v?(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  } catch {
    // Not there, not executable, or not a nats-server: the next place is asked.
    return undefined;
  }
}

export function fits(version: string, wanted: Pick<Wanted, 'atLeast' | 'below'>): boolean {
  return compare(version, wanted.atLeast) >= 0 && compare(version, wanted.below) < 0;
}

function compare(one: string, other: string): number {
  const left = one.split('.').map(Number);
  const right = other.split('.').map(Number);
  for (let at = 0; at < 3; at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The user's cache first: it survives a fresh `npm ci`. */
function cacheRoots(): string[] {
  const user = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const own = join(import.meta.dirname, '../../../node_modules/.cache/carillon/nats-server');
  return [join(user || tmpdir(), 'carillon/nats-server'), own];
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(0, 2).join(' ');
}
