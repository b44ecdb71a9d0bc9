/** The whole of it, with real servers where it asks some, and the command as a person runs it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { diagnose } from '../../src/app/doctor/doctor.ts';
import { identity } from '../../src/app/doctor/identity.ts';
import { adminListener, certificates } from '../../src/app/doctor/listeners.ts';
import { node } from '../../src/app/doctor/runtime.ts';
import { loadConfig } from '../../src/config.ts';
import { currentRuntime } from '../../src/transport/native.ts';
import { certificateFolder } from '../support/certificates.ts';
import { assertFixes, configOf, machine, SECRET, told } from './support.ts';

const quiet = (): void => undefined;
const LOG = { debug: quiet, info: quiet, warn: quiet, error: quiet };

async function serving(t: TestContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const { publicKey } = generateKeyPairSync('ed25519');
const JWKS = JSON.stringify({
  keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'EdDSA', use: 'sig' }],
});

test('settings that are not good are told whole, and the machine is looked at all the same', async (t) => {
  const loaded = loadConfig({ env: {}, text: 'limits: { depht: 3 }' });
  const root = machine(t, { 'proc/sys/net/core/somaxconn': '128' });
  const findings = await diagnose({ loaded, runtime: currentRuntime(), openFiles: 20_000, root, log: LOG });
  assertFixes(findings);
  assert.match(told(findings, 'settings').join(), /^fail [\s\S]*limits\.depht[\s\S]*did you mean depth\?/);
  assert.match(told(findings, 'somaxconn').join(), /^warn/);
  assert.match(told(findings, 'native-module').join(), /^ok/);
  assert.deepEqual(told(findings, 'open-files'), []);
});

test('Node', () => {
  const runtime = (version: string, abi: string) => ({
    platform: 'linux',
    arch: 'x64',
    version,
    abi,
    glibc: '2.36',
  });
  assert.equal(node(runtime('v18.20.0', '108')).status, 'fail');
  assert.equal(node(runtime('v22.1.0', '127')).status, 'ok');
  assert.match(node(runtime('v24.1.0', '137')).fix ?? '', /glibc 2\.38/);
});

test('the admin listener: loopback, a token, or neither', () => {
  const at = (admin: string) => adminListener(configOf(`admin: { ${admin} }`)).status;
  assert.equal(at('listen: 127.0.0.1:9090'), 'ok');
  assert.equal(at(`listen: "0.0.0.0:9090", token: ${SECRET.replaceAll(' ', '-')}`), 'ok');
  assert.equal(at('listen: "0.0.0.0:9090"'), 'warn');
});

test('certificates: days left, against tls.warnMs', (t) => {
  const folder = certificateFolder(t);
  const files = folder.write('one', folder.ca.issue('localhost', 48));
  const config = (warn: string) => configOf(JSON.stringify({ tls: { ...files, warnMs: warn } }));
  const [fine] = certificates(config('1d'), Date.now());
  assert.deepEqual([fine?.status, / in [12] days$/.test(fine?.says ?? '')], ['ok', true]);
  assert.equal(certificates(config('21d'), Date.now())[0]?.status, 'warn');
  const late = certificates(config('1d'), Date.now() + 3 * 24 * 3_600_000);
  assert.deepEqual([late[0]?.status, late.length], ['fail', 1]);
  assert.deepEqual(certificates(configOf(''), Date.now()), []);
});

test('key sets behind URLs are fetched, and not taken from the cache', async (t) => {
  let up = true;
  const url = await serving(t, (_, response) => void response.writeHead(up ? 200 : 500).end(JWKS));
  const cacheDir = machine(t, {});
  const auth = { issuer: 'https://i', audience: 'a', jwksUrl: `${url}/jwks`, jwks: { cacheDir } };
  const config = configOf(JSON.stringify({ auth }));
  const good = await identity(config);
  assertFixes(good);
  assert.deepEqual(told(good, 'key-set'), ['ok https://i url: 1 keys']);
  up = false;
  const bad = await identity(config);
  assertFixes(bad);
  assert.deepEqual(told(bad, 'key-set'), ['fail https://i url: it answered with status 500']);
});

test('the auth webhook has to refuse what was made up', async (t) => {
  let status = 401;
  const claims = JSON.stringify({ claims: { sub: 'anybody', exp: Math.floor(Date.now() / 1000) + 600 } });
  const url = await serving(t, (request, response) => {
    request.resume().on('end', () => response.writeHead(status).end(claims));
  });
  const config = configOf(JSON.stringify({ auth: { webhook: { url } } }));
  const statusOf = async (answered: number) => {
    status = answered;
    return told(await identity(config), 'auth-webhook')
      .join()
      .slice(0, 4);
  };
  assert.deepEqual([await statusOf(401), await statusOf(200), await statusOf(500)], ['ok i', 'fail', 'fail']);
});

test('no key at all is development mode', async () => {
  const loaded = loadConfig({ env: {}, text: '' });
  assert.ok(loaded.ok);
  assert.match(told(await identity(loaded.config), 'keys').join(), /^warn development mode/);
});

interface Ran {
  readonly code: number;
  readonly stdout: string;
}

function carillon(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Ran> {
  const root = join(import.meta.dirname, '../..');
  const built = existsSync(join(root, 'dist/cli.js'));
  const program = built ? ['dist/cli.js'] : ['--import', 'tsx', 'src/cli.ts'];
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...program, ...args],
      { cwd: root, env: { PATH: process.env['PATH'], ...env } },
      (error, stdout) => resolve({ code: error === null ? 0 : Number(error.code), stdout }),
    );
  });
}

test('the command: lines or JSON, and its exit codes', async (t) => {
  const file = join(machine(t, {}), 'bad.yaml');
  writeFileSync(file, 'limits: { depht: 3 }');
  const [plain, json, bad, unreachable, usage] = await Promise.all([
    carillon(['doctor'], { CARILLON_JWT_SECRET: SECRET }),
    carillon(['doctor', '--json'], { CARILLON_JWT_SECRET: SECRET }),
    carillon(['doctor', '--config', file], {}),
    carillon(['doctor'], {
      CARILLON_NATS_URL: 'nats://127.0.0.1:1',
      CARILLON_NATS__CONNECTTIMEOUTMS: '200ms',
    }),
    carillon(['doctor', '--jsno'], {}),
  ]);
  assert.deepEqual([plain.code, json.code, bad.code, unreachable.code, usage.code], [0, 0, 78, 1, 64]);
  assert.match(plain.stdout, /^ok {4}settings {8}good$/m);
  assert.match(plain.stdout, /\d+ ok, \d+ warn, 0 fail\n$/);
  const { ok, findings } = JSON.parse(json.stdout) as { ok: boolean; findings: { check: string }[] };
  assert.ok(ok && findings.some(({ check }) => check === 'native-module'));
  assert.match(unreachable.stdout, /^fail {2}nats .*cannot be reached.*\n {6}fix: /m);
});

test('carillon streams apply says so where NATS is away', async () => {
  const env = { CARILLON_NATS_URL: 'nats://127.0.0.1:1', CARILLON_NATS__STARTTIMEOUTMS: '1s' };
  assert.equal((await carillon(['streams', 'apply'], env)).code, 1);
});
