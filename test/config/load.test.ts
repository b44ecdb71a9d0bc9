import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pingSeconds } from '../../src/config/heartbeat.ts';
import { reportProblems } from '../../src/config/report.ts';
import { type Config, type ConfigProblem, loadConfig } from '../../src/config.ts';

type Input = Parameters<typeof loadConfig>[0];

const SECRET = 'thirty-two bytes or more of test secret';

function good(input: Partial<Input>): Config {
  const result = loadConfig({ env: {}, ...input });
  assert.ok(result.ok, JSON.stringify(result));
  return result.config;
}

function problems(input: Partial<Input>): readonly ConfigProblem[] {
  const result = loadConfig({ env: {}, ...input });
  assert.ok(!result.ok, 'the settings were taken');
  return result.problems;
}

function keysOf(input: Partial<Input>): string[] {
  return problems(input).map((problem) => problem.key);
}

test('defaults: development mode on loopback, the two room patterns, resolved limits', () => {
  const config = good({ openFiles: 20_000 });
  assert.equal(config.development, true);
  assert.deepEqual(config.listen, { host: '127.0.0.1', port: 8080 });
  assert.equal(config.limits.connections, 19_000);
  assert.equal(config.page.enabled, true);
  const [live, durable] = config.rooms;
  assert.equal(live?.matches('live:a:b'), true);
  assert.equal(live?.history, undefined);
  assert.equal(live?.overflow, 'skip');
  assert.deepEqual(durable?.history, { count: 200, bytes: 4 * 1024 * 1024, ageMs: 600_000 });
  assert.equal(durable?.overflow, 'backfill');
});

test('the config is frozen to its depths', () => {
  const config = good({ text: `auth: { keys: [{ kid: a, alg: HS256, secret: "${SECRET}" }] }` });
  const open: string[] = [];
  const walk = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return;
    if (!Object.isFrozen(value)) open.push(path);
    for (const [key, child] of Object.entries(value)) walk(child, `${path}.${key}`);
  };
  walk(config, 'config');
  assert.deepEqual(open, []);
});

test('a key ends development mode, and with it the page', () => {
  const config = good({ env: { CARILLON_JWT_SECRET: SECRET } });
  assert.equal(config.development, false);
  assert.equal(config.page.enabled, false);
  assert.deepEqual(config.auth.keys, [{ kid: 'env', alg: 'HS256', secret: SECRET }]);
});

test('environment over file over defaults', () => {
  const config = good({
    text: 'limits: { depth: 8, keys: 99 }\nlog: { level: debug }',
    env: { CARILLON_LIMITS__DEPTH: '9', CARILLON_LIMITS__FRAME_BYTES: '1MiB', CARILLON_LOG_LEVEL: 'warn' },
  });
  assert.deepEqual(
    [
      config.limits.depth,
      config.limits.keys,
      config.limits.batch,
      config.limits.frameBytes,
      config.log.level,
    ],
    [9, 99, 256, 1_048_576, 'warn'],
  );
});

test('environment: lists, entries of lists, whole sections, the switch', () => {
  const env = {
    CARILLON_ORIGINS: '["https://A.example.com:443", "http://*.example.com:8080"]',
    CARILLON_AUTH__KEYS: '[{ kid: a, alg: HS256, secret: not-yet }]',
    CARILLON_AUTH__KEYS__0__SECRET: SECRET,
    CARILLON_ADMIN__TOKEN: '0123456789012345',
    CARILLON_ROOMS: '[{ match: "a:*", history: {} }, { match: "**" }]',
    CARILLON_LIMITS: 'off',
    CARILLON_LIMITS__BATCH: '7',
    CARILLON_AUTH__AUDIENCE: '[x, y]',
  };
  const config = good({ env });
  assert.deepEqual(config.origins, ['https://a.example.com', 'http://*.example.com:8080']);
  assert.equal(config.auth.keys[0]?.secret, SECRET);
  assert.equal(config.admin.token, '0123456789012345');
  assert.deepEqual(config.auth.audience, ['x', 'y']);
  assert.deepEqual(
    config.rooms.map((room) => room.history?.count),
    [200, undefined],
  );
  assert.deepEqual([config.limits.rates, config.limits.batch], [false, 7]);
});

