import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '../../src/config.ts';

const NATS = 'nats: { url: "nats://127.0.0.1:4222" }';
const SECRET = 'x'.repeat(40);

function load(text: string, env: Record<string, string> = {}) {
  return loadConfig({ text, env: { CARILLON_JWT_SECRET: SECRET, ...env } });
}

test('one process by default; a number, or one per core, from the file and the environment', () => {
  const workers = (...input: Parameters<typeof load>) => {
    const result = load(...input);
    assert.ok(result.ok, JSON.stringify(result));
    return result.config.workers;
  };
  assert.equal(workers(''), 1);
  assert.equal(workers(`{ workers: 4, ${NATS} }`), 4);
  assert.equal(workers(`{ workers: auto, ${NATS} }`), 'auto');
  assert.equal(workers(`{ workers: 4, ${NATS} }`, { CARILLON_WORKERS: 'auto' }), 'auto');
  assert.equal(workers('', { CARILLON_WORKERS: '8', CARILLON_NATS_URL: 'nats://127.0.0.1:4222' }), 8);
});

test('several workers without NATS are refused, with the command that helps', () => {
  for (const workers of ['2', 'auto']) {
    const result = load(`workers: ${workers}`);
    assert.ok(!result.ok && result.problems.length === 1, JSON.stringify(result));
    const [{ key, value, expected } = { key: '', value: '', expected: '' }] = result.problems;
    assert.deepEqual([key, value], ['workers', workers]);
    assert.match(expected, /`nats-server -js -a 127\.0\.0\.1`/);
  }
});

test('what is wrong has its key, its value and what is expected', () => {
  const problem = (text: string) => {
    const result = load(text);
    assert.ok(!result.ok && result.problems.length === 1, JSON.stringify(result));
    const [{ key, value, expected }] = result.problems as [(typeof result.problems)[0]];
    return `${key}=${value}: ${expected}`;
  };
  for (const wrong of ['0', '65', '-1', '1.5', 'many'])
    assert.match(problem(`workers: ${wrong}`), /^workers=.*: a whole number from 1 to 64, or auto$/);
  assert.match(
    problem('supervisor: { restartMinMs: 10s, restartMaxMs: 1s }'),
    /^supervisor.restartMinMs=.*at most supervisor.restartMaxMs/,
  );
  const name = 'n'.repeat(61);
  assert.match(
    problem(`{ workers: 2, ${NATS}, node: { serverId: ${name} } }`),
    /^node.serverId=.*at most 60 characters/,
  );
  assert.ok(load(`{ node: { serverId: ${name} } }`).ok, 'of one process it may be longer');
});
