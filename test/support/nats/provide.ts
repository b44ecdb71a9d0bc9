/** A real nats-server: from PATH, from the cache, by `go install`, from the Debian package, from the official download. */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { debianPackage, goInstall, type Provision, provide, run, type Wanted } from '../provide.ts';

export type { Wanted };

/** The server of production: one of the two supported lines. */
export const CURRENT: Wanted = { version: '2.15.2', atLeast: '2.14.0', below: '3.0.0' };
/** A server without batch direct get, which came with 2.11: the core-only path. */
export const WITHOUT_BATCH: Wanted = { version: '2.10.27', atLeast: '2.9.0', below: '2.11.0' };

const RELEASES = 'https://github.com/nats-io/nats-server/releases/download';

const provided = new Map<Wanted, Promise<Provision>>();

/** Throws with every attempt and why it failed. */
export function natsServer(wanted: Wanted = CURRENT): Promise<Provision> {
  let provision = provided.get(wanted);
  if (provision === undefined) {
    provision = provide({
      name: 'nats-server',
      wanted,
      versionArgs: ['--version'],
      attempts: [
        ['go', goInstall('nats-server', (version) => `github.com/nats-io/nats-server/v2@v${version}`)],
        ['debian', debianPackage('nats-server', 'usr/sbin/nats-server')],
        ['download', officialDownload],
      ],
      hint: 'Install nats-server yourself, or Go, so that `go install` can build it.',
    });
    provided.set(wanted, provision);
  }
  return provision;
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
