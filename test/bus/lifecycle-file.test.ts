/** The record of sessions of a node without NATS: a real broker and its files. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { LifecycleEvent } from '../../src/broker/lifecycle/event.ts';
import { FileLifecycle } from '../../src/bus/memory/lifecycle.ts';
import { Client, settled } from '../e2e/conformance/client.ts';
import { startBroker } from '../support/broker.ts';
import { QUIET } from '../support/log.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'carillon-lifecycle-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const event = (at: number, run = 'r'): LifecycleEvent => ({
  id: `s:1:joined:${at}`,
  event: 'joined',
  at,
  node: 'n',
  run,
  tenant: 't',
});

const settings = { fileBytes: 2000, files: 3, queue: 10_000 };

test('files are begun anew when they are large, the oldest go, and a line cut short is skipped', async () => {
  const first = new FileLifecycle({ dir, settings, log: QUIET });
  await first.start();
  for (let at = 0; at < 100; at++) {
    first.append(event(at));
    await first.flushed();
  }
  assert.deepEqual(readdirSync(dir).sort(), [
    'lifecycle.jsonl',
    'lifecycle.jsonl.1',
    'lifecycle.jsonl.2',
    'undelivered.jsonl',
  ]);
  const kept = (await first.read('r')).map(({ at }) => at);
  assert.deepEqual(
    kept,
    Array.from({ length: kept.length }, (_, index) => 100 - kept.length + index),
  );
  assert.ok(kept.length > 20 && kept.length < 100);
  await first.close();
  appendFileSync(join(dir, 'lifecycle.jsonl'), '{"id":"cut');
  const next = new FileLifecycle({ dir, settings, log: QUIET });
  await next.start();
  next.append(event(1, 'later'));
  await next.flushed();
  assert.deepEqual(
    (await next.read('later')).map(({ at }) => at),
    [1],
  );
  assert.equal((await next.read('r')).at(-1)?.at, 99);
  await next.close();
});

test('a start adds no line of its own', async () => {
  for (let run = 0; run < 3; run++) {
    const log = new FileLifecycle({ dir, settings, log: QUIET });
    await log.start();
    log.append(event(run));
    await log.close();
  }
  const lines = readFileSync(join(dir, 'lifecycle.jsonl'), 'utf8').split('\n');
  assert.deepEqual(
    lines.map((line) => line === ''),
    [false, false, false, true],
  );
});

test('a broker killed: the next one tells how its sessions ended, once', async () => {
  const config = { state: { dir }, lifecycle: { enabled: true, graceMs: '1s' } };
  const recorded = () =>
    readFileSync(join(dir, 'lifecycle.jsonl'), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as LifecycleEvent);
  const first = await startBroker({ config });
  const ann = await Client.connect(first.url, { token: await first.token({ sub: 'ann' }) });
  await ann.join('talk');
  await settled(() => assert.equal(recorded().length, 3));
  await settled(() => assert.match(readFileSync(join(dir, 'state.json'), 'utf8'), /"lifecycle":\[\{/));
  await first.kill();
  for (const expected of [6, 6]) {
    const next = await startBroker({ config });
    try {
      await settled(() => assert.equal(recorded().length, expected), 10_000);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      assert.equal(recorded().length, expected);
    } finally {
      await next.stop();
    }
  }
  assert.deepEqual(
    recorded().map(({ event: kind, inferred }) => [kind, inferred]),
    [
      ['connected', undefined],
      ['joined', undefined],
      ['occupied', undefined],
      ['left', true],
      ['expired', true],
      ['vacated', true],
    ],
  );
});

test('enabled without a place for the events, it does not start', async () => {
  await assert.rejects(startBroker({ config: { lifecycle: { enabled: true } } }), /state\.dir/);
});
