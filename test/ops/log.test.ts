import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type pino from 'pino';
import { createLog, maskSecrets } from '../../src/ops/log.ts';

const HEAD = 'eyJhbGciOiJIUzI1NiJ9';
const JWT = `${HEAD}.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0`;

interface Line {
  readonly [field: string]: unknown;
}

function capture(level: pino.LevelWithSilent = 'debug'): {
  log: pino.Logger;
  lines: () => Line[];
  written: () => string;
} {
  let all = '';
  const log = createLog(level, {
    write: (line) => {
      all += line;
    },
  });
  return { log, written: () => all, lines: () => parse(all) };
}

function parse(lines: string): Line[] {
  return lines
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

test('a line is JSON with an ISO time, the level as a word, the fields and the message', () => {
  const { log, lines } = capture();
  log.info({ room: 'lobby', bytes: 12 }, 'joined');
  const [line] = lines();
  assert.equal(line?.['level'], 'info');
  assert.equal(line?.['msg'], 'joined');
  assert.equal(line?.['room'], 'lobby');
  assert.equal(line?.['bytes'], 12);
  assert.match(String(line?.['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test('child loggers carry the ids of their connection, and may add a room', () => {
  const { log, lines } = capture();
  const session = log.child({ session: 's1', tenant: 'acme', user: 'alice' });
  session.child({ room: 'lobby' }).warn({ code: 'forbidden' }, 'refused');
  const { session: id, tenant, user, room, code } = lines()[0] as Line;
  assert.deepEqual(
    { id, tenant, user, room, code },
    { id: 's1', tenant: 'acme', user: 'alice', room: 'lobby', code: 'forbidden' },
  );
});

test('lines under the level are not written', () => {
  const { log, written } = capture('warn');
  log.info({}, 'quiet');
  assert.equal(written(), '');
});

for (const field of ['token', 'authorization', 'secret', 'ticket', 'password', 'cookie']) {
  test(`a field named ${field} is masked at any depth, whatever its type`, () => {
    const { log, written } = capture();
    const value = `plain-${field}-value`;
    log
      .child({ [field]: value })
      .info({ [field]: value, a: { [field]: [value] }, b: { c: { [field]: { d: value } } } }, 'x');
    log.info({ a: { b: { c: { d: { e: { [field]: value } } } } } }, 'deeper than the path list');
    log.info({ [field.toUpperCase()]: value, [`nats_${field}`]: value }, 'other spelling');
    log.info({}, `a frame in a message: ${JSON.stringify({ type: 'refresh', [field]: value })}`);
    assert.doesNotMatch(written(), new RegExp(value));
    assert.equal(written().trimEnd().split('\n').length, 4);
  });
}

test('credentials are masked inside messages, errors and fields of other names, and the line stays JSON', () => {
  const { log, lines, written } = capture();
  log.info({}, `refused ${JWT} twice`);
  log.info({ protocols: ['chat.v1', `bearer.${JWT}`] }, 'offered');
  log.info({ protocols: 'chat.v1, ticket.c2VjcmV0.c2ln' }, 'offered');
  log.info({ header: `Bearer ${JWT}` }, 'header');
  log.info({ url: `/connect?token=${JWT}&x=1`, full: 'wss://h.example/connect?token=opaque' }, 'query');
  log.info({ server: 'nats://me:hunter2@10.0.0.1:4222' }, 'user info');
  log.error({ err: new Error(`bad "token": ${JWT}\nsecond line`) }, 'failed');
  for (const secret of [HEAD, 'c2lnbmF0dXJl', 'c2VjcmV0', 'opaque', 'hunter2']) {
    assert.ok(!written().includes(secret), `${secret} stands in ${written()}`);
  }
  assert.equal(lines().length, 7);
  assert.equal(lines()[4]?.['url'], '/connect?[redacted]');
  assert.equal(lines()[5]?.['server'], 'nats://[redacted]@10.0.0.1:4222');
});

test('what is no credential stays readable', () => {
  const line =
    '{"room":"live:a.b.c","address":"127.0.0.1:8080","user":"jane.doe","reason":"token_expired","msg":"is the bearer token missing? yes/no"}';
  assert.equal(maskSecrets(line), line);
});

test('a hostile line of 64 KiB is masked in well under a second: a quadratic pattern takes many', () => {
  const patterns = [
    'eyJ',
    'eyJ.',
    '/',
    '/?',
    'bearer.',
    'bearer ',
    '"token":"',
    '\\"token\\":\\"',
    '://',
    ':// @',
    '-a',
    '?a/',
  ];
  for (const pattern of patterns) {
    const line = pattern.repeat((64 * 1024) / pattern.length);
    const start = performance.now();
    maskSecrets(line);
    assert.ok(performance.now() - start < 1000, JSON.stringify(pattern));
  }
});

/** A process with `log` on its stdout. */
function start(script: string): ChildProcessByStdio<null, Readable, Readable> {
  const module = fileURLToPath(new URL('../../src/ops/log.ts', import.meta.url));
  const source = `import { createLog } from ${JSON.stringify(module)}; const log = createLog('info'); ${script}`;
  return spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function linesOf(stdout: Readable): Promise<Line[]> {
  return parse(await text(stdout));
}

test('fatal writes everything that waits, even when the process dies right after it', async () => {
  const child = start(
    `for (let i = 0; i < 500; i++) log.info({ i }, 'before'); log.fatal({}, 'the end'); process.kill(process.pid, 'SIGKILL');`,
  );
  const lines = await linesOf(child.stdout);
  assert.equal(lines.length, 501);
  assert.equal(lines.at(-1)?.['msg'], 'the end');
});

test('process.exit right after a line does not lose it', async () => {
  const child = start(`for (let i = 0; i < 500; i++) log.info({ i }, 'before'); process.exit(7);`);
  const exit = once(child, 'exit');
  assert.equal((await linesOf(child.stdout)).length, 500);
  assert.deepEqual(await exit, [7, null]);
});

test('a stalled reader of stdout does not hold the loop, and the lines dropped meanwhile are counted', async () => {
  const child = start(`
    for (let i = 0; i < 12000; i++) log.info({ i }, 'x'.repeat(1000));
    setTimeout(() => process.stderr.end('the loop turned'), 100);
  `);
  // Nothing has read stdout up to here, and a pipe holds 64 KiB.
  assert.equal(await text(child.stderr), 'the loop turned');
  const lines = await linesOf(child.stdout);
  const note = lines.find((line) => line['msg'] === 'stdout was stalled: log lines dropped');
  const written = lines.filter((line) => typeof line['i'] === 'number').length;
  assert.ok(written > 0 && written < 12_000);
  assert.equal(note?.['dropped'], 12_000 - written);
});
