/** A node that misses events, in every way it can, and finds them again. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { RoomRef } from '../../../src/broker/ports.ts';
import type { RoomPolicy } from '../../../src/broker/settings.ts';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import type { NatsOptions } from '../../../src/bus/nats/options.ts';
import {
  accepted,
  assertChain,
  fill,
  history,
  opened,
  type Probe,
  publish,
  replay,
  seqsOf,
} from '../../contract/bus/probe.ts';
import { natsBus, newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Line } from '../../support/nats/line.ts';
import { durable, LIVE, roomRef } from '../../support/rooms.ts';

const cluster = await NatsCluster.start(1);
after(() => cluster.close());

interface Pair {
  /** Behind the line that is tampered with. */
  readonly here: NatsBus;
  readonly there: NatsBus;
  readonly line: Line;
  readonly prefix: string;
}

async function pair(
  context: TestContext,
  options: Partial<NatsOptions> = {},
  policies: readonly RoomPolicy[] = [durable(), LIVE],
): Promise<Pair> {
  const line = await Line.to(cluster.server(0).url);
  const prefix = newPrefix();
  const all = { prefix, shards: 1, discover: false, ...options };
  const here = natsBus([line.url], { options: all, policies });
  const there = natsBus(cluster.urls, { options: all, policies });
  context.after(async () => {
    await here.close();
    await there.close();
    await line.close();
  });
  await here.start();
  await there.start();
  return { here, there, line, prefix };
}

const figure = (bus: NatsBus, name: string): number => bus.health().figures[name] ?? -1;

for (const [how, rooms, options] of [
  ['one room', 1, {}],
  ['many rooms, filled one by one', 20, { sweepFrom: 1000 }],
  ['many rooms, filled by one reading of the stream', 60, { sweepFrom: 10 }],
] as const) {
  test(`events missed while the line was deaf: ${how}`, async (context) => {
    const { here, there, line } = await pair(context, options);
    const refs = Array.from({ length: rooms }, (_, n) => roomRef(`r${n}`));
    const probes = await Promise.all(refs.map((ref) => opened(here, ref)));
    await Promise.all(refs.map((ref) => accepted(there, ref, 'heard')));
    await Promise.all(probes.map((probe) => probe.count(1)));
    line.deafen();
    for (let n = 0; n < 3; n++) await Promise.all(refs.map((ref) => accepted(there, ref, `missed ${n}`)));
    line.cut();
    await probes[0]?.until('the line', () => here.health().state === 'up');
    // Half of the rooms are quiet after it: only an audit can tell what they missed.
    await Promise.all(refs.map((ref, n) => (n % 2 === 0 ? accepted(there, ref, 'after') : undefined)));
    for (const [n, probe] of probes.entries()) {
      await probe.count(n % 2 === 0 ? 5 : 4);
      const heard = ['heard', 'missed 0', 'missed 1', 'missed 2', ...(n % 2 === 0 ? ['after'] : [])];
      assert.deepEqual(probe.payloads, heard);
      assertChain(probe.events, probe.position.seq);
      assert.deepEqual(probe.gaps, []);
    }
    const sweeps = figure(here, 'backfill_sweeps');
    assert.equal(sweeps > 0, how.includes('one reading'), `${sweeps} sweeps`);
  });
}

test('what the stream has dropped before it could be read is told as a gap', async (context) => {
  const { here, there, line } = await pair(context);
  const small = roomRef('small', durable({ count: 1000 }));
  const probe = await opened(here, small);
  const [first] = await fill(there, small, 1);
  await probe.count(1);
  line.deafen();
  // More than the stream keeps of a room.
  const missed = await Promise.all(Array.from({ length: 1500 }, (_, n) => accepted(there, small, n)));
  line.cut();
  await probe.until('the gap', () => probe.gaps.length > 0);
  const [gap] = probe.gaps;
  assert.deepEqual([gap?.from, gap?.reason], [first, 'retention']);
  await probe.until('the rest', () => probe.seqs.at(-1) === missed.at(-1));
  assert.deepEqual(
    probe.seqs.slice(1),
    missed.filter((seq) => seq > (gap?.to ?? 0)),
  );
  assertChain(probe.events.slice(1), gap?.to ?? 0);
  const page = await replay(here, small, { epoch: probe.position.epoch, seq: first as number });
  assert.equal(page.recovered, 'partial', 'who comes back to before the gap is told as well');
  assert.equal(page.gap?.from, first);
});

/** Every event of the room was handed over, or stands in a gap; never both. */
function assertHonest(probe: Probe, all: readonly number[]): void {
  const inGap = (seq: number) => probe.gaps.some(({ from, to }) => seq > from && seq <= to);
  const got = new Set(probe.seqs);
  assert.equal(got.size, probe.seqs.length, 'each once');
  for (const seq of all) assert.notEqual(got.has(seq), inGap(seq), `${seq} of ${all.length}`);
  for (const { reason } of probe.gaps) assert.equal(reason, 'retention');
}

