/** The programs as a person or an orchestrator meets them: output, exit codes, signals. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import { mintToken, secretSigner } from '../src/auth/mint.ts';
import { createVerifier } from '../src/auth/verifier.ts';
import { around, EC, options, SECRET } from './auth/support.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

interface Run {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Environment = Record<string, string>;

function start(program: string, args: readonly string[], env: Environment = {}): ChildProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('CARILLON_'));
  return spawn(process.execPath, [...programFile(program), ...args], {
    cwd: ROOT,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** The build where there is one, which is what users run and starts three times as fast; else the sources. */
function programFile(program: string): string[] {
  const built = `dist/${program}.js`;
  return existsSync(join(ROOT, built)) ? [built] : ['--import', 'tsx', `src/${program}.ts`];
}

async function finish(child: ChildProcess): Promise<Run> {
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      output[name] += text;
    });
  }
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, ...output };
}

/** A broker that a failing test does not leave behind. */
function started(t: TestContext, program: string, env: Environment): ChildProcess {
  const child = start(program, [], env);
  t.after(() => child.kill('SIGKILL'));
  return child;
}

function run(program: string, args: readonly string[], env: Environment = {}): Promise<Run> {
  return finish(start(program, args, env));
}

const FREE = { CARILLON_LISTEN: '127.0.0.1:0', CARILLON_ADMIN_LISTEN: '127.0.0.1:0' };

/** Resolves with the log line of that message. */
function logged(child: ChildProcess, message: string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    if (child.stdout === null) throw new Error('the child has no pipe');
    createInterface({ input: child.stdout }).on('line', (line) => {
      const fields = JSON.parse(line) as Record<string, unknown>;
      if (fields['msg'] === message) resolve(fields);
    });
    child.once('exit', (code) => reject(new Error(`ended with ${code} before "${message}"`)));
  });
}

test('help and version, of both programs', async () => {
  const [main, cli, nothing, token, version] = await Promise.all([
    run('main', ['--help']),
    run('cli', ['--help']),
    run('cli', []),
    run('cli', ['token', '--help']),
    run('main', ['--version']),
  ]);
  for (const { code, stderr } of [main, cli, nothing, token, version])
    assert.deepEqual([code, stderr], [0, '']);
  assert.match(main.stdout, /--check-config/);
  assert.match(cli.stdout, /carillon token --sub alice/);
  assert.equal(nothing.stdout, cli.stdout);
  assert.match(token.stdout, /--rooms/);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

test('wrong usage ends with 64 and says what was wrong', async () => {
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['main', ['--confg', 'x'], /--confg/],
    ['main', ['stray'], /stray/],
    ['cli', ['tokn'], /no command tokn/],
    ['cli', ['token'], /--sub is missing/],
    ['cli', ['keys', 'burn'], /no action burn on keys/],
    [
      'cli',
      ['token', '--sub', 'a', '--rooms', 'a=fly', '--secret', SECRET],
      /--rooms: entry 1 allows something other/,
    ],
  ];
  await Promise.all(
    cases.map(async ([program, args, expected]) => {
      const { code, stdout, stderr } = await run(program, args);
      assert.deepEqual([code, stdout], [64, ''], args.join(' '));
      assert.match(stderr, expected);
    }),
  );
});

test('a configuration that is not good ends with 78, on stderr, without its secrets', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-cli-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'bad.yaml');
  writeFileSync(
    file,
    'listen: 0.0.0.0:0\nlimits: { depht: 3 }\nauth: { keys: [{ kid: a, alg: HS256, secret: tell-nobody }] }',
  );
  const runs = await Promise.all([
    run('main', ['--check-config', '--config', file]),
    run('main', ['--config', file]),
    run('cli', ['check-config'], { CARILLON_CONFIG: file }),
  ]);
  for (const { code, stdout, stderr } of runs) {
    assert.deepEqual([code, stdout], [78, '']);
    assert.match(stderr, /limits\.depht \(bad\.yaml:2\)/);
    assert.match(stderr, /did you mean depth\?/);
    assert.doesNotMatch(stderr, /tell-nobody/);
  }
  const open = await run('main', [], { ...FREE, CARILLON_LISTEN: '0.0.0.0:0' });
  assert.equal(open.code, 78);
  assert.match(open.stderr, /auth\.keys[\s\S]*fix: +set auth\.keys or CARILLON_JWT_SECRET/);
});

