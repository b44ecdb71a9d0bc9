/** The chart, rendered by a real helm for every set of values and checked by the validation of a real kube-apiserver. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { chartReadme } from '../../scripts/chart.ts';
import { drainFlags } from '../../src/cli/drain.ts';
import { loadConfig } from '../../src/config.ts';
import { validator } from '../support/chart-tools.ts';
import { at, CHART, lint, type Manifest, ROOT, render, rendered, the, VALUE_SETS } from './render.ts';
import { checkConfig } from './settings.ts';

/** What the validation says of manifests, and whether they are good. */
async function judge(manifests: string): Promise<{ good: boolean; says: string }> {
  const { path, definitions } = await validator();
  const child = spawn(path, [definitions], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(manifests);
  const [says, code] = await Promise.all([
    text(child.stdout),
    new Promise((resolve, reject) => child.once('close', resolve).once('error', reject)),
  ]);
  return { good: code === 0, says };
}

for (const set of VALUE_SETS) {
  test(`${set}: lint, manifests that an API server takes, settings that the broker takes`, async () => {
    const linted = await lint(set);
    assert.ok(linted.ok, linted.text);
    const result = await render(set);
    assert.ok(result.ok, result.text);
    const { good, says } = await judge(result.text);
    assert.ok(good, says);
    for (const [name, verdict] of await checkConfig(result.manifests)) {
      assert.ok(verdict.ok, `${name}: ${verdict.says}`);
    }
  });
}

test('the validation finds what is wrong', async () => {
  const result = await render('gateway-values.yaml');
  assert.ok(result.ok, result.text);
  const wrong: readonly [from: string, to: string, says: RegExp][] = [
    ['replicas: 3', 'replicsa: 3', /Deployment carillon: .*unknown field "spec.replicsa"/],
    ['replicas: 3', 'replicas: -3', /Deployment carillon: spec.replicas: Invalid value: -3/],
    ['port: 80\n', 'port: 80000\n', /Service carillon: spec.ports\[0\].port: Invalid value: 80000/],
    [
      'runAsNonRoot: true',
      'runAsNonRoot: false',
      /Deployment carillon: spec: Forbidden: runAsNonRoot != true/,
    ],
    ['weight: 10\n', 'weight: ten\n', /HTTPRoute carillon: spec.rules\[0\].*weight/],
    ['hostnames:', 'hostnaems:', /HTTPRoute carillon: .*hostnaems/],
    ['request: 0s', 'request: 5s\n        backendRequets: 1s', /HTTPRoute carillon: .*backendRequets/],
    [
      'kind: ServiceAccount',
      'kind: Aquarium',
      /Aquarium carillon: .*neither of Kubernetes nor of the definitions/,
    ],
  ];
  for (const [from, to, says] of wrong) {
    assert.ok(result.text.includes(from), from);
    const verdict = await judge(result.text.replace(from, to));
    assert.ok(!verdict.good, to);
    assert.match(verdict.says, says);
  }
});

test('wrong values are refused by name, with what is expected', async () => {
  const wrong: readonly [set: string, says: RegExp][] = [
    ['replicsa=3', /additional properties 'replicsa' not allowed/],
    ['replicas=0', /'\/replicas': minimum: got 0, want 1/],
    ['antiAffinity=maybe', /'\/antiAffinity': value must be one of 'preferred', 'required', 'none'/],
    ['image.digest=latest', /'\/image\/digest': 'latest' does not match/],
    ['config.nats=null', /'\/config\/nats': got null, want object/],
    ['secrets.files[0].path=/etc/passwd', /'\/secrets\/files\/0\/path'/],
    ['drain.terminationGracePeriodSeconds=54', /is 54: the drain needs 55 .*Set it to 0/],
    ['config.drain.deadlineMs=soon', /'\/config\/drain\/deadlineMs': 'soon' does not match/],
    ['ingress.idleTimeoutSeconds=30', /is 30: connections may be silent for 30 s/],
    ['autoscaling.maxReplicas=2', /expected autoscaling.minReplicas \(3\) or more/],
    ['config.listen=:80', /config.listen is set by the chart/],
    ['config.workers=4', /config.workers is set by the chart: .*set workers beside config/],
    ['workers=auto', /'\/workers': got string, want integer/],
    ['config.node.serverId=a', /config.node.serverId is set by the chart/],
    ['config.admin.listen=:90', /config.admin.listen is set by the chart/],
    ['config.admin.token=abc', /config.admin.token: secrets belong into a Secret/],
    ['config.tickets.secrets[0]=abc', /config.tickets.secrets: secrets belong into a Secret/],
    ['config.auth.keys[0].secret=abc', /config.auth: the key .* has a secret/],
    ['config.nats.password=abc', /config.nats.password: secrets belong/],
    ['streams.config.nats.nkeySeed=abc', /streams.config.nats.nkeySeed: secrets belong/],
    ['gateway.enabled=true', /gateway.parentRefs is empty/],
  ];
  for (const [set, says] of wrong) {
    const result = await render('cluster-values.yaml', set);
    assert.ok(!result.ok, set);
    assert.match(result.text, says, set);
  }
});

test('what cannot work together is refused', async () => {
  const wrong: readonly [values: string | undefined, sets: string[], says: RegExp][] = [
    [undefined, [], /nothing to verify tokens with: set config.auth.jwksUrl/],
    [
      'single-values.yaml',
      ['replicas=2'],
      /several pods are one broker through NATS only: set config.nats.url/,
    ],
    ['single-values.yaml', ['canary.of=other'], /a canary shares its rooms through NATS/],
    [
      'canary-values.yaml',
      ['gateway.enabled=true', 'gateway.parentRefs[0].name=a'],
      /the HTTPRoute stands in/,
    ],
    ['canary-nginx-values.yaml', ['ingress.controller=haproxy'], /only nginx has Ingresses with a weight/],
    ['canary-values.yaml', ['canary.service=b'], /not both/],
    ['alb-values.yaml', ['autoscaling.cpuPercent=0'], /there is nothing to scale by/],
  ];
  for (const [values, sets, says] of wrong) {
    const result = await render(values, ...sets);
    assert.ok(!result.ok, sets.join());
    assert.match(result.text, says);
  }
});

function pod(manifests: readonly Manifest[]): unknown {
  return at(the(manifests, 'Deployment'), 'spec.template.spec');
}

test('the grace period is what the drain of the settings takes', async () => {
  const loaded = loadConfig({ env: { CARILLON_JWT_SECRET: 'x'.repeat(48) }, openFiles: 100_000 });
  assert.ok(loaded.ok);
  const grace = async (...sets: string[]): Promise<unknown> =>
    at(pod(await rendered('single-values.yaml', ...sets)), 'terminationGracePeriodSeconds');
  // preStop, the broker's default, its slack (SHUTDOWN_SLACK_MS), and 5 s for the kubelet.
  assert.equal(await grace(), 5 + loaded.config.drain.deadlineMs / 1000 + 5 + 5);
  assert.equal(await grace('config.drain.deadlineMs=90s'), 105);
  assert.equal(await grace('config.drain.deadlineMs=2m', 'drain.preStopSeconds=20'), 150);
  assert.equal(await grace('config.drain.deadlineMs=1500', 'drain.preStopSeconds=0'), 12);
  assert.equal(await grace('drain.terminationGracePeriodSeconds=35'), 35);
});

test('a pod waits until it is out of the endpoints and drains; without an admin token SIGTERM does', async () => {
  const preStop = async (values: string, ...sets: string[]): Promise<unknown> =>
    at(pod(await rendered(values, ...sets)), 'containers.0.lifecycle.preStop');
  const command = (...last: string[]) => ({
    exec: {
      command: [
        ...['node', 'dist/cli.js', 'drain', '--wait', '--after=5s', '--admin=http://127.0.0.1:9090'],
        ...last,
      ],
    },
  });
  const sleep = { sleep: { seconds: 5 } };
  assert.deepEqual(
    await preStop('cluster-values.yaml'),
    command('--admin-token-file=/run/secrets/carillon/admin-token'),
  );
  assert.deepEqual(await preStop('cluster-values.yaml', 'drain.command=false'), sleep);
  assert.deepEqual(await preStop('single-values.yaml'), sleep);
  const token = 'secrets.env.CARILLON_ADMIN_TOKEN';
  assert.deepEqual(await preStop('single-values.yaml', `${token}.secretName=a`, `${token}.key=b`), command());
  assert.equal(
    at(pod(await rendered('single-values.yaml', 'drain.preStopSeconds=0')), 'containers.0.lifecycle'),
    undefined,
  );
  // Flags that the command knows.
  const [, , , ...flags] = command('--admin-token-file=x').exec.command;
  assert.ok(drainFlags(flags).ok);
});

test('proxies keep silent connections for longer than the heartbeat, and not for ever', async () => {
  const timeout = async (controller: string, ...sets: string[]): Promise<string> => {
    const manifests = await rendered('cluster-values.yaml', `ingress.controller=${controller}`, ...sets);
    return JSON.stringify(the(manifests, 'Ingress').metadata.annotations);
  };
  assert.match(await timeout('nginx'), /proxy-read-timeout":"75"/);
  assert.match(await timeout('nginx', 'config.heartbeat.idleSeconds=60'), /proxy-read-timeout":"150"/);
  assert.match(await timeout('nginx-inc'), /proxy-read-timeout":"75s".*websocket-services":"carillon"/);
  assert.match(await timeout('haproxy'), /timeout-tunnel":"75s"/);
  assert.match(await timeout('alb', 'ingress.idleTimeoutSeconds=120'), /idle_timeout.timeout_seconds=120/);
  const route = the(await rendered('gateway-values.yaml'), 'HTTPRoute');
  assert.deepEqual(at(route, 'spec.rules.0.timeouts'), { request: '0s', backendRequest: '0s' });
  assert.deepEqual(at(route, 'spec.rules.1.timeouts'), { request: '30s' });
});

test('a canary gets its part, and makes nothing that the first release has', async () => {
  const route = the(await rendered('gateway-values.yaml'), 'HTTPRoute');
  assert.deepEqual(at(route, 'spec.rules.0.backendRefs'), [
    { name: 'carillon', port: 80, weight: 90 },
    { name: 'carillon-canary', port: 80, weight: 10 },
  ]);
  const canary = await rendered('canary-values.yaml');
  assert.equal(the(canary, 'Service', '-canary').metadata.name, 'carillon-canary');
  for (const kind of ['Job', 'HTTPRoute', 'PrometheusRule']) {
    assert.deepEqual(
      canary.filter((one) => one.kind === kind).map(({ metadata }) => metadata.name),
      [],
      kind,
    );
  }
  const ingress = the(await rendered('canary-nginx-values.yaml'), 'Ingress');
  assert.equal(ingress.metadata.annotations?.['nginx.ingress.kubernetes.io/canary-weight'], '20');
});

test('the streams are made by a hook that needs nothing of the release, and the pods do not make them', async () => {
  const manifests = await rendered('cluster-values.yaml');
  for (const kind of ['Job', 'ConfigMap']) {
    const { metadata } = the(manifests, kind, '-streams');
    assert.equal(metadata.annotations?.['helm.sh/hook'], 'pre-install,pre-upgrade,pre-rollback', kind);
  }
  const settings = at(the(manifests, 'ConfigMap', 'carillon'), 'data') as Record<string, string>;
  assert.match(settings['carillon.yaml'] ?? '', /manageStreams: false/);
  const job = at(the(manifests, 'Job'), 'spec.template.spec');
  assert.equal(at(job, 'serviceAccountName'), undefined);
  assert.deepEqual(at(job, 'volumes.0.configMap.name'), 'carillon-streams');
});

test('the README has the values of today: npm run chart', () => {
  const readme = readFileSync(join(CHART, 'README.md'), 'utf8');
  assert.equal(readme, chartReadme(readme, readFileSync(join(CHART, 'values.yaml'), 'utf8')));
});

test('the chart is of the version of the broker', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  assert.ok(readFileSync(join(CHART, 'Chart.yaml'), 'utf8').includes(`\nappVersion: ${version}\n`));
});
