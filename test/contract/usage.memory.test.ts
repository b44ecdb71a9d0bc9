import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { STEPS } from '../../src/broker/usage.ts';
import { FileUsage } from '../../src/bus/memory/usage.ts';
import { OwnUsage } from '../../src/bus/usage/own.ts';
import { QUIET } from '../support/log.ts';
import { all, NOW, record, USAGE, usageContract } from './usage.ts';

async function folder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'carillon-usage-'));
}

function fileUsage(dir: string, clock = { now: () => NOW }): FileUsage {
  return new FileUsage({ dir, ageMs: 2 * STEPS.day, clock, log: QUIET });
}

usageContract(
  'in memory',
  async () => ({ store: () => new OwnUsage(USAGE.records), close: async () => {} }),
  {
    lasting: false,
  },
);

usageContract(
  'in files',
  async () => {
    const dir = await folder();
    return { store: () => fileUsage(dir), close: () => rm(dir, { recursive: true }) };
  },
  { lasting: true },
);

test('memory holds the newest records, not more than it may', async () => {
  const store = new OwnUsage(100);
  for (let at = 0; at < 1000; at++) await store.keep([record({ minute: at })]);
  const minutes = (await all(store)).map(({ minute }) => minute);
  assert.ok(minutes.length >= 100 && minutes.length <= 125, `${minutes.length}`);
  assert.equal(minutes.at(-1), 999);
});

async function used(context: TestContext): Promise<string> {
  const dir = await folder();
  context.after(() => rm(dir, { recursive: true }));
  const store = fileUsage(dir);
  await store.start();
  await store.keep([record({ minute: NOW })]);
  return dir;
}

const today = `${new Date(NOW).toISOString().slice(0, 10)}.jsonl`;

test('half a line that a crash has left takes no other with it', async (context) => {
  const dir = await used(context);
  await appendFile(join(dir, 'usage', today), '{"tenant":"ac');
  const store = fileUsage(dir);
  await store.start();
  await store.keep([record({ minute: NOW, incarnation: 'r2' })]);
  assert.deepEqual((await all(store)).map(({ incarnation }) => incarnation).sort(), ['r1', 'r2']);
});

test('a damaged file of the present minute is that minute lost, and no more', async (context) => {
  const dir = await used(context);
  await writeFile(join(dir, 'usage', 'present.json'), '[{"tenant"');
  const store = fileUsage(dir);
  await store.start();
  assert.equal((await all(store)).length, 1);
});

test('days older than usage.age are removed, once the day has changed', async (context) => {
  const dir = await used(context);
  const clock = { time: NOW, now: () => clock.time };
  const store = fileUsage(dir, clock);
  await store.start();
  clock.time = NOW + 3 * STEPS.day;
  await store.keep([record({ minute: clock.time })]);
  const left = (await readdir(join(dir, 'usage'))).filter((name) => name.endsWith('.jsonl'));
  assert.deepEqual(left, [`${new Date(clock.time).toISOString().slice(0, 10)}.jsonl`]);
});

test('a folder that cannot be written is said at the start', async (context) => {
  const dir = await folder();
  context.after(() => rm(dir, { recursive: true }));
  await writeFile(join(dir, 'usage'), '');
  await assert.rejects(fileUsage(dir).start(), /usage cannot be kept in .*usage \(state\.dir\)/);
});
