/** What the chart says of its values before anything is installed, and what it lets through. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { z } from 'zod';
import { valuesSchema } from '../../scripts/values-schema.ts';
import { settingsSchema } from '../../src/config/schema.ts';
import { at, CHART, render, rendered, the } from './render.ts';

test("the schema of config is the broker's of today: npm run chart", () => {
  const schema = readFileSync(join(CHART, 'values.schema.json'), 'utf8');
  assert.equal(schema, valuesSchema(schema));
});

test('settings that the broker would refuse are refused by name before the install', async () => {
  const wrong: readonly [set: string, says: RegExp][] = [
    ['config.limts.payloadBytes=64KiB', /'\/config': additional properties 'limts' not allowed/],
    ['config.limits.payloadByte=64KiB', /'\/config\/limits': additional properties 'payloadByte'/],
    ['config.rooms[0].histroy.count=1', /'\/config\/rooms\/0': additional properties 'histroy'/],
    [
      'config.tenants.default.conections=5',
      /'\/config\/tenants\/default': additional properties 'conections'/,
    ],
    ['config.limits.batch=0', /'\/config\/limits\/batch': minimum: got 0, want 1/],
    ['config.limits.batch=many', /'\/config\/limits\/batch': 'many' does not match/],
    ['config.limits.frameBytes=1 GB a day', /'\/config\/limits\/frameBytes': .* does not match/],
    ['config.log.level=loud', /'\/config\/log\/level': value must be one of/],
    ['config.trustedProxies=-1', /'\/config\/trustedProxies': minimum: got -1, want 0/],
    ['streams.config.nats.shard=8', /'\/streams\/config\/nats': additional properties 'shard'/],
    ['config.nats.url=nats:4222', /config.nats.url: expected a URL such as nats:/],
    [
      'config.admin.tokenFile=/run/secrets/carillon/token',
      /names .*\/token, which no entry of secrets.files mounts/,
    ],
    ['secrets.files[1].path=admin-token', /the path "admin-token" twice/],
    ['canary.service=carillon', /canary.service is "carillon", this release itself/],
    ['podLabels.app\\.kubernetes\\.io/name=x', /podLabels: app.kubernetes.io\/name is set by the chart/],
    ['nameOverride=A B', /'\/nameOverride': 'A B' does not match/],
    ['resources.requests.cpu=lots', /'\/resources\/requests\/cpu'.*'lots' does not match/s],
    [
      'networkPolicy.egress[0].prots[0].port=1',
      /'\/networkPolicy\/egress\/0': additional properties 'prots'/,
    ],
  ];
  for (const [set, says] of wrong) {
    const result = await render('cluster-values.yaml', set);
    assert.ok(!result.ok, set);
    assert.match(result.text, says, set);
  }
});

test('what the broker reads the chart lets through, and reads likewise', async () => {
  const shown = async (kind: string, path: string, ...sets: string[]): Promise<unknown> =>
    at(the(await rendered('cluster-values.yaml', ...sets), kind), path);
  const grace = 'spec.template.spec.terminationGracePeriodSeconds';
  assert.equal(await shown('Deployment', grace, 'config.drain.deadlineMs=1.5m'), 105);
  assert.equal(await shown('Deployment', grace, 'config.drain.deadlineMs=20000'), 35);
  const annotations = await shown('Ingress', 'metadata.annotations', 'config.heartbeat.idleSeconds=1m');
  assert.match(JSON.stringify(annotations), /proxy-read-timeout":"150"/);
  for (const set of [
    'config.limits.frameBytes=256KiB',
    'config.limits.rates=false',
    'config.log.level=debug',
  ]) {
    await rendered('cluster-values.yaml', set);
  }
});

/** Paths of the settings whose values must not be shown, as --set writes them. */
function secrets(schema: unknown, path: string): string[] {
  const { properties, items, writeOnly } = schema as {
    readonly properties?: Readonly<Record<string, unknown>>;
    readonly items?: unknown;
    readonly writeOnly?: boolean;
  };
  // URLs may have a password, and are refused for that by the broker; a JWK is refused unless it is public.
  if (writeOnly === true) return /(?:[uU]rl|endpoint|jwk)$/.test(path) ? [] : [path];
  const inside = Object.entries(properties ?? {}).flatMap(([name, each]) => secrets(each, `${path}.${name}`));
  return items === undefined ? inside : [...inside, ...secrets(items, `${path}[0]`)];
}

test('no secret of the settings is taken by value', async () => {
  const schema = z.toJSONSchema(settingsSchema, { io: 'input', unrepresentable: 'any' });
  const found = secrets(schema, 'config');
  assert.ok(found.includes('config.lifecycle.webhook.secret') && found.length >= 9, found.join());
  for (const path of found) {
    const result = await render('cluster-values.yaml', `${path}=abcdefghijklmnopqrstuvwxyz0123456789`);
    assert.ok(!result.ok, path);
    assert.match(result.text, /secrets belong into a Secret/, path);
  }
  for (const set of [
    'config.nats.url=nats://me:pass@nats:4222',
    'streams.config.nats.url=tls://token@nats',
  ]) {
    const result = await render('cluster-values.yaml', set);
    assert.match(result.text, /nats.url has a user or a password; secrets belong into a Secret/);
    assert.doesNotMatch(result.text, /pass@|token@/);
  }
  const env = await render('cluster-values.yaml', 'env[0].name=CARILLON_JWT_SECRET', 'env[0].value=abc');
  assert.match(env.text, /env: CARILLON_JWT_SECRET has a value/);
});

test('the network policy lets out what the settings call, and helm test in', async () => {
  const policy = the(await rendered('tls-values.yaml'), 'NetworkPolicy');
  const ports = (at(policy, 'spec.egress') as readonly unknown[]).map((rule) =>
    (at(rule, 'ports') as readonly unknown[]).map((each) => at(each, 'port')),
  );
  assert.deepEqual(ports, [[53, 53], [4222], [8081, 443, 4318]]);
  assert.deepEqual(at(policy, 'spec.ingress.2.from.0.podSelector.matchLabels'), {
    'app.kubernetes.io/name': 'carillon',
    'app.kubernetes.io/instance': 'carillon',
    'app.kubernetes.io/component': 'test',
  });
});

test('with TLS in the broker what stands before it speaks TLS to it', async () => {
  const manifests = await rendered('tls-values.yaml');
  assert.equal(at(the(manifests, 'Service', 'carillon'), 'spec.ports.0.appProtocol'), 'kubernetes.io/wss');
  assert.ok(
    (at(the(manifests, 'Pod'), 'spec.containers.0.args') as string[]).includes('https://carillon:443'),
  );
  for (const [controller, says] of [
    ['nginx', /backend-protocol":"HTTPS"/],
    ['nginx-inc', /nginx.org\/ssl-services":"carillon"/],
    ['haproxy', /server-ssl":"true"/],
    ['alb', /backend-protocol":"HTTPS".*healthcheck-protocol":"HTTPS"/],
  ] as const) {
    const sets = ['ingress.enabled=true', `ingress.controller=${controller}`];
    const ingress = the(await rendered('tls-values.yaml', ...sets), 'Ingress');
    assert.match(JSON.stringify(ingress.metadata.annotations), says, controller);
  }
  const traefik = ['ingress.enabled=true', 'ingress.controller=traefik'];
  const service = the(await rendered('tls-values.yaml', ...traefik), 'Service', 'carillon');
  assert.equal(
    service.metadata.annotations?.['traefik.ingress.kubernetes.io/service.serversscheme'],
    'https',
  );
});