test('the configuration that ships is good', async () => {
  const { code, stdout } = await run('cli', ['check-config', '--config', 'config/carillon.yaml']);
  assert.deepEqual([code, stdout], [0, 'The configuration is good.\n']);
});

test('carillon token makes what a broker takes', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-cli-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'ec.pem'), EC.signing.export({ type: 'pkcs8', format: 'pem' }));
  const env = { CARILLON_JWT_SECRET: SECRET, CARILLON_AUTH__ISSUER: 'me', CARILLON_AUTH__AUDIENCE: 'you' };
  const [simple, full, asymmetric, keyless] = await Promise.all([
    run('cli', ['token', '--sub', 'alice'], env),
    run(
      'cli',
      [
        'token',
        '--sub',
        'bob',
        '--tenant',
        't',
        '--rooms',
        'chat:**=join,pub;news:*',
        '--ttl',
        '10m',
        '--info',
        '{"n":1}',
        '--scope',
        'api',
      ],
      env,
    ),
    run('cli', [
      'token',
      '--sub',
      'carol',
      '--key',
      join(folder, 'ec.pem'),
      '--kid',
      'ec',
      '--issuer',
      'me',
      '--audience',
      'you',
    ]),
    run('cli', ['token', '--sub', 'dave']),
  ]);
  const keys = [{ kid: 'env', alg: 'HS256' as const, secret: SECRET }, EC.setting];
  const verifier = createVerifier(
    options({ keys, issuer: 'me', audience: ['you'], scopes: ['api'] }),
    around({ now: Date.now }),
  );
  const [alice, bob, carol] = await Promise.all(
    [simple, full, asymmetric].map(({ stdout }) => verifier.verify(stdout.trim())),
  );
  assert.ok(alice?.ok && bob?.ok && carol?.ok, JSON.stringify([alice, bob, carol]));
  const all = ['join', 'pub', 'presence', 'history'];
  assert.deepEqual(alice.identity.rooms, [{ match: '**', allow: all }]);
  assert.ok(Math.abs((alice.identity.exp ?? 0) - Date.now() / 1000 - 3600) < 60);
  const { exp: _, issuedAt, ...rest } = bob.identity;
  assert.ok(Math.abs((issuedAt ?? 0) - Date.now() / 1000) < 60);
  assert.deepEqual(rest, {
    user: 'bob',
    tenant: 't',
    rooms: [
      { match: 'chat:**', allow: ['join', 'pub'] },
      { match: 'news:*', allow: all },
    ],
    info: { n: 1 },
    scopes: ['api'],
  });
  assert.equal(carol.identity.user, 'carol');
  assert.equal(keyless.code, 78);
  assert.match(keyless.stderr, /no key is configured/);
});

test('carillon token makes nothing that a broker would refuse', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'carillon.yaml');
  const issuer = {
    issuer: 'b',
    audience: 'c',
    tenants: ['b'],
    keys: [{ kid: 'k', alg: 'HS256', secret: SECRET }],
  };
  writeFileSync(file, JSON.stringify({ revocation: { tokenLifeMs: '1h' }, auth: { issuers: [issuer] } }));
  const secret = ['--secret', SECRET];
  const inB = [...secret, '--config', file, '--issuer', 'b', '--audience', 'c'];
  const cases: readonly (readonly [readonly string[], RegExp | undefined])[] = [
    [[...secret, '--ttl', '30d'], undefined],
    [[...secret, '--ttl', '31d'], /exp .* more than 30 days \(revocation\.tokenLifeMs\).*--config FILE/],
    [['--ttl', '31d'], /exp .* more than 30 days/],
    [[...secret, '--config', file, '--ttl', '2h'], /more than 3600 s \(revocation\.tokenLifeMs\)/],
    [inB, /may not name this tenant/],
    [[...inB, '--tenant', 'b'], undefined],
    [[...inB, '--tenant', 'b', '--scope', 'api admin'], /may not grant the scope "api"/],
    [[...secret, '--sub', 'server'], /sub is a reserved name/],
  ];
  const env = { CARILLON_JWT_SECRET: SECRET };
  const runs = await Promise.all(cases.map(([args]) => run('cli', ['token', '--sub', 'ann', ...args], env)));
  for (const [at, { code, stdout, stderr }] of runs.entries()) {
    const [args, refusal] = cases[at] ?? [[], undefined];
    assert.equal(code, refusal === undefined ? 0 : 64, `${args.join(' ')}: ${stderr}`);
    if (refusal === undefined) assert.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    else assert.match(stderr, refusal);
  }
});

