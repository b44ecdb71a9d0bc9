/** `carillon explain access` and the admin call behind it, against a real broker and the answers that a client gets. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import { WebSocket } from 'ws';
import { ACTIONS } from '../../src/broker/ports.ts';
import { type RunningBroker, startBroker } from '../support/broker.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const ADMIN = 'an-admin-token-that-only-this-test-uses';
const SECRET = 'a key that only this test uses, 32 bytes or more';

const config = {
  auth: {
    keys: [{ kid: 'k', alg: 'HS256', secret: SECRET }],
    defaultRooms: [{ match: 'user:${sub}:**', allow: ['join', 'history'] }],
  },
  rooms: [{ match: 'user:**', history: { count: 10, age: '1m', bytes: '1MiB' } }, { match: 'team:**' }],
  tenants: {
    acme: {
      rooms: [
        { match: 'team:${info.team}', allow: ACTIONS },
        { match: 'team:*', deny: ['presence'] },
      ],
    },
  },
};

let broker: RunningBroker;
let folder: string;
let file: string;

before(async () => {
  broker = await startBroker({ env: { CARILLON_ADMIN_TOKEN: ADMIN }, config });
  folder = mkdtempSync(join(tmpdir(), 'carillon-explain-'));
  file = join(folder, 'carillon.yaml');
  writeFileSync(file, JSON.stringify(config));
});

after(async () => {
  rmSync(folder, { recursive: true });
  await broker?.stop();
});

function token(claims: object, exp: string | number = '1h'): Promise<string> {
  return new SignJWT({ sub: 'ann', tenant: 'acme', ...claims })
    .setProtectedHeader({ alg: 'HS256', kid: 'k' })
    .setIssuedAt()
    .setExpirationTime(exp)
    .sign(new TextEncoder().encode(SECRET));
}

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function cli(...args: string[]): Promise<Run> {
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith('CARILLON_'));
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      ['dist/cli.js', 'explain', ...args],
      { cwd: ROOT, env: Object.fromEntries(env) },
      (_, stdout, stderr) => done({ code: child.exitCode ?? -1, stdout, stderr }),
    );
    child.stdin?.end(args.includes('-') ? 'not-a-token\n' : '');
  });
}

const online = () => ['--admin', broker.adminUrl, '--admin-token', ADMIN];

async function explained(body: object, authorization = `Bearer ${ADMIN}`) {
  const response = await fetch(`${broker.adminUrl}/admin/v1/explain-access`, {
    method: 'POST',
    headers: { authorization },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** What a client is answered that does it. */
async function tried(jwt: string, frames: readonly object[]): Promise<(string | undefined)[]> {
  const socket = new WebSocket(broker.url, 'chat.v1', { headers: { authorization: `Bearer ${jwt}` } });
  const answers = new Map<number, string | undefined>();
  await new Promise<void>((done, failed) => {
    socket.on('error', failed);
    socket.on('open', () => frames.map((frame, id) => socket.send(JSON.stringify({ ...frame, id }))));
    socket.on('message', (data) => {
      for (const frame of [JSON.parse(String(data))].flat()) {
        if (typeof frame.id === 'number') answers.set(frame.id, frame.code);
        if (answers.size === frames.length) done();
      }
    });
  });
  socket.close();
  return frames.map((_, id) => answers.get(id));
}

test('C2.4.1 C7.8 the explanation says what a client with the token is answered', async () => {
  const jwt = await token({ info: { team: 'red' } });
  const rooms = ['user:ann:x', 'user:bob:x', 'team:red', 'team:blue', '@ann', '@bob', '@echo', 'nowhere'];
  const asked = rooms.flatMap((room) => ACTIONS.map((action) => ({ action, room })));
  const frames = asked.map(({ action, room }) => ({ type: action, room, payload: 1 }));
  const codes = await tried(jwt, frames);
  let allowed = 0;
  for (const [at, question] of asked.entries()) {
    const { status, body } = await explained({ token: jwt, ...question });
    assert.equal(status, 200);
    assert.equal(body['code'], codes[at], `${JSON.stringify(question)}: ${JSON.stringify(body)}`);
    assert.equal(body['decision'], codes[at] === undefined ? 'allow' : 'deny');
    if (codes[at] === undefined) allowed++;
  }
  // join and history of one's own, all but presence of the team's, an echo. Inboxes are no rooms of this config.
  assert.equal(allowed, 6);
});

test('only administrators may ask; what is asked for is checked', async () => {
  const question = { token: 'x', action: 'join', room: 'a' };
  assert.equal((await explained(question, 'Bearer no')).status, 401);
  assert.equal((await explained(question, `Bearer ${await token({ scope: 'api' })}`)).status, 403);
  assert.equal((await explained({ ...question, action: 'read' })).status, 400);
  const { body } = await explained(question);
  assert.deepEqual(
    [body['decision'], body['code'], body['rule']],
    ['deny', 'unauthorized', { kind: 'token' }],
  );
});

test('the command: by a config file, by a broker, the same answer; exit codes', async () => {
  const jwt = await token({ info: { team: 'red' } });
  const args = ['access', '--token', jwt, '--action', 'join', '--room', 'user:ann:x', '--json'];
  const [offline, asked] = [await cli(...args, '--config', file), await cli(...args, ...online())];
  assert.deepEqual([offline.code, offline.stderr], [0, '']);
  assert.deepEqual(JSON.parse(offline.stdout), JSON.parse(asked.stdout));
  assert.deepEqual(JSON.parse(offline.stdout).rule, {
    kind: 'entry',
    list: 'auth.defaultRooms',
    index: 0,
    match: 'user:${sub}:**',
    substituted: 'user:ann:**',
  });
  const denied = await cli(
    'access',
    '--token',
    jwt,
    '--action',
    'presence',
    '--room',
    'team:red',
    ...online(),
  );
  assert.equal(denied.code, 2);
  assert.match(denied.stdout, /^deny: "presence" in "team:red" for "ann" of tenant acme \(forbidden\)\n/);
  assert.match(denied.stdout, /entry 1 of the tenant's policy \(rooms\) denies "presence" in team:\*/);
});

test('the command: faults of the token, of usage, of the broker', async () => {
  const access = ['access', '--action', 'pub', '--room', 'team:red', '--config', file, '--token'];
  const expired = await cli(...access, await token({}, Math.floor(Date.now() / 1000) - 60));
  assert.equal(expired.code, 2);
  assert.match(expired.stdout, /\(token_expired\)\n {2}the token/);
  const unfilled = await cli(...access, await token({}));
  assert.match(
    unfilled.stdout,
    /entry 0 of policy, team:\$\{info\.team\}, matches nothing: info\.team is missing/,
  );
  const piped = await cli(...access, '-');
  assert.match(piped.stdout, /\(unauthorized\)\n {2}the token is not a well-formed JWT/);
  const usage = await cli('access', '--token', 'x', '--room', 'a', '--action', 'read');
  assert.deepEqual([usage.code, /--action is none of join/.test(usage.stderr)], [64, true]);
  const closed = await cli(...access, 'x', '--admin', 'http://127.0.0.1:1');
  assert.deepEqual([closed.code, /does not answer/.test(closed.stderr)], [1, true]);
  const refused = await cli(...access, 'x', '--admin', broker.adminUrl);
  assert.deepEqual([refused.code, /answered 401/.test(refused.stderr)], [1, true]);
});
