/** A stream that has lost its end: a disk put back as it was, or a power cut before it was synced. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import type { NatsOptions } from '../../../src/bus/nats/options.ts';
import { fill, history, opened, publish, replay, seqsOf } from '../../contract/bus/probe.ts';
import { natsBus, newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { putBack, snapshot } from '../../support/nats/disk.ts';
import { Line } from '../../support/nats/line.ts';
import { durable, LIVE, roomRef } from '../../support/rooms.ts';

const figure = (bus: NatsBus, name: string): number => bus.health().figures[name] ?? -1;

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 30_000; !(await holds()); await sleep(20))
    if (Date.now() > deadline) assert.fail(`waited in vain for ${what}`);
}

class Stage {
  readonly cluster: NatsCluster;
  readonly prefix = newPrefix();
  readonly #context: TestContext;

  constructor(context: TestContext, cluster: NatsCluster) {
    this.#context = context;
    this.cluster = cluster;
  }

  static async set(context: TestContext, size: 1 | 3 = 1): Promise<Stage> {
    const cluster = await NatsCluster.start(size);
    context.after(() => cluster.close());
    return new Stage(context, cluster);
  }

  get stream(): string {
    return `${this.prefix.toUpperCase()}_0`;
  }

  /** Not closed by the test's end where it is closed before: a second close does nothing. */
  async broker(servers = this.cluster.urls, options: Partial<NatsOptions> = {}): Promise<NatsBus> {
    const all = { prefix: this.prefix, shards: 1, discover: false, auditEveryMs: 300, ...options };
    const bus = natsBus(servers, { options: all, policies: [durable({ count: 1000 }), LIVE] });
    this.#context.after(() => bus.close());
    await bus.start();
    return bus;
  }

  async line(): Promise<Line> {
    const line = await Line.to(this.cluster.server(0).url);
    this.#context.after(() => line.close());
    return line;
  }

  /** Of a connection of its own: the server dies often. */
  async connection(): Promise<NatsConnection> {
    const connection = await connect({ servers: this.cluster.urls });
    this.#context.after(() => connection.close());
    return connection;
  }

  async manager(): Promise<JetStreamManager> {
    return jetstreamManager(await this.connection());
  }
}

const room = roomRef('a');
const other = roomRef('b');

for (const size of [1, 3] as const) {
  test(`all disks put back under running brokers, ${size} server(s): members are told by one new epoch, resumes and acks are honest`, async (context) => {
    const stage = await Stage.set(context, size);
    const [bus, second] = [await stage.broker(), await stage.broker()];
    const [probe, there] = [await opened(bus, room), await opened(second, other)];
    const kept = await fill(bus, room, 10);
    const { created } = await (await stage.manager()).streams.info(stage.stream);
    await snapshot(stage.cluster);
    const lost = await fill(bus, room, 5);
    await putBack(stage.cluster);
    await until('the new epoch', () => probe.positions.length === 2);
    await until('the new epoch', () => there.positions.length === 2);
    const [old, now] = probe.positions;
    assert.notEqual(now?.epoch, old?.epoch);
    assert.equal(there.positions[1]?.epoch, now?.epoch, 'the nodes agree');
    assert.deepEqual([figure(bus, 'epoch_changes'), figure(second, 'epoch_changes')], [1, 1]);
    assert.equal(figure(bus, 'rollbacks') + figure(second, 'rollbacks'), 1, 'of two proofs one counts');
    assert.equal((await (await stage.manager()).streams.info(stage.stream)).created, created);
    const again = await fill(bus, room, 10);
    assert.ok(
      again.some((seq) => lost.includes(seq)),
      'places of events that are lost are given away again',
    );
    const ack = await publish(second, room, 'acked');
    assert.ok(ack.ok && ack.epoch === now?.epoch);
    const page = await replay(bus, room, { epoch: old?.epoch ?? '', seq: lost[4] as number });
    assert.equal(page.recovered, 'none');
    assert.deepEqual(seqsOf(await history(bus, room)), [...kept, ...again, ack.seq]);
    await bus.close();
    await second.close();
    const fresh = await opened(await stage.broker(), room);
    assert.equal(fresh.position.epoch, now?.epoch, 'a node that starts later knows it too');
  });
}

