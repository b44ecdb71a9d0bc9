/** Real proxies with the configurations that the project ships, on ports of the test's own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once as event } from 'node:events';
import { access, mkdir, mkdtemp, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { certificateFolder } from './certificates.ts';
import { freeAddress } from './port.ts';
import { cacheRoots, downloadPackages, once, run } from './provide.ts';

export type ProxyName = 'nginx' | 'haproxy' | 'caddy';

interface Kind {
  readonly file: string;
  /** Where the Debian package has it. */
  readonly binary: string;
  /** Debian packages, with the libraries that a small system lacks. */
  readonly packages: readonly string[];
  readonly args: (config: string, folder: string) => readonly string[];
  readonly reload: (proxy: ChildProcess, binary: string, config: string) => Promise<unknown>;
}

const signal = (name: NodeJS.Signals) => async (proxy: ChildProcess) => proxy.kill(name);

const KINDS: Readonly<Record<ProxyName, Kind>> = {
  nginx: {
    file: 'nginx.conf',
    binary: 'usr/sbin/nginx',
    packages: ['nginx'],
    args: (config, folder) => ['-p', folder, '-c', config, '-g', 'daemon off;', '-e', 'stderr'],
    reload: signal('SIGHUP'),
  },
  haproxy: {
    file: 'haproxy.cfg',
    binary: 'usr/sbin/haproxy',
    packages: ['haproxy', 'liblua5.3-0', 'libopentracing-c-wrapper0', 'libopentracing1'],
    args: (config) => ['-W', '-f', config],
    reload: signal('SIGUSR2'),
  },
  caddy: {
    file: 'Caddyfile',
    binary: 'usr/bin/caddy',
    packages: ['caddy'],
    args: (config) => ['run', '--adapter', 'caddyfile', '--config', config],
    reload: (_proxy, binary, config) =>
      run(binary, ['reload', '--force', '--adapter', 'caddyfile', '--config', config]),
  },
};

const CONFIGS = fileURLToPath(new URL('../../config/proxies/', import.meta.url));

export interface RunningProxy {
  readonly port: number;
  /** PEM: who has signed its certificate. */
  readonly ca: string;
  reload(): Promise<void>;
}

/** Starts the proxy in front of `broker` (host:port); `edits` are made to the text of the configuration. */
export async function startProxy(
  t: Pick<TestContext, 'after'>,
  name: ProxyName,
  broker: string,
  edits: Readonly<Record<string, string>> = {},
): Promise<RunningProxy> {
  const { file, args, reload } = KINDS[name];
  const { folder, ca, write } = certificateFolder(t);
  const pair = ca.issue('proxy.test');
  write('tls', pair);
  await writeFile(join(folder, 'tls.pem'), pair.cert + pair.key);
  const [address, admin] = [await freeAddress(), await freeAddress()];
  const port = Number(address.split(':')[1]);
  const text = edited(await readFile(CONFIGS + file, 'utf8'), {
    '127.0.0.1:8080': broker,
    ...places(name, address, admin, folder),
    '/etc/carillon/tls': folder,
    ...edits,
  });
  const config = join(folder, file);
  await writeFile(config, text);
  const { binary, env } = await provided(name);
  const child = spawn(binary, args(config, folder), {
    env: { ...process.env, ...env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  t.after(() => ended(child));
  await listening(child, port, () => output);
  return { port, ca: ca.cert, reload: async () => void (await reload(child, binary, config)) };
}

/** Where the test lets it listen and write, and how many descriptors it may ask for. */
function places(name: ProxyName, address: string, admin: string, folder: string): Record<string, string> {
  if (name === 'caddy') return { 'https://:8443': `https://${address}`, '127.0.0.1:2019': admin };
  if (name === 'haproxy') return { '0.0.0.0:8443': address, 'maxconn 30000': 'maxconn 4000' };
  const parts = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return {
    '0.0.0.0:8443': address,
    'nofile 65536': 'nofile 8192',
    'connections 30000': 'connections 4000',
    '/run/nginx.pid': join(folder, 'nginx.pid'),
    'access_log off;': `access_log off;\n${parts.map((each) => `${each}_temp_path ${folder}/${each};`).join('\n')}`,
  };
}

/** Every edit has to meet its text, so that the test cannot leave the shipped file behind. */
function edited(text: string, edits: Readonly<Record<string, string>>): string {
  return Object.entries(edits).reduce((now, [from, to]) => {
    if (!now.includes(from)) throw new Error(`the configuration has no "${from}"`);
    return now.replaceAll(from, to);
  }, text);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = event(child, 'exit');
  child.kill('SIGTERM');
  await Promise.race([exited, sleep(3000)]);
  child.kill('SIGKILL');
}

async function listening(child: ChildProcess, port: number, output: () => string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await answers(port))) {
    if (child.exitCode !== null || performance.now() > deadline)
      throw new Error(`the proxy does not listen (exit ${child.exitCode}):\n${output()}`);
    await sleep(50);
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket.destroy() !== undefined));
    socket.once('error', () => resolve(false));
  });
}

interface Provided {
  readonly binary: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Installed, or taken out of the Debian packages into the cache; throws with what to install. */
async function provided(name: ProxyName): Promise<Provided> {
  const { binary, packages } = KINDS[name];
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
