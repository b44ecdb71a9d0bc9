/** What users of other charts expect: each value shows up where it belongs, in the form that Kubernetes takes. */
import assert from 'node:assert/strict';
import {
  cpSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { COPIES } from '../../scripts/chart.ts';
import { CURRENT } from '../support/nats/provide.ts';
import { at, CHART, type Manifest, ROOT, render, rendered, the } from './render.ts';

const site = await rendered('openshift-values.yaml');
const podOf = (manifest: Manifest): unknown => at(manifest, 'spec.template.spec');
const broker = podOf(the(site, 'Deployment'));
const job = podOf(the(site, 'Job', '-streams'));
const helmTest = at(the(site, 'Pod', '-test'), 'spec');

test('whatever runs once runs where the brokers may run, and with their rights', () => {
  for (const pod of [broker, job, helmTest]) {
    assert.deepEqual(at(pod, 'imagePullSecrets'), [{ name: 'registry' }]);
    assert.deepEqual(at(pod, 'tolerations.0'), { key: 'rt', operator: 'Exists', effect: 'NoSchedule' });
    assert.deepEqual(at(pod, 'nodeSelector'), { 'kubernetes.io/os': 'linux' });
    assert.equal(at(pod, 'priorityClassName'), 'rt');
    assert.equal(at(pod, 'schedulerName'), 'default-scheduler');
    assert.equal(at(pod, 'runtimeClassName'), 'runc');
    assert.equal(at(pod, 'dnsPolicy'), 'ClusterFirst');
    assert.deepEqual(at(pod, 'dnsConfig.options'), [{ name: 'ndots', value: '1' }]);
    assert.deepEqual(at(pod, 'hostAliases.0.hostnames'), ['login.example.com']);
    assert.ok(at(pod, 'affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution'));
    // What is null in the values is not there; the rest of the defaults is.
    assert.deepEqual(at(pod, 'securityContext'), {
      runAsNonRoot: true,
      fsGroupChangePolicy: 'OnRootMismatch',
      seccompProfile: { type: 'RuntimeDefault' },
    });
    assert.equal(at(pod, 'containers.0.securityContext.readOnlyRootFilesystem'), true);
  }
  // The brokers alone keep away from one another.
  assert.ok(at(broker, 'affinity.podAntiAffinity'));
  assert.equal(at(job, 'affinity.podAntiAffinity'), undefined);
});

test('variables, volumes and init containers reach the broker and the Job of the streams', () => {
  for (const pod of [broker, job]) {
    const names = (at(pod, 'containers.0.env') as readonly unknown[]).map((each) => at(each, 'name'));
    assert.ok(names.includes('CARILLON_NATS__URL') && names.includes('NODE_OPTIONS'), names.join());
    assert.deepEqual(at(pod, 'containers.0.envFrom'), [{ configMapRef: { name: 'site' } }]);
    assert.deepEqual(at(pod, 'volumes.2'), { name: 'state', emptyDir: {} });
    assert.deepEqual(at(pod, 'containers.0.volumeMounts.2'), {
      name: 'state',
      mountPath: '/var/lib/carillon',
    });
    assert.equal(at(pod, 'initContainers.0.name'), 'fetch');
  }
  assert.equal(at(broker, 'containers.1.name'), 'tail');
  assert.equal(at(job, 'containers.1'), undefined);
});

test('the Deployment takes what replaces or adds to its defaults', async () => {
  const deployment = the(site, 'Deployment');
  assert.deepEqual(at(deployment, 'spec.strategy.rollingUpdate'), { maxSurge: '100%', maxUnavailable: 0 });
  assert.equal(at(deployment, 'spec.revisionHistoryLimit'), 3);
  assert.equal(deployment.metadata.annotations?.['example.com/reload'], 'true');
  const spread = at(broker, 'topologySpreadConstraints.0');
  assert.equal(at(spread, 'whenUnsatisfiable'), 'DoNotSchedule');
  assert.ok(JSON.stringify(spread).includes('"app.kubernetes.io/component":"broker"'));
  assert.deepEqual(at(broker, 'containers.0.lifecycle'), {
    postStart: { exec: { command: ['node', '--version'] } },
    preStop: { sleep: { seconds: 5 } },
  });
  assert.equal(at(broker, 'containers.0.livenessProbe.periodSeconds'), 20);
  assert.equal(at(broker, 'containers.0.livenessProbe.httpGet.path'), '/livez');
  const other = podOf(
    the(
      await rendered(
        'cluster-values.yaml',
        'lifecycle.preStop.sleep.seconds=9',
        'readinessProbe.tcpSocket.port=public',
        'affinity.podAntiAffinity.x=y',
        'securityContext=null',
        'serviceAccount.automount=true',
      ),
      'Deployment',
    ),
  );
  assert.deepEqual(at(other, 'containers.0.lifecycle.preStop'), { sleep: { seconds: 9 } });
  assert.equal(at(other, 'containers.0.readinessProbe.httpGet'), undefined);
  assert.deepEqual(at(other, 'affinity.podAntiAffinity'), { x: 'y' });
  assert.equal(at(other, 'containers.0.securityContext'), undefined);
  assert.equal(at(other, 'automountServiceAccountToken'), true);
});

test('without values of the kind the pods are as strict as ever', async () => {
  const pod = podOf(the(await rendered('single-values.yaml'), 'Deployment'));
  assert.equal(at(pod, 'securityContext.runAsUser'), 10001);
  assert.equal(at(pod, 'securityContext.fsGroup'), 10001);
  assert.equal(at(pod, 'automountServiceAccountToken'), false);
});

test('service, service account and Ingress', () => {
  const service = the(site, 'Service', 'carillon');
  const { ports, selector, ...spec } = at(service, 'spec') as Readonly<Record<string, unknown>>;
  assert.deepEqual(spec, {
    type: 'LoadBalancer',
    externalTrafficPolicy: 'Cluster',
    ipFamilyPolicy: 'PreferDualStack',
    loadBalancerClass: 'example.com/internal',
    loadBalancerIP: '192.0.2.20',
    allocateLoadBalancerNodePorts: true,
  });
  assert.equal(at(ports, '0.nodePort'), 30443);
  assert.ok(selector);
  assert.equal(at(service, 'metadata.labels.team'), 'rt');
  assert.match(JSON.stringify(the(site, 'ServiceAccount').metadata.annotations), /role\/carillon/);
  const rules = at(the(site, 'Ingress'), 'spec.rules') as readonly unknown[];
  assert.deepEqual(
    rules.map((rule) => [
      at(rule, 'host'),
      (at(rule, 'http.paths') as readonly unknown[]).map((path) => [at(path, 'path'), at(path, 'pathType')]),
    ]),
    [
      ['rt.example.com', [['/connect', 'Exact']]],
      [
        'old.example.com',
        [
          ['/connect', 'Exact'],
          ['/api/v1', 'Prefix'],
        ],
      ],
    ],
  );
});

test('further objects, as mappings and as texts, with templates in both', () => {
  assert.equal(
    at(
      site.find(({ metadata }) => metadata.name === 'site'),
      'data.release',
    ),
    'carillon',
  );
  assert.ok(the(site, 'ConfigMap', 'carillon-site'));
});

test('streams become narrower after the pods, only where that was asked for, and never with a rollback', async () => {
  const hook = (manifest: Manifest) => manifest.metadata.annotations?.['helm.sh/hook'];
  const narrow = the(site, 'Job', '-narrow');
  assert.equal(hook(narrow), 'post-install,post-upgrade');
  assert.ok((at(podOf(narrow), 'containers.0.args') as string[]).includes('--narrow'));
  const before = the(site, 'Job', '-streams');
  assert.equal(hook(before), 'pre-install,pre-upgrade,pre-rollback');
  assert.ok(!(at(podOf(before), 'containers.0.args') as string[]).includes('--narrow'));
  assert.equal((await rendered('cluster-values.yaml')).filter(({ kind }) => kind === 'Job').length, 1);
});

test('the address of NATS from a Secret: several pods, its ports open, no URL in the settings', async () => {
  const settings = at(the(site, 'ConfigMap', 'carillon'), 'data') as Record<string, string>;
  assert.match(settings['carillon.yaml'] ?? '', /nats:\n\s+manageStreams: false/);
  const ports = at(the(site, 'NetworkPolicy'), 'spec.egress.1.ports');
  assert.deepEqual(ports, [{ port: 4222 }, { port: 4223 }]);
  const variable = ['env[0].name=CARILLON_NATS__URL', 'env[0].valueFrom.secretKeyRef.name=a', 'replicas=2'];
  assert.ok(the(await rendered('single-values.yaml', ...variable), 'Job'));
});

test('settings by variables, from wherever a container takes them', async () => {
  const jwt = ['env[0].name=CARILLON_JWT_SECRET', 'env[0].valueFrom.secretKeyRef.name=a'];
  assert.ok(the(await rendered(undefined, ...jwt), 'Deployment'));
  const from = ['envFrom[0].secretRef.name=site', 'config.nats.discover=false', 'replicas=2'];
  assert.ok(the(await rendered(undefined, ...from), 'Job'));
  const unknown = await render(undefined, ...jwt, 'config.nats.discover=false');
  assert.match(
    unknown.text,
    /config.nats.url: expected a URL .* from a Secret: secrets.env.CARILLON_NATS__URL/,
  );
});

test('a NATS of its own: no Job, brokers that make their streams, and nobody else gets in', async () => {
  const manifests = await rendered('nats-values.yaml');
  assert.ok(!manifests.some(({ kind }) => kind === 'Job'));
  const settings = at(the(manifests, 'ConfigMap', 'carillon'), 'data') as Record<string, string>;
  assert.match(settings['carillon.yaml'] ?? '', /url: nats:\/\/carillon-nats:4222/);
  assert.doesNotMatch(settings['carillon.yaml'] ?? '', /manageStreams/);
  const server = the(manifests, 'StatefulSet');
  // The version that the tests run with.
  const image = at(server, 'spec.template.spec.containers.0.image');
  assert.equal(image, `nats:${CURRENT.version}-alpine`);
  assert.equal(at(server, 'spec.volumeClaimTemplates.0.spec.resources.requests.storage'), '10Gi');
  const from = at(the(manifests, 'NetworkPolicy', '-nats'), 'spec.ingress.0.from.0.podSelector.matchLabels');
  assert.ok(JSON.stringify(from).includes('"app.kubernetes.io/component":"broker"'));
  const open = await rendered('nats-values.yaml', 'nats.persistence=');
  assert.deepEqual(at(the(open, 'StatefulSet'), 'spec.template.spec.volumes.1'), {
    name: 'data',
    emptyDir: {},
  });
  assert.ok(!(await rendered('cluster-values.yaml')).some(({ kind }) => kind === 'StatefulSet'));
});

test('values that do nothing together are refused', async () => {
  const wrong: readonly [values: string, set: string, says: RegExp][] = [
    ['nats-values.yaml', 'config.nats.url=nats://other:4222', /nats.install makes a NATS of its own/],
    ['cluster-values.yaml', 'service.loadBalancerClass=a', /service.loadBalancerClass is for .*ClusterIP/],
    ['cluster-values.yaml', 'service.nodePort=30000', /service.nodePort is for service.type: NodePort/],
    ['cluster-values.yaml', 'podSecurityContext.runasUser=1', /additional properties 'runasUser'/],
    ['cluster-values.yaml', 'ingress.paths[0]=connect', /'\/ingress\/paths\/0'/],
    ['cluster-values.yaml', 'extraContainers[0].name=a', /missing property 'image'/],
    ['cluster-values.yaml', 'affinity.nodeAfinity.x=1', /additional properties 'nodeAfinity'/],
    ['cluster-values.yaml', 'dnsPolicy=Clusterfirst', /'\/dnsPolicy': value must be one of/],
    ['nats-values.yaml', 'nats.storage=8GB', /'\/nats\/storage': '8GB' does not match/],
  ];
  for (const [values, set, says] of wrong) {
    const result = await render(values, set);
    assert.ok(!result.ok, set);
    assert.match(result.text, says, set);
  }
});

test('a load balancer checks the port that it serves: the network policy lets it in there', async () => {
  for (const [values, protocol] of [
    ['alb-values.yaml', undefined],
    ['tls-values.yaml', 'HTTPS'],
  ] as const) {
    const manifests = await rendered(values, 'ingress.enabled=true', 'ingress.controller=alb');
    const { annotations = {} } = the(manifests, 'Ingress').metadata;
    assert.equal(annotations['alb.ingress.kubernetes.io/healthcheck-path'], '/healthz');
    assert.equal(annotations['alb.ingress.kubernetes.io/healthcheck-port'], undefined, 'that of the traffic');
    assert.equal(annotations['alb.ingress.kubernetes.io/healthcheck-protocol'], protocol);
    const [first] = at(the(manifests, 'NetworkPolicy'), 'spec.ingress') as readonly unknown[];
    assert.deepEqual(first, { ports: [{ port: 'public' }] });
  }
});

const folder = mkdtempSync(join(tmpdir(), 'carillon-notes-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** helm shows the notes only where it has a cluster; here they come out as a ConfigMap of a copy of the chart. */
cpSync(CHART, folder, { recursive: true });
const notes = join(folder, 'templates/NOTES.txt');
renameSync(notes, join(folder, 'templates/_said.tpl'));
const said = readFileSync(join(folder, 'templates/_said.tpl'), 'utf8');
writeFileSync(join(folder, 'templates/_said.tpl'), `{{ define "said" }}${said}{{ end }}`);
writeFileSync(
  join(folder, 'templates/said.yaml'),
  'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: said }\ndata:\n  text: |\n    {{- include "said" . | nindent 4 }}\n',
);

async function notesOf(values: string, ...sets: string[]): Promise<string> {
  const result = await render({ chart: folder, values }, ...sets);
  assert.ok(result.ok, result.text);
  return String(at(the(result.manifests, 'ConfigMap', 'said'), 'data.text'));
}

test('the notes name the address that clients have', async () => {
  const expected: readonly [values: string, sets: string[], says: RegExp][] = [
    [
      'single-values.yaml',
      [],
      / ws:\/\/carillon\.default\.svc\/connect,.*\n.*port-forward .* 8080:80, then ws:/,
    ],
    ['single-values.yaml', ['service.port=8000'], / ws:\/\/carillon\.default\.svc:8000\/connect/],
    ['cluster-values.yaml', [], / wss:\/\/rt\.example\.com\/connect/],
    ['cluster-values.yaml', ['ingress.tls=null'], / ws:\/\/rt\.example\.com\/connect/],
    ['alb-values.yaml', [], / ws:\/\/ADDRESS-OF-THE-INGRESS\/connect/],
    [
      'openshift-values.yaml',
      [],
      / wss:\/\/rt\.example\.com\/connect.*\n.* ws:\/\/old\.example\.com\/connect/,
    ],
    ['gateway-values.yaml', [], / wss:\/\/rt\.example\.com\/connect/],
    ['tls-values.yaml', [], / wss:\/\/ADDRESS\/connect.*\n.*get service carillon .*loadBalancer/],
    ['loadbalancer-values.yaml', [], / ws:\/\/ADDRESS:443\/connect/],
    ['single-values.yaml', ['service.type=NodePort'], / ws:\/\/ANY-NODE:PORT\/connect.*\n.*nodePort/],
    [
      'single-values.yaml',
      ['service.type=NodePort', 'service.nodePort=30080'],
      / ws:\/\/ANY-NODE:30080\/connect/,
    ],
  ];
  for (const [values, sets, says] of expected) assert.match(await notesOf(values, ...sets), says, values);
});

test('the notes warn of what is so, and of nothing else', async () => {
  // Brokers on NATS share the keys of tickets by themselves.
  assert.doesNotMatch(await notesOf('alb-values.yaml'), /ticket/);
  assert.match(
    await notesOf('alb-values.yaml', 'config.nats.coreOnly=true'),
    /do not share the keys of tickets/,
  );
  assert.match(await notesOf('alb-values.yaml'), /nodes that do not have carillon:/);
  for (const values of ['cluster-values.yaml', 'openshift-values.yaml'])
    assert.doesNotMatch(await notesOf(values), /nodes that do not have/);
  assert.match(await notesOf('nats-values.yaml'), /one server, without TLS and passwords\./);
  assert.match(
    await notesOf('nats-values.yaml', 'nats.persistence='),
    /passwords, whose streams go with its pod\./,
  );
});

test('the files of the chart are files, and as they are where they come from: npm run chart', () => {
  for (const [from, to] of COPIES)
    assert.equal(readFileSync(join(ROOT, to), 'utf8'), readFileSync(join(ROOT, from), 'utf8'), to);
  for (const entry of readdirSync(CHART, { recursive: true, encoding: 'utf8' }))
    assert.ok(!lstatSync(join(CHART, entry)).isSymbolicLink(), entry);
});
