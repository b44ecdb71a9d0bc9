/** Very many who come back at once to a node that has nothing of the room in memory. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { connect } from '@nats-io/transport-node';
import type { Fault, HistoryPage, ReplayPage, ReplaySince } from '../../../src/broker/ports.ts';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import { fill, opened, seqsOf } from '../../contract/bus/probe.ts';
import { natsBus, newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { durable, roomRef } from '../../support/rooms.ts';

const cluster = await NatsCluster.start(1);
after(() => cluster.close());

const ROOM = roomRef('storm', durable({ count: 1000 }));
const EVENTS = 400;

/** Counts what anybody asks the streams of this prefix for. */
async function spy(context: TestContext, prefix: string): Promise<() => number> {
  const connection = await connect({ servers: cluster.urls });
  context.after(() => connection.close());
  let asked = 0;
  for (const call of ['DIRECT.GET', 'STREAM.MSG.GET', 'STREAM.INFO'])
    connection.subscribe(`$JS.API.${call}.*`, {
      callback: (_error, msg) => {
        if (msg.subject.includes(prefix.toUpperCase())) asked++;
      },
    });
  await connection.flush();
  return () => asked;
}

async function node(context: TestContext, prefix: string): Promise<NatsBus> {
  const bus = natsBus(cluster.urls, { options: { prefix, shards: 1 } });
  context.after(() => bus.close());
  await bus.start();
  return bus;
}

const figure = (bus: NatsBus, name: string): number => bus.health().figures[name] ?? -1;

const replay = (bus: NatsBus, since: ReplaySince): Promise<ReplayPage | Fault> =>
  new Promise((done) => bus.replay(ROOM, since, { count: 1000, maxBytes: 1e7 }, done));

test('400 resumes from 400 positions and 50 requests for history share two reads of the store', async (context) => {
  const prefix = newPrefix();
  const seqs = await fill(await node(context, prefix), ROOM, EVENTS);
  const bus = await node(context, prefix);
  const { position } = await opened(bus, ROOM);
  const asked = await spy(context, prefix);
  const order = seqs.map((_, at) => (at * 149 + 200) % EVENTS);
  const pages = order.map((at) => replay(bus, { epoch: position.epoch, seq: seqs[at] as number }));
  const histories = order.slice(0, 50).map(
    (at) =>
      new Promise<HistoryPage | Fault>((done) => {
        bus.history(ROOM, { after: seqs[at] as number, limit: 1000, maxBytes: 1e7 }, done);
      }),
  );
  for (const [n, page] of (await Promise.all(pages)).entries()) {
    assert.ok(page.ok && page.recovered === 'full', JSON.stringify(page));
    assert.deepEqual(seqsOf(page), seqs.slice((order[n] as number) + 1));
  }
  for (const [n, page] of (await Promise.all(histories)).entries()) {
    assert.ok(page.ok, JSON.stringify(page));
    assert.deepEqual(seqsOf(page), seqs.slice((order[n] as number) + 1));
  }
  assert.deepEqual(
    ['replays_store', 'replays_shared', 'histories_shared'].map((name) => figure(bus, name)),
    [1, EVENTS - 2, 50],
  );
  // The first knows of itself only, the second of all who have come meanwhile; a read has a page per 256 events.
  assert.equal(figure(bus, 'history_loads'), 2);
  assert.ok(asked() > 0 && asked() <= 8, `${asked()} requests`);
});

test('answers to a storm are spread over turns of the loop', async (context) => {
  const prefix = newPrefix();
  const seqs = await fill(await node(context, prefix), ROOM, EVENTS);
  const bus = await node(context, prefix);
  const { position } = await opened(bus, ROOM);
  let turns = 0;
  const perTurn = new Map<number, number>();
  const counting = setInterval(() => turns++, 0);
  context.after(() => clearInterval(counting));
  const busy = (ms: number) => {
    for (const until = performance.now() + ms; performance.now() < until; );
  };
  await Promise.all(
    Array.from(
      { length: 40 },
      () =>
        new Promise<void>((done) => {
          const since = { epoch: position.epoch, seq: seqs[0] as number };
          bus.replay(ROOM, since, { count: 64, maxBytes: 32_768 }, () => {
            busy(1);
            perTurn.set(turns, (perTurn.get(turns) ?? 0) + 1);
            done();
          });
        }),
    ),
  );
  const most = Math.max(...perTurn.values());
  assert.ok(most <= 4, `${most} answers of 1 ms each in one turn`);
});