test('a secret arrives as it stands, whatever YAML would make of it', () => {
  for (const secret of [
    '1234567890123456789012345678901234567890',
    `[${SECRET}`,
    `${SECRET} # 5`,
    `*${SECRET}`,
  ]) {
    assert.equal(good({ env: { CARILLON_JWT_SECRET: secret } }).auth.keys[0]?.secret, secret);
    const env = { CARILLON_AUTH__KEYS: '[{ kid: a, alg: HS256 }]', CARILLON_AUTH__KEYS__0__SECRET: secret };
    assert.equal(good({ env }).auth.keys[0]?.secret, secret);
  }
});

test('an unknown key is refused, with the one that was meant', () => {
  const [key] = problems({ text: 'limits:\n  frameByte: 4KiB\n' });
  assert.equal(key?.key, 'limits.frameByte');
  assert.equal(key?.fix, 'did you mean frameBytes?');
  assert.equal(key?.source, 'config:2');
  const [variable] = problems({ env: { CARILLON_LIMITS__FRAMEBYTE: '4KiB' } });
  assert.equal(variable?.fix, 'did you mean CARILLON_LIMITS__FRAMEBYTES?');
  assert.deepEqual(keysOf({ env: { CARILLON_JWT_SECRT: SECRET } }), ['CARILLON_JWT_SECRT']);
  assert.deepEqual(keysOf({ text: 'colour: red' }), ['colour']);
  assert.deepEqual(keysOf({ text: '__proto__: { a: 1 }' }), ['__proto__']);
});

test('variables that are none of ours: ignored with a warning, and Kubernetes service links without', () => {
  const links = {
    CARILLON_SERVICE_HOST: '10.0.0.1',
    CARILLON_SERVICE_PORT: '8080',
    CARILLON_SERVICE_PORT_WS: '8080',
    CARILLON_PORT: 'tcp://10.0.0.1:8080',
    CARILLON_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
    CARILLON_PORT_8080_TCP_ADDR: '10.0.0.1',
    CARILLON_ADMIN_SERVICE_HOST: '10.0.0.2',
  };
  const result = loadConfig({ env: { ...links, CARILLON_SOMETHING: 'x' }, openFiles: 20_000 });
  assert.ok(result.ok);
  assert.deepEqual(result.warnings, ['CARILLON_SOMETHING is no setting of Carillon: ignored']);
});

test('an empty variable, an empty section and an empty file mean nothing', () => {
  good({ env: { CARILLON_LISTEN: '', CARILLON_JWT_SECRET: '', CARILLON_CONFIG: '' } });
  good({ text: 'limits:\n  # depth: 3\nadmin:\n' });
  good({ text: '' });
});

test('two variables for one key are refused', () => {
  assert.deepEqual(
    keysOf({ env: { CARILLON_ADMIN_LISTEN: '127.0.0.1:1', CARILLON_ADMIN__LISTEN: '127.0.0.1:2' } }),
    ['CARILLON_ADMIN__LISTEN'],
  );
});

test('every listener reachable from elsewhere needs a key', () => {
  for (const listen of [
    '0.0.0.0:8080',
    '[::]:8080',
    '10.0.0.1:0',
    'broker.internal:8080',
    '[::ffff:10.0.0.1]:1',
  ]) {
    const [problem, ...rest] = problems({ env: { CARILLON_LISTEN: listen } });
    assert.equal(problem?.key, 'auth.keys', listen);
    assert.match(problem?.fix ?? '', /auth\.keys or CARILLON_JWT_SECRET/);
    assert.deepEqual(rest, []);
    assert.equal(good({ env: { CARILLON_LISTEN: listen, CARILLON_JWT_SECRET: SECRET } }).development, false);
  }
  for (const listen of ['127.0.0.1:0', '127.9.9.9:1', 'localhost:1', '[::1]:1', '[::ffff:127.0.0.1]:1']) {
    assert.equal(good({ env: { CARILLON_LISTEN: listen } }).development, true, listen);
  }
});

