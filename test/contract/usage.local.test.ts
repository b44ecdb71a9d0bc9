import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { STEPS } from '../../src/broker/usage.ts';
import type { HubLine } from '../../src/bus/local/line.ts';
import { LocalUsage } from '../../src/bus/local/usage.ts';
import { FileUsage } from '../../src/bus/memory/usage.ts';
import { RunningHub } from '../support/local-hub.ts';
import { QUIET } from '../support/log.ts';
import { all, NOW, record, usageContract } from './usage.ts';

async function kept(lines: number) {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-usage-'));
  const clock = { now: () => NOW };
  const usage = new FileUsage({ dir, ageMs: 2 * STEPS.day, clock, log: QUIET });
  const hub = await RunningHub.start({ usage });
  const ready: HubLine[] = [];
  for (let at = 0; at < lines; at++) ready.push(await hub.line());
  const close = async () => {
    for (const line of ready) line.close();
    await hub.close();
    await rm(dir, { recursive: true });
  };
  return { lines: ready, close };
}

usageContract(
  'by the hub of the workers',
  async () => {
    const { lines, close } = await kept(20);
    return { store: () => new LocalUsage(lines.pop() as HubLine), close };
  },
  { lasting: true },
);

test('usage: the present minute of one worker does not take the place of another’s; a dead one’s stays', async () => {
  const { lines, close } = await kept(3);
  const [one, other, reader] = lines.map((line) => new LocalUsage(line)) as [
    LocalUsage,
    LocalUsage,
    LocalUsage,
  ];
  await one.journal([record({ node: 'w1', minute: NOW })]);
  await other.journal([record({ node: 'w2', minute: NOW })]);
  const nodes = async () => [...new Set((await all(reader)).map(({ node }) => node))].sort();
  assert.deepEqual(await nodes(), ['w1', 'w2']);
  lines[0]?.close();
  await other.journal([record({ node: 'w2', minute: NOW, messagesIn: 2 })]);
  assert.deepEqual(await nodes(), ['w1', 'w2']);
  await close();
});
