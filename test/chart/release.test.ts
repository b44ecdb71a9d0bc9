/** What a release pushes is what its chart pulls. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { parse } from 'yaml';
import { at, type Manifest, ROOT, render } from './render.ts';

const folder = mkdtempSync(join(tmpdir(), 'carillon-release-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const RELEASE = {
  REGISTRY: 'registry.example.com',
  GITHUB_REPOSITORY: 'Rt/Carillon',
  GITHUB_REF_NAME: 'v1.2.3-rc.1',
};

function released(to: string, env: Readonly<Record<string, string>>) {
  const said = spawnSync(process.execPath, ['scripts/release-chart.mjs', to], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] ?? '', ...env },
  });
  const outputs = Object.fromEntries(
    said.stdout.split('\n').map((line) => line.split('=', 2) as [string, string]),
  );
  return { ...said, outputs };
}

function imagesOf(manifests: readonly Manifest[]): Set<unknown> {
  const pods = manifests.map((one) => at(one, 'spec.template.spec') ?? at(one, 'spec'));
  return new Set(pods.map((pod) => at(pod, 'containers.0.image')).filter((image) => image !== undefined));
}

test('the chart of a release pulls the very image that the workflow pushes', async () => {
  const chart = join(folder, 'carillon');
  const { status, stderr, outputs } = released(chart, RELEASE);
  assert.equal(status, 0, stderr);
  assert.equal(outputs['image'], 'registry.example.com/rt/carillon:1.2.3-rc.1');
  const result = await render({ chart, values: 'alb-values.yaml' });
  assert.ok(result.ok, result.text);
  assert.deepEqual([...imagesOf(result.manifests)], [outputs['image']], 'broker, Job and helm test');
  const { version, appVersion } = parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8'));
  assert.deepEqual([version, appVersion], ['1.2.3-rc.1', '1.2.3-rc.1']);
});

test('the workflow pushes, logs in to, attests and packages what that script says, and nothing else', () => {
  const text = readFileSync(join(ROOT, '.github/workflows/release.yml'), 'utf8');
  const steps = at(parse(text), 'jobs.release.steps') as readonly unknown[];
  const using = (action: string) => steps.find((step) => String(at(step, 'uses')).startsWith(action));
  const outputs = '${{ steps.chart.outputs';
  const made = steps.findIndex((step) => at(step, 'id') === 'chart');
  const folderOf = /release-chart\.mjs (\S+) >> "\$GITHUB_OUTPUT"/.exec(String(at(steps[made], 'run')))?.[1];
  assert.ok(folderOf);
  assert.equal(at(using('docker/build-push-action'), 'with.tags'), `${outputs}.image }}`);
  assert.equal(at(using('docker/login-action'), 'with.registry'), `${outputs}.registry }}`);
  assert.equal(
    at(using('actions/attest-build-provenance'), 'with.subject-name'),
    `${outputs}.registry }}/${outputs}.repository }}`,
  );
  assert.ok(text.includes(`helm package ${folderOf}\n`));
  assert.ok(made >= 0 && made < steps.indexOf(using('docker/login-action')));
});

test('a release without a registry, or with a tag that is no version, is none', () => {
  for (const [env, says] of [
    [{ ...RELEASE, REGISTRY: '' }, /REGISTRY is "": expected the host of a registry/],
    [{ ...RELEASE, REGISTRY: 'rt' }, /REGISTRY is "rt"/],
    [{ ...RELEASE, GITHUB_REPOSITORY: '' }, /GITHUB_REPOSITORY is ""/],
    [{ ...RELEASE, GITHUB_REF_NAME: 'main' }, /GITHUB_REF_NAME is "main": expected a tag such as v1\.2\.3/],
  ] as const) {
    const { status, stderr } = released(join(folder, 'none'), env);
    assert.notEqual(status, 0);
    assert.match(stderr, says);
  }
});

test('an image elsewhere: registry, name, tag and digest', async () => {
  const image = async (...sets: string[]): Promise<unknown[]> => {
    const result = await render('single-values.yaml', ...sets);
    assert.ok(result.ok, result.text);
    return [...imagesOf(result.manifests)];
  };
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const registry = 'image.registry=registry.example.com:5000/mirror';
  assert.deepEqual(await image(), [`carillon:${version}`]);
  assert.deepEqual(await image(registry), [`registry.example.com:5000/mirror/carillon:${version}`]);
  assert.deepEqual(await image(registry, 'image.repository=rt/carillon', 'image.tag=dev'), [
    'registry.example.com:5000/mirror/rt/carillon:dev',
  ]);
  const digest = `sha256:${'0'.repeat(64)}`;
  assert.deepEqual(await image('image.repository=registry.example.com/a', `image.digest=${digest}`), [
    `registry.example.com/a@${digest}`,
  ]);
});
