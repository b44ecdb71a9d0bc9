/** What the chart is checked with: a real helm, Prometheus's promtool, and the validation of a real kube-apiserver. */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cacheRoots, debianPackage, goInstall, once, type Provision, provide, run } from './provide.ts';

const HELMS = {
  3: { version: '3.22.0', atLeast: '3.18.0', below: '4.0.0' },
  4: { version: '4.3.2', atLeast: '4.3.0', below: '5.0.0' },
} as const;

/** Helm 3, or what CARILLON_TEST_HELM says: 3, 4, or the path of a program. */
export function helm(): Promise<Provision> {
  const asked = process.env['CARILLON_TEST_HELM'] ?? '3';
  if (asked !== '3' && asked !== '4')
    return Promise.resolve({ path: asked, version: 'as given', source: 'path' });
  const wanted = HELMS[asked];
  const module = `helm.sh/helm/v${asked}`;
  // A binary of `go install` does not know its version otherwise.
  const flags = `-s -w -X ${module}/internal/version.version=v${wanted.version}`;
  const build = goInstall('helm', (version) => `${module}/cmd/helm@v${version}`, ['-ldflags', flags]);
  return provide({
    name: 'helm',
    wanted,
    versionArgs: ['version', '--short'],
    attempts: [['go', build]],
    hint: 'Install helm yourself, or Go, so that `go install` can build it.',
  });
}

export function promtool(): Promise<Provision> {
  return provide({
    name: 'promtool',
    // What Debian has is enough for the rules; from source it takes minutes.
    wanted: { version: '0.315.0', atLeast: '2.40.0', below: '4.0.0' },
    versionArgs: ['--version'],
    attempts: [
      ['debian', debianPackage('prometheus', 'usr/bin/promtool')],
      ['go', goInstall('promtool', (version) => `github.com/prometheus/prometheus/cmd/promtool@v${version}`)],
    ],
    hint: 'Install promtool (of Prometheus) yourself, or Go, so that `go install` can build it.',
  });
}

export interface Validator {
  readonly path: string;
  /** The folder of the CustomResourceDefinitions. */
  readonly definitions: string;
}

const SOURCES = join(import.meta.dirname, '../chart/manifests');

/** Modules that carry definitions, and which of their files the chart needs. */
const DEFINITIONS: readonly (readonly [module: string, folder: string, files: readonly string[]])[] = [
  ['sigs.k8s.io/gateway-api@v1.6.3', 'config/crd/standard', ['gateway.networking.k8s.io_httproutes.yaml']],
  [
    'github.com/prometheus-operator/prometheus-operator@v0.85.0',
    'example/prometheus-operator-crd',
    ['monitoring.coreos.com_servicemonitors.yaml', 'monitoring.coreos.com_prometheusrules.yaml'],
  ],
];

/** test/chart/manifests, built by Go; kept under the hash of its sources. Throws with what go says. */
export async function validator(): Promise<Validator> {
  const hash = createHash('sha256').update(JSON.stringify(DEFINITIONS));
  for (const name of (await readdir(SOURCES)).sort())
    hash.update(name).update(await readFile(join(SOURCES, name)));
  const folder = hash.digest('hex').slice(0, 16);
  const find = async (): Promise<Validator | undefined> => {
    const home = join(cacheRoots('manifests')[0] as string, folder);
    const there = await stat(home).then(Boolean, () => false);
    return there ? { path: join(home, 'manifests'), definitions: join(home, 'definitions') } : undefined;
  };
  return (
    (await find()) ??
    once('manifests', `.lock-${folder}`, find, async (root) => {
      await build(join(root, folder));
      return (await find()) as Validator;
    })
  );
}

async function build(home: string): Promise<void> {
  const making = `${home}.making`;
  await rm(making, { recursive: true, force: true });
  await mkdir(join(making, 'definitions'), { recursive: true });
  await go(SOURCES, ['build', '-buildvcs=false', '-ldflags', '-s -w', '-o', join(making, 'manifests'), '.']);
  for (const [module, folder, files] of DEFINITIONS) {
    const { Dir } = JSON.parse(await go(tmpdir(), ['mod', 'download', '-json', module])) as {
      readonly Dir: string;
    };
    for (const file of files) await copyFile(join(Dir, folder, file), join(making, 'definitions', file));
  }
  await rename(making, home);
}

async function go(cwd: string, args: readonly string[]): Promise<string> {
  const env = { ...process.env, GOFLAGS: '' };
  try {
    const { stdout } = await run('go', [...args], { cwd, env, timeout: 8 * 60_000 });
    return stdout;
  } catch (error) {
    // With -json what went wrong is on stdout.
    const said = `${String(error)}\n${(error as { stdout?: string }).stdout ?? ''}`;
    throw new Error(`the manifests of the chart cannot be checked: it takes Go, and its modules.\n${said}`);
  }
}

// Run by itself it makes all three: minutes the first time, more than one test file may take.
if (process.argv[1] === import.meta.filename) {
  await helm();
  await Promise.all([promtool(), validator()]);
}
