/** The `auth` section: what is refused as unsafe, and what the verifier gets. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Config, type ConfigProblem, loadConfig } from '../../src/config.ts';

type Input = Parameters<typeof loadConfig>[0];

const URL_A = 'https://a.example/jwks';
const SAFE = `issuer: https://a.example, audience: carillon, jwksUrl: "${URL_A}"`;

function good(auth: string, input: Partial<Input> = {}): Config {
  const result = loadConfig({ env: {}, text: `auth: { ${auth} }`, ...input });
  assert.ok(result.ok, JSON.stringify(result));
  return result.config;
}

function problems(auth: string, input: Partial<Input> = {}): readonly ConfigProblem[] {
  const result = loadConfig({ env: {}, text: `auth: { ${auth} }`, ...input });
  assert.ok(!result.ok, `taken: ${auth}`);
  return result.problems;
}

test('a JWKS URL without iss and aud is refused as unsafe, with what to set', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [`jwksUrl: "${URL_A}"`, /auth\.issuer and auth\.audience/],
    [`jwksUrl: "${URL_A}", issuer: a`, /^auth\.audience beside/],
    [`jwksUrl: "${URL_A}", audience: a`, /^auth\.issuer beside/],
  ];
  for (const [auth, expected] of cases) {
    const [problem] = problems(auth);
    assert.equal(problem?.key, 'auth.jwksUrl');
    assert.match(problem?.expected ?? '', expected);
    assert.match(problem?.fix ?? '', /set auth\.issuer/);
  }
  const { auth, development } = good(SAFE);
  assert.deepEqual(
    [auth.jwksUrl, auth.issuer, auth.audience, auth.keys, development],
    [URL_A, 'https://a.example', ['carillon'], [], false],
  );
});

test('every other source of identity ends development mode too, and serves other machines', () => {
  const listen = { CARILLON_LISTEN: '0.0.0.0:8080' };
  const auths = [
    SAFE,
    'webhook: { url: "https://a.example/hook" }',
    'issuers: [{ issuer: a, audience: b, jwksUrl: "https://a.example/" }]',
  ];
  for (const auth of auths) assert.equal(good(auth, { env: listen }).development, false, auth);
});

test('the issuers: each with an audience and keys, and once', () => {
  const entry = (fields: string) => `issuers: [{ ${fields} }]`;
  const keysOf = (auth: string) => problems(auth).map(({ key }) => key);
  assert.deepEqual(keysOf(entry('issuer: a, audience: b')), ['auth.issuers[0]']);
  assert.deepEqual(keysOf(entry(`issuer: a, jwksUrl: "${URL_A}"`)), ['auth.issuers[0].audience']);
  const one = `issuer: "https://a.example", audience: b, jwksUrl: "${URL_A}"`;
  assert.deepEqual(keysOf(`issuers: [{ ${one} }, { ${one} }]`), ['auth.issuers[1].issuer']);
  assert.deepEqual(keysOf(`${SAFE}, ${entry(one)}`), ['auth.issuers[0].issuer']);
  assert.deepEqual(keysOf(entry('issuer: a, audience: b, keys: [{ kid: k, alg: HS256 }]')), [
    'auth.issuers[0].keys[0]',
  ]);
  const short = entry('issuer: a, audience: b, keys: [{ kid: k, alg: HS256, secret: short }]');
  const env = { CARILLON_LISTEN: '0.0.0.0:1' };
  assert.deepEqual(
    problems(short, { env }).map(({ key }) => key),
    ['auth.issuers[0].keys[0].secret'],
  );
});

test('plain http to another machine has to be asked for', () => {
  const remote = ['http://a.example/jwks', 'http://10.0.0.1/', 'http://127.0.0.1.example.com/'];
  for (const url of remote) {
    const safe = `issuer: a, audience: b, jwksUrl: "${url}"`;
    assert.equal(problems(safe)[0]?.key, 'auth.jwksUrl', url);
    assert.equal(problems(`issuers: [{ ${safe} }]`)[0]?.key, 'auth.issuers[0].jwksUrl');
    assert.equal(problems(`webhook: { url: "${url}" }`)[0]?.key, 'auth.webhook.url');
    assert.equal(good(`${safe}, insecureHttp: true`).auth.jwksUrl, url);
  }
  for (const url of ['http://127.0.0.1:1/', 'http://localhost/', 'http://[::1]:5/'])
    assert.equal(good(`webhook: { url: "${url}" }`).auth.webhook?.url, url);
});

test('URLs that are none, or that carry a password, are refused without being shown', () => {
  for (const url of [
    'ftp://a.example',
    'a.example',
    'https://user:S3CRET@a.example/',
    'https://a.example/#S3CRET',
    '5',
  ]) {
    const [problem] = problems(`issuer: a, audience: b, jwksUrl: "${url}"`);
    assert.equal(problem?.key, 'auth.jwksUrl', url);
    assert.ok(!JSON.stringify(problem).includes('S3CRET'));
  }
});

test('several nodes that have neither a secret for tickets nor a store to share one get a warning', () => {
  const warned = (text: string) => {
    const result = loadConfig({ env: { CARILLON_NATS_URL: 'nats://127.0.0.1:4222' }, text });
    assert.ok(result.ok);
    return result.warnings.some((warning) => warning.includes('tickets.secrets'));
  };
  const secret = 'thirty-two bytes or more of test secret';
  assert.equal(warned(`auth: { ${SAFE} }`), false);
  const core = 'nats: { coreOnly: true }';
  assert.equal(warned(`auth: { ${SAFE} }\n${core}`), true);
  assert.equal(
    warned(`auth: { ${SAFE} }\ntickets: { secrets: ["${secret.replaceAll(' ', '-')}"] }\n${core}`),
    false,
  );
  assert.equal(warned(`auth: { keys: [{ kid: a, alg: HS256, secret: ${secret} }] }\n${core}`), false);
});

test('waits end before the handshake does, and a set in use is not too old', () => {
  assert.equal(problems(`${SAFE}, jwks: { timeoutMs: 5s }`)[0]?.key, 'auth.jwks.timeoutMs');
  assert.equal(problems(`webhook: { url: "${URL_A}", timeoutMs: 6s }`)[0]?.key, 'auth.webhook.timeoutMs');
  assert.equal(problems(`${SAFE}, jwks: { refreshMs: 2h, staleMs: 1h }`)[0]?.key, 'auth.jwks.staleMs');
  assert.equal(good('jwks: { timeoutMs: 5s }').auth.jwks.timeoutMs, 5000, 'nothing is fetched');
});

test('files: a key set, a cache folder and a secret, relative to the config', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'c.yaml');
  const load = () => loadConfig({ env: {}, file });
  writeFileSync(
    file,
    `auth: { jwksFile: set.json, jwks: { cacheDir: cache }, webhook: { url: "${URL_A}", secretFile: s } }`,
  );
  const missing = load();
  assert.deepEqual(!missing.ok && missing.problems.map(({ key }) => key), [
    'auth.jwksFile',
    'auth.webhook.secretFile',
  ]);
  writeFileSync(join(folder, 's'), 'the-secret\n');
  writeFileSync(join(folder, 'set.json'), '{"keys":[]}');
  const empty = load();
  assert.match((!empty.ok && empty.problems[0]?.expected) || '', /has no usable key/);
  const k = Buffer.alloc(32, 7).toString('base64url');
  writeFileSync(join(folder, 'set.json'), JSON.stringify({ keys: [{ kty: 'oct', kid: 'a', k }] }));
  const loaded = load();
  assert.ok(loaded.ok, JSON.stringify(loaded));
  const { auth } = loaded.config;
  assert.equal(auth.jwksFile, join(folder, 'set.json'));
  assert.equal(auth.jwks.cacheDir, join(folder, 'cache'));
  assert.equal(auth.webhook?.secret, 'the-secret');
  assert.ok(!('secretFile' in (auth.webhook ?? {})));
});

test('who may grant scopes where nothing is said: the first that vouches for clients, and no other', () => {
  const key = '{ kid: k, alg: HS256, secret: a-secret-of-32-bytes-or-more-for-tests }';
  const issuer = (name: string, more = '') =>
    `{ issuer: "https://${name}.example", audience: carillon, keys: [${key}]${more} }`;
  const webhook = 'webhook: { url: "http://127.0.0.1:1/" }';
  const scopesOf = (text: string) => {
    const { auth } = good(text);
    return [auth.scopes, ...auth.issuers.map(({ scopes }) => scopes), auth.webhook?.scopes];
  };
  const both = ['api', 'admin'];
  const issuers = `issuers: [${issuer('a')}, ${issuer('b')}]`;
  assert.deepEqual(scopesOf(`keys: [${key}], ${issuers}, ${webhook}`), [both, [], [], []]);
  assert.deepEqual(scopesOf(`${issuers}, ${webhook}`), [[], both, [], []]);
  assert.deepEqual(scopesOf(webhook), [[], both]);
  const named = `issuers: [${issuer('a', ', scopes: []')}, ${issuer('b', ', scopes: [api]')}]`;
  assert.deepEqual(scopesOf(named), [[], [], ['api'], undefined]);
  assert.deepEqual(scopesOf(`keys: [${key}], scopes: [admin]`), [['admin'], undefined]);
  assert.deepEqual(good('keys: []').auth.scopes, both, 'development mode');
});
