/**
 * Reads from replicas that do not have what the leader has: two servers with a stream of the same name stand for the
 * leader of a stream and for its replica.
 */
import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { Requests } from '../../../src/bus/nats/acks.ts';
import { readPart, readRange } from '../../../src/bus/nats/backfill.ts';
import { environment } from '../../../src/bus/nats/env.ts';
import { Store } from '../../../src/bus/nats/store.ts';
import { Subjects } from '../../../src/bus/nats/subject.ts';
import { fill } from '../../contract/bus/probe.ts';
import { natsBus, newPrefix, VOICE } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { durable, roomRef } from '../../support/rooms.ts';

const [leader, replica] = await Promise.all([NatsCluster.start(1), NatsCluster.start(1)]);
after(() => Promise.all([leader.close(), replica.close()]));

const env = environment({ now: Date.now }, VOICE);
const ROOM = roomRef('room', durable());
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

/** So many events in the room, of which the replica has the first `has`, without those up to `dropped`. */
async function streams(context: TestContext, { events, has = events, dropped = 0 }: Setup) {
  const prefix = newPrefix();
  const subjects = new Subjects(prefix, 1);
  const sides = [];
  for (const [cluster, count] of [
    [leader, events],
    [replica, has],
  ] as const) {
    const bus = natsBus(cluster.urls, { options: { prefix, shards: 1 } });
    await bus.start();
    await fill(bus, ROOM, count);
    await bus.close();
    const connection = await connect({ servers: cluster.urls });
    sides.push({ connection, requests: new Requests(connection, `_INBOX_${prefix}`, env) });
    context.after(() => connection.close());
  }
  const [one, other] = sides as [(typeof sides)[0], (typeof sides)[0]];
  if (dropped > 0)
    await (await jetstreamManager(other.connection)).streams.purge(subjects.stream(0), { seq: dropped + 1 });
  const there = () => true;
  const { requests: leaders } = one;
  const { requests: replicas } = other;
  const store = new Store({ leaders, replicas, subjects, leadersThere: there, replicasThere: there });
  return { store, log: subjects.room('default', 'room')?.log ?? '', logs: subjects.logs(0) };
}

interface Setup {
  readonly events: number;
  readonly has?: number;
  readonly dropped?: number;
}

describe('a replica that does not have what the leader has', { concurrency: 8 }, () => {
  for (const [what, setup] of Object.entries({
    'has all': { events: 12 },
    'is behind': { events: 12, has: 7 },
    'has nothing of it yet': { events: 12, has: 3 },
    'has dropped the beginning already': { events: 12, dropped: 8 },
    'has dropped all of it already': { events: 12, dropped: 12 },
    'has dropped the beginning, and is behind': { events: 12, has: 10, dropped: 6 },
    'has dropped more than a page': { events: 600, dropped: 300 },
  }))
    test(`the replica ${what}: the read is whole`, async (context) => {
      const { store, log, logs } = await streams(context, setup);
      const { events: to } = setup;
      const place = { shard: 0, log };
      const read = await readRange(store, place, { from: 3, to, anchor: 3 }, env.sleep);
      assert.ok(typeof read !== 'string', String(read));
      assert.deepEqual(
        read.events.map(({ seq }) => seq),
        range(4, to),
      );
      assert.deepEqual([read.lostTo, read.sawEnd], [3, true]);
      // The same for a sweep, which reads all rooms.
      const swept: number[] = [];
      const reader = { wants: () => true, took: (_log: string, seq: number) => void swept.push(seq) };
      await readPart(store, { shard: 0, filter: logs, from: 3, to, batch: 5 }, reader, env.sleep);
      assert.deepEqual(swept, range(4, to));
    });
});