test('publishes at the moment of coming back: none is acked under the epoch that is over', async (context) => {
  const stage = await Stage.set(context);
  const bus = await stage.broker();
  const probe = await opened(bus, room);
  await fill(bus, room, 3);
  await snapshot(stage.cluster);
  const lost = await fill(bus, room, 50);
  const back = putBack(stage.cluster);
  await until('the loss', () => bus.health().state === 'down');
  const outcomes = await Promise.all(Array.from({ length: 20 }, (_, n) => publish(bus, room, `new ${n}`)));
  await back;
  await until('the new epoch', () => probe.positions.length === 2);
  const [old, now] = probe.positions;
  for (const outcome of outcomes) {
    assert.ok(outcome.ok);
    assert.ok((outcome.seq as number) <= (lost.at(-1) as number), 'a place that was given away before');
    assert.deepEqual([outcome.epoch, outcome.duplicate], [now?.epoch, false]);
  }
  assert.notEqual(old?.epoch, now?.epoch);
});

test('overtaken: a node that was away finds other events where it had seen its own, and tells those that were not', async (context) => {
  const stage = await Stage.set(context);
  const line = await stage.line();
  const away = await stage.broker([line.url]);
  const probe = await opened(away, room);
  await fill(away, room, 3);
  await snapshot(stage.cluster);
  const lost = await fill(away, room, 5);
  line.away();
  await putBack(stage.cluster);
  // It was not running when it happened, and cannot know.
  const late = await stage.broker();
  const there = await opened(late, room);
  assert.equal(there.position.epoch, probe.position.epoch);
  const again = await fill(late, other, 10);
  assert.ok((again.at(-1) as number) > (lost.at(-1) as number));
  line.back();
  await until('the new epoch', () => probe.positions.length === 2);
  await until('the new epoch', () => there.positions.length === 2);
  assert.deepEqual(there.positions[1], probe.positions[1]);
  assert.equal(figure(away, 'rollbacks') + figure(late, 'rollbacks'), 1);
});

test('the disk of a server that a broker is not attached to: found out although its connection never broke', async (context) => {
  const stage = await Stage.set(context, 3);
  const options = { replicas: 1, ackTimeoutMs: 500 } as const;
  await (await stage.broker(stage.cluster.urls, options)).close();
  const { cluster } = await (await stage.manager()).streams.info(stage.stream);
  const holder = stage.cluster.named(cluster?.leader ?? '');
  const bus = await stage.broker(
    stage.cluster.urls.filter((url) => url !== holder.url),
    options,
  );
  const probe = await opened(bus, room);
  await fill(bus, room, 3);
  await snapshot(stage.cluster, [holder]);
  await fill(bus, room, 5);
  await putBack(stage.cluster, [holder]);
  await until('the new epoch', () => probe.positions.length === 2);
  assert.deepEqual([figure(bus, 'reconnects'), figure(bus, 'rollbacks')], [0, 1]);
});

test('the broker that had met the end is gone: those that it told of it find out', async (context) => {
  const stage = await Stage.set(context);
  const gone = await stage.broker();
  await opened(gone, room);
  await fill(gone, room, 3);
  await snapshot(stage.cluster);
  await until('the return', () => gone.health().state === 'up');
  // It hears nothing of the room, and looks at the stream when it has opened a room and no more.
  const left = await stage.broker(stage.cluster.urls, { auditEveryMs: 600_000 });
  const probe = await opened(left, other);
  await until('the look', () => figure(left, 'audits') === 1);
  await fill(gone, room, 5);
  await gone.drain(5000);
  await gone.close();
  // Whatever was said to this node before has been read when it has its answer.
  await history(left, roomRef('c'));
  await putBack(stage.cluster);
  await until('the new epoch', () => probe.positions.length === 2);
  assert.equal(figure(left, 'rollbacks'), 1);
});

