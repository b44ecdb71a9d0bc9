/** The settings that the chart renders, judged by the broker's own check-config with the files and variables of a pod. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { authority } from '../support/certs.ts';
import { run } from '../support/provide.ts';
import { at, type Manifest, ROOT } from './render.ts';

const MOUNTED = '/run/secrets/carillon';
/** Of TLS in the broker: the files of one folder belong together. */
const CA = authority('carillon tests');
const TLS: Readonly<Record<string, string>> = { 'ca.crt': CA.cert, ...files(CA.issue('rt.example.com')) };

function files({ cert, key }: { readonly cert: string; readonly key: string }): Record<string, string> {
  return { 'tls.crt': cert, 'tls.key': key };
}

const SECRET = 'a-secret-of-the-tests-that-is-long-enough-for-every-use';

/** What variables refer to, where it is no such secret. */
const REFERRED: Readonly<Record<string, string>> = {
  CARILLON_NODE__SERVERID: 'pod-0',
  CARILLON_NATS__URL: 'tls://nats.nats.svc:4222',
};

export interface Verdict {
  readonly ok: boolean;
  readonly says: string;
}

/** By the name of the pod's owner: the Deployment and, where there is one, the Job of the streams. */
export async function checkConfig(manifests: readonly Manifest[]): Promise<ReadonlyMap<string, Verdict>> {
  const verdicts = new Map<string, Verdict>();
  for (const owner of manifests.filter(({ kind }) => kind === 'Deployment' || kind === 'Job')) {
    const folder = mkdtempSync(join(tmpdir(), 'carillon-chart-'));
    try {
      verdicts.set(`${owner.kind} ${owner.metadata.name}`, await judged(owner, manifests, folder));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  return verdicts;
}

async function judged(owner: Manifest, manifests: readonly Manifest[], folder: string): Promise<Verdict> {
  const pod = at(owner, 'spec.template.spec');
  const name = at(pod, 'volumes.0.configMap.name');
  const map = manifests.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === name);
  const settings = at(map, 'data') as Readonly<Record<string, string>> | undefined;
  const file = join(folder, 'carillon.yaml');
  writeFileSync(file, (settings?.['carillon.yaml'] ?? '(no ConfigMap)').replaceAll(MOUNTED, folder));
  for (const path of mountedPaths(pod)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), contentOf(path));
  }
  return check(file, environment(pod));
}

function mountedPaths(pod: unknown): string[] {
  const sources = (at(pod, 'volumes.1.projected.sources') ?? []) as readonly unknown[];
  return sources.map((source) => at(source, 'secret.items.0.path') as string);
}

function contentOf(path: string): string {
  const tls = TLS[basename(path)];
  if (tls !== undefined) return tls;
  const { publicKey } = generateKeyPairSync('ed25519');
  if (path.endsWith('.pem')) return publicKey.export({ type: 'spki', format: 'pem' }).toString();
  if (!path.endsWith('jwks.json')) return SECRET;
  return JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'EdDSA' }] });
}

function environment(pod: unknown): Record<string, string> {
  const entries = (at(pod, 'containers.0.env') ?? []) as readonly {
    readonly name: string;
    readonly value?: string;
  }[];
  const ours = entries.filter(({ name }) => name.startsWith('CARILLON_') && name !== 'CARILLON_CONFIG');
  return Object.fromEntries(ours.map(({ name, value }) => [name, value ?? REFERRED[name] ?? SECRET]));
}

async function check(file: string, env: Record<string, string>): Promise<Verdict> {
  const args = [join(ROOT, 'dist/cli.js'), 'check-config', '--config', file];
  try {
    // As in the image, whose descriptors are those of the node: the one of this machine may be short.
    const { stdout, stderr } = await run(process.execPath, args, {
      env: { PATH: process.env['PATH'], ...env },
    });
    return { ok: true, says: stdout + stderr };
  } catch (error) {
    return { ok: false, says: String((error as { stderr?: string }).stderr) };
  }
}
