/** Nodes, servers and lines that fail; the embedded cluster has none of them. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { Cluster } from '../../../../src/broker/cluster.ts';
import { SETTINGS, STATE, until } from '../../../contract/cluster/subject.ts';
import { QUIET } from '../../../support/log.ts';
import { newPrefix } from '../../../support/nats/bus.ts';
import { NatsCluster } from '../../../support/nats/cluster.ts';
import { Line } from '../../../support/nats/line.ts';
import { type NodeSetup, startNode, type TestNode } from '../../../support/nats/nodes.ts';

const single = await NatsCluster.start(1);
after(() => single.close());

const LIMIT_MS = SETTINGS.heartbeatMs * SETTINGS.missed;

async function nodes(
  context: TestContext,
  count: number,
  setup: NodeSetup,
  urls = single.urls,
): Promise<TestNode[]> {
  const started = await Promise.all(Array.from({ length: count }, () => startNode(urls, setup)));
  context.after(() => Promise.all(started.map((node) => node.close())));
  return started;
}

async function child(context: TestContext, prefix: string, name: string): Promise<ChildProcess> {
  const script = new URL('../../../support/nats/node-process.ts', import.meta.url);
  const node = fork(script, [single.urls[0] ?? '', prefix, name], { execArgv: ['--import', 'tsx'] });
  context.after(() => node.kill('SIGKILL'));
  await once(node, 'message');
  return node;
}

function changes(cluster: Cluster, of: string): string[] {
  const seen: string[] = [];
  cluster.watchNodes(({ node }, change) => node === of && change !== 'changed' && seen.push(change));
  return seen;
}

function agree(started: readonly TestNode[], store: string): boolean {
  const all = started.map(({ cluster }) =>
    JSON.stringify([...cluster.store(store).entries()].map(({ key, value }) => [key, value]).sort()),
  );
  return new Set(all).size === 1;
}

test('a killed node is down once within three heartbeats for all others, and up again after its restart', async (context) => {
  const prefix = newPrefix();
  const started = await nodes(context, 3, { options: { prefix } });
  const seen = started.map(({ cluster }) => changes(cluster, 'victim'));
  const victim = await child(context, prefix, 'victim');
  assert.deepEqual(seen, [['up'], ['up'], ['up']]);
  const incarnation = started[0]?.cluster.nodes().find(({ node }) => node === 'victim')?.incarnation;
  victim.kill('SIGKILL');
  const took = await until('down', () => seen.every((list) => list.at(-1) === 'down'), LIMIT_MS + 1000);
  assert.ok(took > LIMIT_MS - SETTINGS.heartbeatMs - 50, `down after ${took} ms is too soon`);
  await sleep(500);
  assert.deepEqual(seen, [
    ['up', 'down'],
    ['up', 'down'],
    ['up', 'down'],
  ]);
  const asked = await started[0]?.cluster.ask('downs', 0, 500);
  assert.equal(asked?.missing.includes('victim'), false, 'who is down is not missed');
  await child(context, prefix, 'victim');
  assert.deepEqual(seen[0], ['up', 'down', 'up']);
  assert.notEqual(
    started[0]?.cluster.nodes().find(({ node }) => node === 'victim')?.incarnation,
    incarnation,
  );
});

test('a node that hangs is down, comes back, and has not lost the others by its own pause', async (context) => {
  const prefix = newPrefix();
  const [here] = (await nodes(context, 2, { options: { prefix } })) as [TestNode, TestNode];
  const seen = changes(here.cluster, 'sleeper');
  const sleeper = await child(context, prefix, 'sleeper');
  sleeper.kill('SIGSTOP');
  await until('down', () => seen.at(-1) === 'down', LIMIT_MS + 1000);
  await sleep(500);
  sleeper.kill('SIGCONT');
  await until('up', () => seen.at(-1) === 'up', 2000);
  assert.deepEqual(seen, ['up', 'down', 'up']);
  await sleep(LIMIT_MS);
  assert.deepEqual(await here.cluster.askNode('sleeper', 'downs', 0, 1000), { ok: true, answer: [] });
});

test('who leaves says so; two of one name are told of', async (context) => {
  const prefix = newPrefix();
  const errors: string[] = [];
  const log = { ...QUIET, error: (_fields: object, message: string) => errors.push(message) };
  const [here] = (await nodes(context, 1, { options: { prefix }, log })) as [TestNode];
  const seen = changes(here.cluster, 'short');
  const short = await startNode(single.urls, { options: { prefix }, node: 'short' });
  await short.close();
  await until('down at once', () => seen.length === 2, 150);
  const twin = await startNode(single.urls, { options: { prefix }, node: here.cluster.node });
  await twin.close();
  assert.match(errors.join(), /same node\.serverId/);
});

test('a node that was cut off makes its stores whole: changes, deletes, expiries; reads go on meanwhile', async (context) => {
  const prefix = newPrefix();
  const [server] = single.urls;
  const line = await Line.to(server ?? '');
  context.after(() => line.close());
  const [there] = (await nodes(context, 1, { options: { prefix } })) as [TestNode];
  const [cut] = (await nodes(context, 1, { options: { prefix, discover: false, pingIntervalMs: 500 } }, [
    line.url,
  ])) as [TestNode];
  const [far, near] = [there.cluster.store('a'), cut.cluster.store('a')];
  for (const key of ['same', 'changed', 'deleted', 'expires'])
    await far.put(key, 1, key === 'expires' ? { ttlMs: 1200 } : {});
  await until('there', () => near.size === 4);
  const links: boolean[] = [];
  cut.cluster.watchConnected((connected) => links.push(connected));
  const downs = changes(cut.cluster, there.cluster.node);
  line.away();
  await until('noticed', () => !cut.cluster.connected, 5000);
  assert.deepEqual(await near.put('x', 1), { ok: false, why: 'unavailable' });
  assert.equal(cut.cluster.tell('x', 1), 'unavailable');
  const asked = await cut.cluster.ask('x', 1, 2000);
  assert.ok(asked.missing.includes(there.cluster.node));
  await far.put('changed', 2);
  await far.put('new', 3);
  await far.delete('deleted');
  await sleep(1300);
  assert.deepEqual(
    [...near.entries()].map(({ key, value }) => [key, value]),
    [
      ['same', 1],
      ['changed', 1],
      ['deleted', 1],
    ],
    'read on, and what was due has gone',
  );
  assert.ok(cut.cluster.figures().storesAgeMs > 1000);
  line.back();
  await until('back', () => cut.cluster.connected, 5000);
  await until('whole', () => agree([there, cut], 'a'), 1000);
  assert.deepEqual(
    new Map([...near.entries()].map(({ key, value }) => [key, value])),
    new Map([
      ['same', 1],
      ['changed', 2],
      ['new', 3],
    ]),
  );
  await until('known to be whole', () => cut.cluster.figures().storesAgeMs === 0);
  assert.deepEqual([links, downs], [[false, true], []], 'its own deafness is no silence of others');
});

test('four nodes count together by changes over a revision: none is lost', async (context) => {
  const started = await nodes(context, 4, { options: { prefix: newPrefix() } });
  const increment = async ({ cluster }: TestNode): Promise<void> => {
    const store = cluster.store('count');
    for (;;) {
      const { value = 0, revision = 0 } = store.get('n') ?? {};
      const stored = await store.put('n', (value as number) + 1, { revision });
      if (stored.ok) return;
      assert.equal(stored.why, 'conflict');
    }
  };
  await Promise.all(
    started.map(async (node) => {
      for (let n = 0; n < 25; n++) await increment(node);
    }),
  );
  await until(
    'all agree',
    () => started.every(({ cluster }) => cluster.store('count').get('n')?.value === 100),
    1000,
  );
});

test('what expires goes on all four nodes by itself, and from the server', async (context) => {
  const prefix = newPrefix();
  const started = await nodes(context, 4, { options: { prefix } });
  const gone: string[] = [];
  for (const { cluster } of started)
    cluster.store('bans').watch(({ entry }) => entry ?? gone.push(cluster.node));
  await started[0]?.cluster.store('bans').put('k', 1, { ttlMs: 700 });
  await until('there', () => started.every(({ cluster }) => cluster.store('bans').size === 1), 500);
  await until('gone everywhere', () => gone.length === 4, 1500);
  const connection = await connect({ servers: single.urls });
  context.after(() => connection.close());
  const streams = (await jetstreamManager(connection)).streams;
  const name = `${prefix.toUpperCase()}_STATE`;
  assert.equal((await streams.info(name)).state.messages, 1);
  const began = performance.now();
  while ((await streams.info(name)).state.messages > 0 && performance.now() - began < 12_000)
    await sleep(200);
  assert.equal((await streams.info(name)).state.messages, 0, 'the server has forgotten it');
});

test('a stream that was deleted is made again and given back what it held', async (context) => {
  const prefix = newPrefix();
  const started = await nodes(context, 3, { options: { prefix } });
  const [one, two] = started as [TestNode, TestNode, TestNode];
  for (let n = 0; n < 5; n++) await one.cluster.store('bans').put(`k${n}`, n);
  await until('all there', () => agree(started, 'bans') && two.cluster.store('bans').size === 5);
  const connection = await connect({ servers: single.urls });
  context.after(() => connection.close());
  await (await jetstreamManager(connection)).streams.delete(`${prefix.toUpperCase()}_STATE`);
  assert.ok((await two.cluster.store('bans').put('after', 1)).ok);
  await until('all have all', () => agree(started, 'bans') && one.cluster.store('bans').size === 6, 8000);
  const late = await startNode(single.urls, { options: { prefix } });
  context.after(() => late.close());
  assert.equal(late.cluster.store('bans').size, 6);
});

test('kill -9 of the server that leads and of the one that a node is on: nothing is lost, nobody is down', async (context) => {
  const three = await NatsCluster.start(3);
  context.after(() => three.close());
  const options = { prefix: newPrefix() };
  const settings = { ...SETTINGS, heartbeatMs: 2000 };
  const started = await nodes(
    context,
    4,
    { options, settings, limits: { ...STATE, entries: 1000 } },
    three.urls,
  );
  const downs = started.flatMap(({ cluster }) =>
    started.map((other) => changes(cluster, other.cluster.node)),
  );
  const [writer] = started as [TestNode];
  const stored: string[] = [];
  for (const round of [0, 1, 2]) {
    const put = async (n: number) => {
      const key = `k${round}-${n}`;
      if ((await writer.cluster.store('a').put(key, n)).ok) stored.push(key);
    };
    const writes = Array.from({ length: 20 }, (_, n) => sleep(n * 20).then(() => put(n)));
    await sleep(200);
    await three.server(round).kill();
    await Promise.all(writes);
    await three.up();
  }
  await until('all agree', () => agree(started, 'a'), 5000);
  const kept = new Set([...writer.cluster.store('a').entries()].map(({ key }) => key));
  assert.deepEqual(
    stored.filter((key) => !kept.has(key)),
    [],
  );
  assert.ok(stored.length >= 30, `${stored.length} of 60 were stored`);
  assert.deepEqual(
    downs.flat().filter((change) => change === 'down'),
    [],
  );
});

test('without JetStream each node has stores of its own, and says so', async (context) => {
  const plain = await NatsCluster.start(1, { jetstream: false });
  context.after(() => plain.close());
  const warnings: string[] = [];
  const log = { ...QUIET, warn: (_fields: object, message: string) => warnings.push(message) };
  const [one, two] = (await nodes(context, 2, { options: { prefix: newPrefix() }, log }, plain.urls)) as [
    TestNode,
    TestNode,
  ];
  assert.match(warnings.join(), /cannot keep policies/);
  assert.ok((await one.cluster.store('a').put('k', 1)).ok);
  assert.deepEqual([one.cluster.store('a').size, two.cluster.store('a').size], [1, 0]);
  assert.equal(one.cluster.nodes().length, 2);
});
