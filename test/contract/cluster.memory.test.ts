import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { MemoryCluster } from '../../src/bus/memory/cluster.ts';
import { QUIET } from '../support/log.ts';
import { SETTINGS, STATE, STATUS } from './cluster/subject.ts';
import { clusterContract, type Setup } from './cluster.ts';

function node(setup: Setup, dir: string | undefined, clock = { now: Date.now }): MemoryCluster {
  const parts = { ...setup, node: 'n1', incarnation: `${Math.random()}`, status: () => STATUS };
  return new MemoryCluster({ ...parts, dir, clock, log: QUIET });
}

clusterContract(
  'embedded',
  async (setup) => {
    const dir = await mkdtemp(join(tmpdir(), 'carillon-state-'));
    const clock = { time: Date.now(), now: () => clock.time };
    let cluster = node(setup, dir, clock);
    await cluster.start();
    return {
      cluster,
      peer: cluster,
      advance: (ms) => {
        clock.time += ms;
      },
      restart: async () => {
        await cluster.close();
        cluster = node(setup, dir, clock);
        await cluster.start();
        return cluster;
      },
      close: async () => {
        await cluster.close();
        await rm(dir, { recursive: true });
      },
    };
  },
  { nodes: 1 },
);

async function folder(context: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-state-'));
  context.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

const SETUP: Setup = { settings: SETTINGS, limits: STATE };

test('embedded: without a folder nothing is kept', async () => {
  const cluster = node(SETUP, undefined);
  await cluster.start();
  assert.ok((await cluster.store('a').put('k', 1)).ok);
  await cluster.close();
});

test('embedded: a folder that is not there is made; the file is nobody else’s to read', async (context) => {
  const dir = join(await folder(context), 'deep', 'er');
  const cluster = node(SETUP, dir);
  await cluster.start();
  assert.ok((await cluster.store('a').put('k', 1)).ok);
  await cluster.close();
  assert.match(await readFile(join(dir, 'state.json'), 'utf8'), /"k"/);
});

test('embedded: a damaged file stops the start, and says which and what to do', async (context) => {
  const dir = await folder(context);
  const cluster = node(SETUP, dir);
  await cluster.start();
  await cluster.store('a').put('k', 1);
  await cluster.close();
  const path = join(dir, 'state.json');
  const good = await readFile(path, 'utf8');
  for (const bad of [
    '',
    good.slice(0, -3),
    '{}',
    good.replace('state 1', 'state 2'),
    good.replace(/"revision":1/, '"revision":"1"'),
  ]) {
    await writeFile(path, bad);
    await assert.rejects(node(SETUP, dir).start(), (error: Error) => {
      assert.match(error.message, /state\.json \(state\.dir\).*damaged.*Put back a copy/);
      return true;
    });
  }
  await writeFile(path, good);
  const again = node(SETUP, dir);
  await again.start();
  assert.equal(again.store('a').get('k')?.value, 1);
  await again.close();
});

test('embedded: what cannot be written is unavailable; it goes with the next that can', async (context) => {
  const dir = await folder(context);
  const cluster = node(SETUP, dir);
  await cluster.start();
  const store = cluster.store('a');
  await store.put('k', 1);
  await rm(dir, { recursive: true });
  assert.deepEqual(await store.put('k', 2), { ok: false, why: 'unavailable' });
  await mkdir(dir);
  assert.ok((await store.put('other', 3)).ok);
  await cluster.close();
  const again = node(SETUP, dir);
  await again.start();
  assert.deepEqual([again.store('a').get('k')?.value, again.store('a').get('other')?.value], [2, 3]);
  await again.close();
});

test('embedded: puts at once share a write, and each is kept when it is answered', async (context) => {
  const dir = await folder(context);
  const cluster = node({ ...SETUP, limits: { ...STATE, entries: 1000 } }, dir);
  await cluster.start();
  const store = cluster.store('a');
  await Promise.all(Array.from({ length: 500 }, (_, n) => store.put(`k${n}`, n)));
  const saved = await readFile(join(dir, 'state.json'), 'utf8');
  for (let n = 0; n < 500; n++) assert.ok(saved.includes(`"k${n}"`), `k${n}`);
  await cluster.close();
});