test('no broker is left that knew the end: positions that the stream cannot have given out are none of it', async (context) => {
  const stage = await Stage.set(context);
  const first = await stage.broker();
  await opened(first, room);
  const kept = await fill(first, room, 3);
  await snapshot(stage.cluster);
  const { epoch } = (await opened(first, other)).position;
  const lost: number[] = [];
  for (let n = 0; n < 8; n++) lost.push(...(await fill(first, n % 2 === 0 ? room : other, 1)));
  await first.close();
  await putBack(stage.cluster);
  const fresh = await stage.broker();
  const probe = await opened(fresh, room);
  assert.equal(probe.position.epoch, epoch, 'nobody can know');
  const came = async (seq: number | undefined) =>
    (await replay(fresh, room, { epoch, seq: seq as number })).recovered;
  assert.equal(await came(lost.at(-2)), 'none', 'beyond the end');
  assert.equal(await came(kept.at(-1)), 'full', 'still there');
  const again: number[] = [];
  for (const into of [other, room, other, other, other, room, other, other, other, other])
    again.push(...(await fill(fresh, into, 1)));
  assert.deepEqual(again.slice(0, lost.length), lost, 'the same places');
  assert.equal(await came(lost[6]), 'none', 'beyond the newest event of the room');
  assert.equal(await came(lost[4]), 'none', 'between two events of the room');
  assert.equal(await came(kept.at(-1)), 'full');
  // What docs/operations/recovery.md has for this case.
  const connection = await stage.connection();
  connection.publish(`${stage.prefix}.log.0.mark`, 'by hand 1');
  await until('the new epoch', () => probe.positions.length === 2);
  assert.equal(await came(kept.at(-1)), 'none');
});

test('put back twice to the same moment: each time an epoch that has not been before', async (context) => {
  const stage = await Stage.set(context);
  const bus = await stage.broker();
  const probe = await opened(bus, room);
  await fill(bus, room, 3);
  await snapshot(stage.cluster);
  for (const round of [2, 3]) {
    await fill(bus, room, 5);
    await putBack(stage.cluster);
    await until('the new epoch', () => probe.positions.length === round);
  }
  assert.equal(new Set(probe.positions.map(({ epoch }) => epoch)).size, 3);
});

test('purged, edited, stepped over: the epoch stays, the mark of one too', async (context) => {
  const stage = await Stage.set(context);
  const bus = await stage.broker();
  const probe = await opened(bus, room);
  await fill(bus, room, 3);
  const looked = async () => {
    const { audits = 0 } = bus.health().figures;
    await until('two audits', () => figure(bus, 'audits') >= audits + 2);
  };
  const hurt = async () => {
    const manager = await stage.manager();
    await manager.streams.purge(stage.stream, { filter: `${stage.prefix}.log.0.>`, keep: 1 });
    await looked();
    await manager.streams.purge(stage.stream);
    await looked();
    const { config } = await manager.streams.info(stage.stream);
    await manager.streams.update(stage.stream, { ...config, description: 'edited' });
    await fill(bus, room, 2);
    await looked();
    await stage.cluster.server(0).kill();
    await stage.cluster.up();
    await fill(bus, room, 2);
    await looked();
  };
  await hurt();
  assert.equal(probe.positions.length, 1);
  await snapshot(stage.cluster);
  await fill(bus, room, 5);
  await putBack(stage.cluster);
  await until('the new epoch', () => probe.positions.length === 2);
  await hurt();
  assert.equal(probe.positions.length, 2);
  const fresh = await opened(await stage.broker(), room);
  assert.equal(fresh.position.epoch, probe.positions[1]?.epoch);
});

test('kill -9 of a lone server, again and again under load: the epoch stays', async (context) => {
  const stage = await Stage.set(context);
  const [bus, second] = [await stage.broker(), await stage.broker()];
  const probes = [await opened(bus, room), await opened(second, room), await opened(second, other)];
  let going = true;
  let sent = 0;
  const load = async (by: NatsBus, into: typeof room) => {
    while (going) {
      const outcomes = await Promise.all(Array.from({ length: 20 }, (_, n) => publish(by, into, n)));
      for (const outcome of outcomes) assert.ok(outcome.ok, JSON.stringify(outcome));
      sent += outcomes.length;
    }
  };
  const loads = [load(bus, room), load(second, other)];
  for (let round = 0; round < 5; round++) {
    const before = sent;
    await until('publishes', () => sent > before + 200);
    await stage.cluster.server(0).kill();
    await stage.cluster.up();
  }
  going = false;
  await Promise.all(loads);
  await until('audits', () => figure(second, 'audits') > 1);
  assert.deepEqual(
    probes.map(({ positions }) => positions.length),
    [1, 1, 1],
  );
  assert.equal(figure(bus, 'epoch_changes') + figure(second, 'epoch_changes'), 0);
});
