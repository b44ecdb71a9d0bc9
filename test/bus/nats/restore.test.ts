/** docs/operations/recovery.md: a stream that is restored from a backup, and what brokers make of it. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import { accepted, assertChain, fill, history, opened, replay, seqsOf } from '../../contract/bus/probe.ts';
import { natsBus, newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { backup, restore } from '../../support/nats/snapshot.ts';
import { durable, LIVE, roomRef } from '../../support/rooms.ts';

async function linked(context: TestContext, cluster: NatsCluster): Promise<NatsConnection> {
  const connection = await connect({ servers: cluster.urls });
  context.after(() => connection.close());
  return connection;
}

async function broker(
  context: TestContext,
  cluster: NatsCluster,
  prefix: string,
  manageStreams: boolean,
): Promise<NatsBus> {
  // What no publish brings to light an audit does: sooner than shipped.
  const options = { prefix, shards: 1, manageStreams, auditEveryMs: 500 };
  const bus = natsBus(cluster.urls, { options, policies: [durable(), LIVE] });
  context.after(() => bus.close());
  await bus.start();
  return bus;
}

for (const size of [1, 3] as const) {
  test(`restored from a backup on ${size} server(s), under a running broker: a new epoch, with what the backup had`, async (context) => {
    const cluster = await NatsCluster.start(size);
    context.after(() => cluster.close());
    const prefix = newPrefix();
    await (await broker(context, cluster, prefix, true)).close();
    // As the chart has it: a broker that makes streams would be faster than the restore.
    const bus = await broker(context, cluster, prefix, false);
    const room = roomRef('a');
    const probe = await opened(bus, room);
    const kept = await fill(bus, room, 10);
    const connection = await linked(context, cluster);
    const stream = `${prefix.toUpperCase()}_0`;
    const saved = await backup(connection, stream);
    const lost = await fill(bus, room, 5);
    const manager = await jetstreamManager(connection);
    await manager.streams.delete(stream);
    await restore(connection, stream, saved);
    const again = await accepted(bus, room, 'again');
    assert.equal(again, lost[0], 'the place of an event that was lost is given away again');
    await probe.until('the new epoch', () => probe.positions.length === 2);
    const [old, now] = probe.positions;
    assert.notEqual(now?.epoch, old?.epoch);
    assertChain(probe.events.slice(15), now?.seq ?? -1);
    assert.deepEqual(seqsOf(await history(bus, room)), [...kept, again]);
    // Who had seen what is lost is told so, and gets what there is.
    const page = await replay(bus, room, { epoch: old?.epoch ?? '', seq: lost[4] as number });
    assert.equal(page.recovered, 'none');
  });
}
