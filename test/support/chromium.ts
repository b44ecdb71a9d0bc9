/** A real browser for the tests of the page. */
import { execFileSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type Browser, chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

const FLAGS = [
  '--headless',
  // Chromium refuses to run its sandbox as root, which is who runs tests in a container.
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  // The browser shall speak to the broker under test and to nobody else.
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export async function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath(), args: FLAGS });
}

/** CHROMIUM_PATH, or what the system has, or the package that is then installed. Throws with what to do. */
export function chromiumPath(): string {
  const given = process.env['CHROMIUM_PATH'];
  if (given !== undefined && given !== '') {
    if (isExecutable(given)) return given;
    throw new Error(`CHROMIUM_PATH is ${given}, which is no program`);
  }
  const found = installed() ?? (install() ? installed() : undefined);
  if (found !== undefined) return found;
  throw new Error(
    'The tests of the page need Chromium. Install the package `chromium` of your system, or say where a Chromium or Chrome is with CHROMIUM_PATH.',
  );
}

function installed(): string | undefined {
  const folders = ['/usr/bin', ...(process.env['PATH'] ?? '').split(delimiter)];
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** As root on Debian and its kin. false: not possible here. */
function install(): boolean {
  if (process.getuid?.() !== 0 || !isExecutable('/usr/bin/apt-get')) return false;
  process.stderr.write('no Chromium here: installing the Debian package\n');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  execFileSync('apt-get', ['update', '-qq'], { env, stdio: 'inherit' });
  execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium'], {
    env,
    stdio: 'inherit',
  });
  return true;
}