/** Events that a room of 20 gets while a node is cut off, and while the node reads what it missed. */
for (const [missed, meanwhile, rooms] of [
  [5, 10, 1],
  [20, 0, 1],
  [21, 0, 1],
  [22, 30, 1],
  [60, 60, 1],
  [60, 0, 1],
  [15, 60, 12],
] as const)
  test(`${missed} events are missed, and ${meanwhile} come while they are read: ${rooms} rooms`, async (context) => {
    const policy = durable({ count: 20 });
    const { here, there, line } = await pair(context, { sweepFrom: 4 }, [policy, LIVE]);
    const refs = Array.from({ length: rooms }, (_, n) => roomRef(`r${n}`, policy));
    const probes = await Promise.all(refs.map((ref) => opened(here, ref)));
    const seqs = await Promise.all(refs.map((ref) => fill(there, ref, 3)));
    await Promise.all(probes.map((probe) => probe.count(3)));
    line.deafen();
    const publishAll = async (count: number) => {
      for (let n = 0; n < count; n++)
        await Promise.all(refs.map(async (ref, at) => seqs[at]?.push(await accepted(there, ref, n))));
    };
    await publishAll(missed);
    line.cut();
    await publishAll(meanwhile);
    await probes[0]?.until('the line', () => here.health().state === 'up');
    await publishAll(1);
    for (const [at, probe] of probes.entries()) {
      const all = seqs[at] as number[];
      await probe.until('the last', () => probe.seqs.at(-1) === all.at(-1));
      assertHonest(probe, all);
      if (missed + meanwhile < 20) assert.deepEqual(probe.gaps, [], 'all of it is kept');
      // Whoever comes back from before all of that is told the same.
      const page = await replay(here, refs[at] as RoomRef, {
        epoch: probe.position.epoch,
        seq: all[0] as number,
      });
      const told = page.gap;
      for (const seq of all.slice(1))
        assert.notEqual(
          seqsOf(page).includes(seq),
          told !== undefined && seq > told.from && seq <= told.to,
          `${seq} on resume`,
        );
    }
  });

test('events that have expired before the line was back are told as a gap', async (context) => {
  const policy = durable({ ageMs: 1000 });
  const { here, there, line } = await pair(context, {}, [policy, LIVE]);
  const [loud, quiet] = [roomRef('loud', policy), roomRef('quiet', policy)];
  const probes = [await opened(here, loud), await opened(here, quiet)];
  const seqs = [await fill(there, loud, 2), await fill(there, quiet, 2)];
  for (const probe of probes) await probe.count(2);
  line.away();
  for (const [at, ref] of [loud, quiet].entries()) seqs[at]?.push(...(await fill(there, ref, 3)));
  await sleep(2500);
  const gone = await history(there, loud);
  assert.deepEqual(gone.events, [], 'the stream keeps nothing of it');
  line.back();
  await probes[1]?.until('the gap of the quiet room', () => probes[1]?.gaps.length === 1);
  seqs[0]?.push(await accepted(there, loud, 'after'));
  for (const [at, probe] of probes.entries()) {
    const all = seqs[at] as number[];
    await probe.until('the last', () => probe.seqs.at(-1) === all.at(-1) || probe.gaps.length > 0);
    await probe.until('all of it', () => at === 1 || probe.seqs.at(-1) === all.at(-1));
    assertHonest(probe, all);
  }
});

test('a quiet room that missed its only event learns of it by an audit', async (context) => {
  const { here, there, line } = await pair(context);
  const [a, b] = [roomRef('a'), roomRef('b')];
  const probe = await opened(here, a);
  await fill(there, b, 5);
  line.deafen();
  const seq = await accepted(there, a, 'only');
  line.cut();
  await probe.count(1);
  assert.deepEqual(probe.seqs, [seq]);
  assert.deepEqual(probe.gaps, []);
});

test('NATS away: live rooms go on here, durable publishes wait and are stored when it is back', async (context) => {
  const { here, there, line } = await pair(context);
  const [room, live] = [roomRef('a'), roomRef('live', LIVE)];
  const probe = await opened(here, room);
  const liveProbe = await opened(here, live);
  const far = await opened(there, live);
  await accepted(here, live, 'before');
  await far.count(1);
  line.away();
  await probe.until('the outage', () => here.health().state === 'down');
  assert.notEqual(here.health().detail, '');
  assert.equal((await publish(here, live, 'alone')).ok, true);
  assert.deepEqual(liveProbe.payloads, ['before', 'alone']);
  const waiting = Promise.all([1, 2, 3].map((n) => accepted(here, room, n, { msgId: `m${n}` })));
  await accepted(there, room, 'other');
  await sleep(700);
  assert.deepEqual(probe.events, []);
  line.back();
  const seqs = await waiting;
  await probe.count(4);
  assert.deepEqual(probe.payloads, ['other', 1, 2, 3]);
  assert.deepEqual(probe.seqs.slice(1), seqs);
  assert.equal(here.health().state, 'up');
  await liveProbe.until('the gap of the live room', () => liveProbe.gaps.length > 0);
  assert.equal(liveProbe.gaps[0]?.reason, 'bus', 'what the others published meanwhile may be missed');
  await accepted(here, live, 'together');
  await far.count(2);
  assert.deepEqual(far.payloads, ['before', 'together']);
  assertChain(liveProbe.events.slice(2), liveProbe.gaps[0]?.to ?? 0);
});