test('addresses are host:port', () => {
  assert.deepEqual(good({ text: 'listen: "[0:0::1]:0"' }).listen, { host: '::1', port: 0 });
  for (const listen of [
    '8080',
    ':8080',
    '127.0.0.1',
    '127.0.0.1:',
    '::1:8080',
    '1.2.3:1',
    '1.2.3.4.5:1',
    '256.1.1.1:1',
    'a_b:1',
    '127.0.0.1:65536',
    '[::g]:1',
    'http://127.0.0.1:1',
    '127.0.0.1:1/x',
    '-a:1',
  ]) {
    assert.deepEqual(keysOf({ text: `listen: ${JSON.stringify(listen)}` }), ['listen'], listen);
  }
});

test('the two listeners are two', () => {
  assert.deepEqual(keysOf({ env: { CARILLON_ADMIN_LISTEN: '127.0.0.1:8080' } }), ['admin.listen']);
  good({ env: { CARILLON_LISTEN: '127.0.0.1:0', CARILLON_ADMIN_LISTEN: '127.0.0.1:0' } });
});

test('sizes, durations and counts: units, bounds, nothing in between', () => {
  const config = good({
    text: 'limits: { frameBytes: 100kB, upgradeTimeoutMs: 1.5s, dedupeWindowMs: 250, batch: "3" }',
  });
  const { frameBytes, upgradeTimeoutMs, dedupeWindowMs, batch } = config.limits;
  assert.deepEqual([frameBytes, upgradeTimeoutMs, dedupeWindowMs, batch], [100_000, 1500, 250, 3]);
  for (const value of [
    '-1',
    '64 kibibytes',
    'true',
    '[1]',
    '.5KiB',
    '1.0000001KiB',
    '""',
    '99GiB',
    '.inf',
    '.nan',
  ]) {
    assert.deepEqual(keysOf({ text: `limits: { frameBytes: ${value} }` }), ['limits.frameBytes'], value);
  }
  for (const value of ['5', '10x', '-1s', '2 minutes', '400d']) {
    assert.deepEqual(
      keysOf({ text: `rooms: [{ match: "**", history: { age: ${value} } }]` }),
      ['rooms[0].history.age'],
      value,
    );
  }
});

test('heartbeat: the ping comes as measured on uWebSockets.js, and before a proxy gives up', () => {
  const measured = { 8: 4, 12: 8, 16: 8, 28: 20, 30: 24, 32: 16, 36: 20, 40: 24, 60: 44 };
  for (const [idle, ping] of Object.entries(measured)) assert.equal(pingSeconds(Number(idle)), ping, idle);
  assert.equal(good({ text: 'heartbeat: { idleSeconds: 60s }' }).node.heartbeatSeconds, 44);
  good({ text: 'heartbeat: { idleSeconds: 72 }' });
  // 1 to 7 and more than 960 end the process inside uWebSockets.js.
  for (const idle of ['0', '7', '73', '961', '30.5', '2m']) {
    assert.deepEqual(
      keysOf({ text: `heartbeat: { idleSeconds: ${idle} }` }),
      ['heartbeat.idleSeconds'],
      idle,
    );
  }
});