test('development mode: JSON lines on stdout, the notice with a working token on stderr, SIGINT ends with 0', async (t) => {
  const child = started(t, 'main', { ...FREE, CARILLON_LOG_LEVEL: 'error' });
  const finished = finish(child);
  const { listen, admin } = await logged(child, 'listening');
  assert.match(String(listen), /^127\.0\.0\.1:[1-9]\d*$/);
  assert.match(String(admin), /^127\.0\.0\.1:[1-9]\d*$/);
  assert.equal((await fetch(`http://${admin}/livez`)).status, 200);
  assert.equal((await fetch(`http://${listen}/`)).status, 200);
  child.kill('SIGINT');
  const { code, stdout, stderr } = await finished;
  assert.equal(code, 0);
  for (const line of stdout.trim().split('\n')) JSON.parse(line);
  const token = /TOKEN=(\S+)/.exec(stderr)?.[1] ?? '';
  assert.equal(token.split('.').length, 3);
  assert.ok(!stdout.includes(token));
  assert.match(stderr, new RegExp(`http://${listen}/`));
});

test('SIGTERM ends with 0, and the log says so', async (t) => {
  const child = started(t, 'main', { ...FREE, CARILLON_JWT_SECRET: SECRET });
  const finished = finish(child);
  await logged(child, 'listening');
  child.kill('SIGTERM');
  const { code, stdout, stderr } = await finished;
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /"msg":"stopped"/);
  assert.ok(!stdout.includes(SECRET));
});

test('a second signal ends a drain that takes long, with 1', async (t) => {
  // One client a second: five of them are not gone before the second signal comes.
  const child = started(t, 'main', { ...FREE, CARILLON_JWT_SECRET: SECRET, CARILLON_DRAIN__PERSECOND: '1' });
  const finished = finish(child);
  const { listen } = await logged(child, 'listening');
  const claims = { sub: 'a' };
  const token = await mintToken(secretSigner(SECRET), claims, { now: Date.now(), ttlSeconds: 60 });
  const headers = { Authorization: `Bearer ${token}` };
  const clients = Array.from(
    { length: 5 },
    () => new WebSocket(`ws://${listen}/connect`, 'chat.v1', { headers }),
  );
  await Promise.all(clients.map((client) => once(client, 'message')));
  // Their connections are cut, which is what is asked for here.
  for (const client of clients) client.on('error', () => undefined);
  const stopping = logged(child, 'stopping');
  child.kill('SIGTERM');
  await stopping;
  child.kill('SIGTERM');
  const { code, stdout } = await finished;
  assert.equal(code, 1);
  assert.match(stdout, /second signal/);
  assert.doesNotMatch(stdout, /"msg":"stopped"/);
});

test('an address that is taken: a fatal line that is written, and 1', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1');
  t.after(() => holder.close());
  await once(holder, 'listening');
  const address = holder.address();
  assert.ok(typeof address === 'object' && address !== null);
  const { code, stdout } = await run('main', [], {
    ...FREE,
    CARILLON_ADMIN_LISTEN: `127.0.0.1:${address.port}`,
  });
  assert.equal(code, 1);
  assert.match(stdout, /"level":"fatal".*EADDRINUSE/);
});