test('NATS away for too long: the queue is bounded, and what waited is answered unavailable', async (context) => {
  const { here, line } = await pair(context, { queue: 5, publishTimeoutMs: 800, openTimeoutMs: 500 });
  const room = roomRef('a');
  await opened(here, room);
  line.away();
  await sleep(100);
  const outcomes = await Promise.all(Array.from({ length: 10 }, (_, n) => publish(here, room, n)));
  for (const outcome of outcomes) {
    assert.equal(!outcome.ok && outcome.code, 'unavailable');
    assert.ok(!outcome.ok && (outcome.retryAfterMs ?? 0) > 0);
  }
  const faults: unknown[] = [];
  here.open(roomRef('b'), {
    opened: () => faults.push('opened'),
    failed: (fault) => faults.push(fault.code),
    event: () => undefined,
    gap: () => undefined,
  });
  await sleep(1500);
  assert.deepEqual(faults, ['unavailable'], 'a room that cannot be opened says so');
  const result = await new Promise((done) => here.history(roomRef('c'), { limit: 5, maxBytes: 1000 }, done));
  assert.equal((result as { code?: string }).code, 'unavailable');
  line.back();
  await sleep(1500);
  assert.equal(here.health().state, 'up');
  await accepted(here, room, 'again');
});

test('the stream made anew: a new epoch for its rooms, and all goes on', async (context) => {
  const { here, there, prefix } = await pair(context);
  const room = roomRef('a');
  const probes = [await opened(here, room), await opened(there, room)];
  const seqs = await fill(here, room, 30);
  const connection = await connect({ servers: cluster.urls });
  const manager = await jetstreamManager(connection);
  const stream = `${prefix.toUpperCase()}_0`;
  const { config } = await manager.streams.info(stream);
  await manager.streams.delete(stream);
  await manager.streams.add({ ...config, name: stream } as never);
  await connection.close();
  const seq = await accepted(here, room, 'new');
  assert.ok(seq <= (seqs.at(-1) ?? 0));
  const later = await accepted(there, room, 'newer');
  for (const probe of probes) {
    await probe.until('the new epoch', () => probe.positions.length === 2);
    const [old, now] = probe.positions;
    assert.notEqual(now?.epoch, old?.epoch);
    await probe.until('the new events', () => (probe.seqs.at(-1) ?? 0) === later || now?.seq === later);
    assertChain(probe.events.slice(30), now?.seq ?? -1);
  }
  const page = await replay(here, room, { epoch: probes[0]?.position.epoch ?? '', seq: seqs[20] as number });
  assert.equal(page.recovered, 'none');
  assert.deepEqual(seqsOf(page), [seq, later]);
  assert.deepEqual(seqsOf(await history(there, room)), [seq, later]);
  assert.equal(figure(here, 'epoch_changes'), 1);
});

test('the stream deleted: it is made anew where that is allowed', async (context) => {
  const { here, prefix } = await pair(context);
  const room = roomRef('a');
  const probe = await opened(here, room);
  await fill(here, room, 3);
  const connection = await connect({ servers: cluster.urls });
  await (await jetstreamManager(connection)).streams.delete(`${prefix.toUpperCase()}_0`);
  await connection.close();
  await accepted(here, room, 'again');
  await probe.until('the new epoch', () => probe.positions.length === 2);
  assert.equal(here.health().state, 'up');
});

test('a client that is further than the node it comes to: nothing twice, nothing lost', async (context) => {
  const { here, there, line } = await pair(context);
  const room = roomRef('a');
  const probe = await opened(here, room);
  await accepted(there, room, 'heard');
  await probe.count(1);
  line.deafen();
  const seqs = await fill(there, room, 3);
  line.cut();
  await probe.until('the line', () => here.health().state === 'up');
  // At this moment the node knows of none of the three; its client has seen two of them elsewhere.
  const page = await replay(here, room, { epoch: probe.position.epoch, seq: seqs[1] as number });
  assert.deepEqual([page.recovered, seqsOf(page), page.remaining], ['full', [seqs[2]], 0]);
  assert.equal(page.events[0]?.prev, seqs[1]);
  await probe.count(4);
  assertChain(probe.events, probe.position.seq);
});