test('settings are checked against one another', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['limits: { payloadBytes: 128KiB }', 'limits.payloadBytes'],
    ['limits: { bufferedSoftBytes: 4MiB }', 'limits.bufferedSoftBytes'],
    ['limits: { inboundQueueBytes: 128KiB }', 'limits.frameBytes'],
    ['limits: { historyPageBytes: 8MiB }', 'limits.historyPageBytes'],
    ['reconnect: { minMs: 30s }', 'reconnect.minMs'],
    ['drain: { windowMs: 25s }', 'drain.windowMs'],
    ['presence: { sketch: 65536 }', 'presence.sketch'],
    ['cluster: { messageBytes: 1KiB }', 'presence.sketch'],
    ['proxyProtocol: v2', 'proxyProtocol'],
    ['rooms: []', 'rooms'],
    ['rooms: [{ match: "**" }, { match: "a" }]', 'rooms[1].match'],
    ['rooms: [{ match: "a" }, { match: "a" }]', 'rooms[1].match'],
    ['rooms: [{ match: "a**" }]', 'rooms[0].match'],
    ['rooms: [{ match: "a", overflow: backfill }]', 'rooms[0].overflow'],
    ['rooms: [{ match: "a", history: { bytes: 1GiB } }]', 'rooms[0].history.bytes'],
    ['auth: { defaultRooms: [{ match: "**", allow: [read] }] }', 'auth.defaultRooms[0].allow[0]'],
    ['origins: [example.com]', 'origins[0]'],
    ['origins: ["https://a.example.com/path"]', 'origins[0]'],
    ['missingOrigin: maybe', 'missingOrigin'],
    ['nats: { url: "http://127.0.0.1:4222" }', 'nats.url'],
    ['log: { level: loud }', 'log.level'],
    ['node: { serverId: "a b" }', 'node.serverId'],
  ];
  for (const [text, key] of cases) assert.deepEqual(keysOf({ text }), [key], text);
});

test('the PROXY protocol is refused with what to use instead', () => {
  const [problem] = problems({ text: 'proxyProtocol: v2' });
  assert.match(problem?.expected ?? '', /its address; use an HTTP proxy and trustedProxies/);
  good({ text: 'proxyProtocol: off' });
});

test('connections leave 1,000 descriptors to the rest', () => {
  assert.deepEqual(keysOf({ text: 'limits: { connections: 2001 }', openFiles: 3000 }), [
    'limits.connections',
  ]);
  assert.equal(good({ text: 'limits: { connections: 2000 }', openFiles: 3000 }).limits.connections, 2000);
  assert.deepEqual(keysOf({ openFiles: 1000 }), ['limits.connections']);
  assert.equal(good({ openFiles: Number.POSITIVE_INFINITY }).limits.connections, 10_000);
  assert.equal(good({ openFiles: Number.NaN }).limits.connections, 10_000);
});

test('files: the config, a secret and a token, relative to the config', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'c.yaml');
  writeFileSync(join(folder, 's'), `${SECRET}\n`);
  writeFileSync(file, 'auth: { keys: [{ kid: f, alg: HS256, secretFile: s }] }\nadmin: { tokenFile: s2 }');
  assert.deepEqual(keysOf({ file }), ['admin.tokenFile']);
  writeFileSync(join(folder, 's2'), 'admin-token-of-the-test\n');
  const config = good({ env: { CARILLON_CONFIG: file } });
  assert.equal(config.auth.keys[0]?.secret, SECRET);
  assert.equal(config.admin.token, 'admin-token-of-the-test');
  const [missing] = problems({ file: join(folder, 'none.yaml') });
  assert.match(missing?.expected ?? '', /ENOENT/);
});

