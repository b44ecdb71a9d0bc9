import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { STEPS, type UsageStore } from '../../src/broker/usage.ts';
import { natsOptions } from '../../src/bus/nats/options.ts';
import { processTimers, type Timers } from '../../src/bus/nats/timers.ts';
import { NatsUsage } from '../../src/bus/nats/usage/store.ts';
import { QUIET } from '../support/log.ts';
import { natsBus, newPrefix } from '../support/nats/bus.ts';
import { NatsCluster } from '../support/nats/cluster.ts';
import { LIVE } from '../support/rooms.ts';
import { all, book, NOW, publishes, record, rows, USAGE, usageContract } from './usage.ts';

const servers = await NatsCluster.start(1);
const operator = await connect({ servers: servers.urls });
const manager = await jetstreamManager(operator);
after(async () => {
  await operator.close();
  await servers.close();
});

interface Shared {
  readonly prefix: string;
  store(node: string, incarnation: string, timers?: Timers): NatsUsage;
  close(): Promise<void>;
}

async function shared(): Promise<Shared> {
  const prefix = newPrefix();
  const bus = natsBus(servers.urls, { options: { prefix }, policies: [LIVE] });
  await bus.start();
  const options = natsOptions({ servers: servers.urls, prefix });
  const common = { link: () => bus.link(), options, settings: USAGE, clock: { now: () => NOW }, log: QUIET };
  return {
    prefix,
    store: (node, incarnation, timers = processTimers) =>
      new NatsUsage({ ...common, node, incarnation, timers }),
    close: () => bus.close(),
  };
}

usageContract('NATS', shared, { lasting: true });

async function both(context: { after(task: () => Promise<void>): void }, timers?: Timers) {
  const base = await shared();
  context.after(() => base.close());
  const here = base.store('here', 'h1', timers);
  const there = base.store('there', 't1');
  await Promise.all([here.start(), there.start()]);
  return { ...base, here, there, name: `${base.prefix.toUpperCase()}_USAGE` };
}

test('two nodes make one ledger', async (context) => {
  const { here, there } = await both(context);
  const clock = { now: () => NOW };
  const [one, other] = [book(here, clock, 'h1'), book(there, clock, 't1')];
  for (const { ledger } of [one, other]) ledger.tick(NOW, () => true);
  publishes(one.ledger.usageOf('acme'), 3);
  publishes(other.ledger.usageOf('acme'), 4);
  await Promise.all([one.book.flush(), other.book.flush()]);
  const query = { from: NOW, to: NOW + STEPS.minute };
  const found = rows(await one.book.report(query, 'minute'));
  assert.deepEqual(
    found.map(({ tenant, messagesIn }) => [tenant, messagesIn]),
    [['acme', 7]],
  );
});

test('a record that is stored again, as after an ack that got lost, is one message of the stream', async (context) => {
  const { here, name } = await both(context);
  const again = [record(), record({ tenant: 'b' })];
  for (let times = 0; times < 3; times++) assert.ok(await here.keep(again));
  const { state } = await manager.streams.info(name, { subjects_filter: '>' });
  assert.equal(state.messages, 2);
});

test('the journal takes one message, however often it is written', async (context) => {
  const { here, name } = await both(context);
  await here.keep([record()]);
  for (let times = 1; times <= 5; times++) await here.journal([record({ minute: NOW, messagesIn: times })]);
  assert.equal((await manager.streams.info(name)).state.messages, 2, 'and no record went with it');
});

/** What a node does every few minutes it does when asked to. */
function byHand(): Timers & { run(): void } {
  const tasks: (() => void)[] = [];
  return {
    ...processTimers,
    every: (ms, task) => {
      if (ms < STEPS.minute) return processTimers.every(ms, task);
      tasks.push(task);
      return () => undefined;
    },
    run: () => {
      for (const task of tasks) task();
    },
  };
}

async function journalsOf(name: string): Promise<number> {
  const info = await manager.streams.info(name, { subjects_filter: '>' });
  return Object.keys(info.state.subjects ?? {}).filter((subject) => subject.includes('.tenant.')).length;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, 'within 5 s');
    await new Promise((resume) => setTimeout(resume, 20));
  }
}

test('what a dead node has left of its last minute becomes records, once; what a living one has does not', async (context) => {
  const timers = byHand();
  const { here, there, name } = await both(context, timers);
  const old = NOW - STEPS.hour;
  await there.journal([record({ tenant: 'dead', minute: old, incarnation: 't1' })]);
  const living = record({ tenant: 'alive', minute: NOW, incarnation: 't2' });
  await there.keep([]);
  timers.run();
  await until(async () => (await journalsOf(name)) === 1);
  timers.run();
  const found = await all(here);
  assert.deepEqual(
    found.map(({ tenant }) => tenant),
    ['dead'],
  );
  await there.journal([living]);
  timers.run();
  await new Promise((resume) => setTimeout(resume, 200));
  assert.equal(await journalsOf(name), 1);
  assert.equal((await all(here)).length, 2);
});

test('without manageStreams the start says what is missing', async (context) => {
  const prefix = newPrefix();
  const bus = natsBus(servers.urls, { options: { prefix }, policies: [LIVE] });
  context.after(() => bus.close());
  await bus.start();
  const options = natsOptions({ servers: servers.urls, prefix, manageStreams: false });
  const parts = {
    link: () => bus.link(),
    options,
    settings: USAGE,
    node: 'n',
    incarnation: 'i',
    clock: Date,
  };
  await assert.rejects(new NatsUsage({ ...parts, log: QUIET }).start(), /_USAGE is missing.*manageStreams/);
});

test('a stream that somebody deletes is made anew, and nothing that waits is lost', async (context) => {
  const { here, name } = await both(context);
  const { ledger, book: keeper } = book(here, { now: () => NOW }, 'h1');
  await manager.streams.delete(name);
  ledger.tick(NOW - STEPS.minute, () => true);
  publishes(ledger.usageOf('acme'), 5);
  ledger.tick(NOW, () => true);
  assert.equal(await keeper.flush(), false);
  assert.equal(keeper.figures().waiting, 1);
  await until(() => keeper.flush());
  assert.deepEqual(keeper.figures(), {
    stored: 1,
    failures: keeper.figures().failures,
    dropped: 0,
    waiting: 0,
  });
  assert.deepEqual(
    (await all(here)).map(({ messagesIn }) => messagesIn),
    [5],
  );
});

test('servers without JetStream: each node has its own', async (context) => {
  const plain = await NatsCluster.start(1, { jetstream: false });
  context.after(() => plain.close());
  const prefix = newPrefix();
  const bus = natsBus(plain.urls, { options: { prefix }, policies: [LIVE] });
  context.after(() => bus.close());
  await bus.start();
  const options = natsOptions({ servers: plain.urls, prefix });
  const store: UsageStore = new NatsUsage({
    link: () => bus.link(),
    options,
    settings: USAGE,
    node: 'n',
    incarnation: 'i',
    clock: Date,
    log: QUIET,
  });
  await store.start();
  assert.ok(await store.keep([record()]));
  assert.equal((await all(store)).length, 1);
});
