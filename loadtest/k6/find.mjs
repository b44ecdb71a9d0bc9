/** Finds k6, or builds it once with Go into a cache outside the working tree. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

const VERSION = 'v2.2.0';
const CACHE = process.env.CARILLON_CACHE ?? join(homedir(), '.cache', 'carillon');

/** The path of a k6 of version 1 or later: `K6`, then PATH, then the cache, then a build of some minutes. */
export function findK6() {
  const built = join(CACHE, 'k6', VERSION, 'k6');
  const onPath = (process.env.PATH ?? '').split(delimiter).map((directory) => join(directory, 'k6'));
  const candidates = [process.env.K6, ...onPath, built].filter(
    (path) => path !== undefined && existsSync(path),
  );
  return candidates.find(recentEnough) ?? build(built);
}

/** k6/websockets is stable from version 1 on. */
function recentEnough(path) {
  const { status, stdout } = spawnSync(path, ['version'], { encoding: 'utf8' });
  const major = Number(/\bv(\d+)\.\d+\.\d+/.exec(stdout ?? '')?.[1] ?? 0);
  return status === 0 && major >= 1;
}

/**
 * A module of our own that requires k6, and not `go install k6@version`: install also looks up the newest version
 * to see whether the module is deprecated, and that look-up fails where only a module proxy can be reached.
 */
function build(target) {
  if (spawnSync('go', ['version']).status !== 0) {
    throw new Error(
      'k6 is not on PATH and there is no Go to build it: install either, or set K6=/path/to/k6',
    );
  }
  console.error(`building k6 ${VERSION} into ${target}: some minutes, once`);
  const work = mkdtempSync(join(tmpdir(), 'carillon-k6-'));
  try {
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(
      join(work, 'go.mod'),
      `module carillon/k6build\n\ngo 1.24\n\nrequire go.k6.io/k6/v2 ${VERSION}\n`,
    );
    execFileSync('go', ['build', '-mod=mod', '-o', target, 'go.k6.io/k6/v2'], {
      cwd: work,
      stdio: 'inherit',
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return target;
}
