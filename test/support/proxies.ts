/** Real proxies with the configurations that the project ships, on ports of the test's own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once as event } from 'node:events';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { certificateFolder } from './certificates.ts';
import { freeAddress } from './port.ts';
import { run } from './provide.ts';
import { debianProgram, envoyProgram, type Provided, traefikProgram } from './proxy-programs.ts';

export type ProxyName = 'nginx' | 'haproxy' | 'caddy' | 'envoy' | 'traefik';

interface Kind {
  readonly file: string;
  /** What `file` names as /etc/NAME/FILE. */
  readonly second?: string;
  readonly program: () => Promise<Provided>;
  readonly args: (config: string, folder: string) => readonly string[];
  /** Without: nothing has to be told, or its configuration is read at the start only. */
  readonly reload?: (proxy: ChildProcess, binary: string, config: string) => Promise<unknown>;
}

const signal = (name: NodeJS.Signals) => async (proxy: ChildProcess) => proxy.kill(name);

const KINDS: Readonly<Record<ProxyName, Kind>> = {
  nginx: {
    file: 'nginx.conf',
    program: () => debianProgram('nginx', 'usr/sbin/nginx', ['nginx']),
    args: (config, folder) => ['-p', folder, '-c', config, '-g', 'daemon off;', '-e', 'stderr'],
    reload: signal('SIGHUP'),
  },
  haproxy: {
    file: 'haproxy.cfg',
    program: () => {
      const packages = ['haproxy', 'liblua5.3-0', 'libopentracing-c-wrapper0', 'libopentracing1'];
      return debianProgram('haproxy', 'usr/sbin/haproxy', packages);
    },
    args: (config) => ['-W', '-f', config],
    reload: signal('SIGUSR2'),
  },
  caddy: {
    file: 'Caddyfile',
    program: () => debianProgram('caddy', 'usr/bin/caddy', ['caddy']),
    args: (config) => ['run', '--adapter', 'caddyfile', '--config', config],
    reload: (_proxy, binary, config) =>
      run(binary, ['reload', '--force', '--adapter', 'caddyfile', '--config', config]),
  },
  envoy: {
    file: 'envoy.yaml',
    second: 'envoy-tls.yaml',
    program: envoyProgram,
    args: (config) => ['-c', config, '--disable-hot-restart', '--concurrency', '2', '--log-level', 'warning'],
  },
  traefik: {
    file: 'traefik.yaml',
    second: 'traefik-dynamic.yaml',
    program: traefikProgram,
    args: (config) => [`--configFile=${config}`],
    reload: touched,
  },
};

/** Its dynamic part is read again when it changes: a space more is a change. */
async function touched(_proxy: ChildProcess, _binary: string, config: string): Promise<void> {
  await appendFile(join(dirname(config), 'traefik-dynamic.yaml'), ' \n');
}

const CONFIGS = fileURLToPath(new URL('../../config/proxies/', import.meta.url));

export interface RunningProxy {
  readonly port: number;
  /** PEM: who has signed its certificate. */
  readonly ca: string;
  reload(): Promise<void>;
  /** Puts another certificate in the place of the one that there is. */
  renew(subject: string): void;
}

/** Starts the proxy in front of `broker` (host:port); `edits` are made to the text of the configuration. */
export async function startProxy(
  t: Pick<TestContext, 'after'>,
  name: ProxyName,
  broker: string,
  edits: Readonly<Record<string, string>> = {},
): Promise<RunningProxy> {
  const { file, second, program, args, reload } = KINDS[name];
  const { folder, ca, write } = certificateFolder(t);
  const pair = ca.issue('proxy.test');
  write('tls', pair);
  await writeFile(join(folder, 'tls.pem'), pair.cert + pair.key);
  const [address, admin] = [await freeAddress(), await freeAddress()];
  const port = Number(address.split(':')[1]);
  const own = { '/etc/carillon/tls': folder };
  const config = await shipped(file, folder, {
    ...places(name, { broker, address, admin, folder }),
    ...(second === undefined ? own : { [`/etc/${name}/${second}`]: join(folder, second) }),
    ...edits,
  });
  if (second !== undefined)
    await shipped(second, folder, name === 'traefik' ? { ...own, '127.0.0.1:8080': broker } : own);
  const { binary, env } = await program();
  const child = spawn(binary, args(config, folder), {
    env: { ...process.env, ...env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data));
  t.after(() => ended(child));
  await listening(child, port, () => output);
  return {
    port,
    ca: ca.cert,
    reload: async () => void (await reload?.(child, binary, config)),
    renew: (subject) => void write('tls', ca.issue(subject)),
  };
}

/** Writes a shipped file, edited, into the folder of the test. */
async function shipped(
  file: string,
  folder: string,
  edits: Readonly<Record<string, string>>,
): Promise<string> {
  const path = join(folder, file);
  await writeFile(path, edited(await readFile(CONFIGS + file, 'utf8'), edits));
  return path;
}

interface Places {
  readonly broker: string;
  readonly address: string;
  readonly admin: string;
  readonly folder: string;
}

/** Where the test lets it listen and write, and how many descriptors it may ask for. */
function places(name: ProxyName, { broker, address, admin, folder }: Places): Record<string, string> {
  const before = { '127.0.0.1:8080': broker };
  if (name === 'caddy') return { ...before, 'https://:8443': `https://${address}`, '127.0.0.1:2019': admin };
  if (name === 'haproxy') return { ...before, '0.0.0.0:8443': address, 'maxconn 30000': 'maxconn 4000' };
  if (name === 'traefik') return { '0.0.0.0:8443': address };
  if (name === 'envoy') {
    const [host, port] = address.split(':');
    const [brokerHost, brokerPort] = broker.split(':');
    return {
      'address: 0.0.0.0, port_value: 8443': `address: ${host}, port_value: ${port}`,
      'address: 127.0.0.1, port_value: 8080': `address: ${brokerHost}, port_value: ${brokerPort}`,
    };
  }
  const parts = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return {
    ...before,
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
  // Traefik listens before it knows its routes.
  for (let status = await answer(port); status === undefined || status === 404; status = await answer(port)) {
    if (child.exitCode !== null || performance.now() > deadline)
      throw new Error(`the proxy does not listen (exit ${child.exitCode}):\n${output()}`);
    await sleep(50);
  }
}

/** The status of a plain call of the proxy; undefined: there is none yet. */
function answer(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    get(
      { host: '127.0.0.1', port, path: '/connect', rejectUnauthorized: false, agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    ).once('error', () => resolve(undefined));
  });
}
