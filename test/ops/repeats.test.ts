/** What a log leaves out, and that it says so; and levels of single tenants. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type pino from 'pino';
import { TenantLevels } from '../../src/ops/levels.ts';
import { createLog } from '../../src/ops/log.ts';
import { type LeftOut, Repeats } from '../../src/ops/repeats.ts';

interface Line {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

function capture(level: pino.LevelWithSilent, repeats: number) {
  const lines: Line[] = [];
  const log = createLog(level, { write: (line) => void lines.push(JSON.parse(line) as Line) }, repeats);
  return { log, lines, of: (msg: string) => lines.filter((line) => line.msg === msg) };
}

const LEFT_OUT = 'log lines left out';

test('of the same message and code so many are written in a second, and the others told', () => {
  let now = 0;
  const told: LeftOut[] = [];
  const repeats = new Repeats(
    3,
    () => now,
    (leftOut) => told.push(leftOut),
  );
  const written = (code: string, count: number): number =>
    Array.from({ length: count }, () => repeats.next('refused', code)).filter((what) => what === 'write')
      .length;
  assert.equal(written('forbidden', 10), 3);
  assert.equal(written('bad_json', 2), 2);
  assert.deepEqual(told, []);
  now = 999;
  assert.equal(written('forbidden', 1), 0);
  now = 1000;
  assert.equal(written('forbidden', 1), 1);
  assert.deepEqual(told, [{ message: 'refused', code: 'forbidden', count: 8 }]);
});

test('kinds are bounded: what is more than can be told apart counts together', () => {
  const told: LeftOut[] = [];
  const repeats = new Repeats(
    1,
    () => 0,
    (leftOut) => told.push(leftOut),
  );
  for (let at = 0; at < 100_000; at++) repeats.next('x', String(at));
  repeats.end();
  assert.deepEqual(told, [{ message: 'others', code: '', count: 100_000 - 1000 - 1 }]);
});

test('a log tells within a second what it has left out, whatever its level, children included', async () => {
  const { log, of } = capture('error', 2);
  const session = log.child({ session: 's1' });
  for (let at = 0; at < 5; at++) session.error({ code: 'internal' }, 'failed');
  assert.equal(of('failed').length, 2);
  assert.equal(of(LEFT_OUT).length, 0);
  await new Promise((resolve) => setTimeout(resolve, 1100));
  const [told] = of(LEFT_OUT);
  assert.deepEqual([told?.['message'], told?.['code'], told?.['count']], ['failed', 'internal', 3]);
});

test('audit lines and fatal ones are never left out, and before the end the rest is told', () => {
  const { log, lines, of } = capture('info', 1);
  for (let at = 0; at < 3; at++) {
    log.info({ audit: true }, 'API call');
    log.info({}, 'noise');
  }
  log.fatal({}, 'the end');
  assert.equal(of('API call').length, 3);
  assert.equal(of('noise').length, 1);
  assert.deepEqual(
    lines.slice(-2).map(({ msg, count }) => [msg, count]),
    [
      [LEFT_OUT, 2],
      ['the end', undefined],
    ],
  );
});

test('0 leaves nothing out', () => {
  const { log, of } = capture('info', 0);
  for (let at = 0; at < 200; at++) log.info({}, 'noise');
  assert.equal(of('noise').length, 200);
});

test('a tenant has a level of its own until it is taken back', () => {
  const { log, lines } = capture('warn', 0);
  const levels = new TenantLevels(log);
  const say = (): string[] => {
    lines.length = 0;
    for (const tenant of ['a', 'b', undefined])
      for (const level of ['debug', 'info', 'warn', 'error'] as const) levels[level]({ tenant }, level);
    return lines.map(({ tenant, msg }) => `${tenant ?? '-'} ${msg}`);
  };
  const others = ['b warn', 'b error', '- warn', '- error'];
  levels.set('a', 'debug');
  assert.deepEqual(say(), ['a debug', 'a info', 'a warn', 'a error', ...others]);
  levels.set('a', 'silent');
  assert.deepEqual(say(), others);
  levels.set('a', undefined);
  assert.deepEqual(say(), ['a warn', 'a error', ...others]);
});