test('keys: exactly one material, a fitting one, each kid once', () => {
  const key = (entry: string) => ({ text: `auth: { keys: [${entry}] }` });
  assert.deepEqual(keysOf(key('{ kid: a, alg: HS256 }')), ['auth.keys[0]']);
  assert.deepEqual(keysOf(key(`{ kid: a, alg: HS256, secret: "${SECRET}", secretFile: x }`)), [
    'auth.keys[0]',
  ]);
  const short = key('{ kid: a, alg: HS256, secret: thirty-one-bytes-is-one-too-few }');
  assert.deepEqual(keysOf({ text: `listen: 0.0.0.0:8080\n${short.text}` }), ['auth.keys[0].secret']);
  const warned = loadConfig({ env: {}, ...short });
  assert.ok(
    warned.ok && warned.warnings.some((warning) => warning.includes('can be guessed')),
    'on loopback',
  );
  assert.deepEqual(keysOf(key(`{ kid: a, alg: RS256, secret: "${SECRET}" }`)), ['auth.keys[0].secret']);
  assert.deepEqual(keysOf(key(`{ kid: a, alg: none, secret: "${SECRET}" }`)), ['auth.keys[0].alg']);
  assert.deepEqual(keysOf(key(`{ alg: HS256, secret: "${SECRET}" }`)), ['auth.keys[0].kid']);
  const twice = `{ kid: a, alg: HS256, secret: "${SECRET}" }, { kid: a, alg: HS256, secret: "${SECRET}2" }`;
  assert.deepEqual(keysOf(key(twice)), ['auth.keys[1].kid']);
  const env = { CARILLON_JWT_SECRET: SECRET };
  assert.deepEqual(keysOf({ ...key(`{ kid: env, alg: HS256, secret: "${SECRET}" }`), env }), [
    'auth.keys[1].kid',
  ]);
});

test('no secret is ever told, however it was misplaced', () => {
  const marker = 'S3CRET-marker';
  const inputs: Partial<Input>[] = [
    { text: `listen: 0.0.0.0:80\nauth: { keys: [{ kid: a, alg: HS256, secret: ${marker} }] }` },
    { text: `auth: { keys: [{ kid: a, alg: HS256, secert: ${marker} }] }` },
    { text: `auth: { keys: { a: ${marker} } }` },
    { text: `auth: { keys: [${marker}] }` },
    { text: `auth: { keys: ${marker} }` },
    { text: `auth: ${marker}` },
    { text: `auth: { keys: [{ kid: a, alg: HS256, secretFile: ${marker} }] }` },
    { text: `auth: { keys: [{ kid: a, alg: HS256, jwk: ${marker} }] }` },
    {
      text: `auth: { keys: [{ kid: a, alg: EdDSA, jwk: { kty: OKP, crv: Ed25519, d: ${marker}, x: ${marker} } }] }`,
    },
    { text: `auth: { keys: [{ kid: a, alg: HS256, secret: *${marker} }] }` },
    { text: `auth: { keys: [{ kid: a, alg: HS256, secret: "${marker} }] }` },
    { text: `auth:\n  keys: [{ secret: ${marker}\n  ]\n x: "${marker}` },
    { text: `admin: { token: "${marker} with spaces" }` },
    { text: `admin: { tokenFile: ${marker} }` },
    { text: `admin: ${marker}` },
    { text: `nats: { url: "nats://user:${marker}@" }` },
    { text: marker },
    { env: { CARILLON_JWT_SECRET: marker, CARILLON_LISTEN: '0.0.0.0:80' } },
    { env: { CARILLON_JWT_SECRT: marker } },
    { env: { CARILLON_ADMIN_TOKEN: `${marker} ` } },
    { env: { CARILLON_NATS_URL: `nats://user:${marker}@:x` } },
    { env: { CARILLON_AUTH__KEYS: marker } },
    { env: { CARILLON_AUTH__KEYS__0__SECRET: marker, CARILLON_LISTEN: '0.0.0.0:80' } },
  ];
  for (const input of inputs) {
    const found = problems(input);
    const told = JSON.stringify(found) + reportProblems(found);
    assert.ok(!told.includes(marker), `${JSON.stringify(input)} told ${told}`);
  }
});

test('the report names key, place, value, expectation and fix', () => {
  const report = reportProblems(problems({ text: 'limits:\n  depht: 3\n  batch: no\n' }));
  assert.match(report, /2 problems/);
  assert.match(report, /limits\.depht \(config:2\)\n.*not shown.*\n.*a known key\n.*did you mean depth\?/);
  assert.match(
    report,
    /limits\.batch \(config:3\)\n\s+value: +"no"\n\s+expected: +a whole number from 1 to 10000/,
  );
});
