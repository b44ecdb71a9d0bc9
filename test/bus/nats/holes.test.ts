/** Holes that the stream has dropped a part of: what does not come is told, and nothing is told that came. */
import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type { RoomRef } from '../../../src/broker/ports.ts';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import type { NatsOptions } from '../../../src/bus/nats/options.ts';
import {
  accepted,
  assertChain,
  fill,
  history,
  opened,
  type Probe,
  replay,
  seqsOf,
} from '../../contract/bus/probe.ts';
import { natsBus, newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Line } from '../../support/nats/line.ts';
import { durable, roomRef } from '../../support/rooms.ts';

const cluster = await NatsCluster.start(1);
after(() => cluster.close());

const COUNT = 20;
const SMALL = durable({ count: COUNT });

interface Pair {
  /** Behind the line that is cut. */
  readonly here: NatsBus;
  readonly there: NatsBus;
  readonly line: Line;
  readonly prefix: string;
}

async function pair(context: TestContext, options: Partial<NatsOptions> = {}, policy = SMALL): Promise<Pair> {
  const line = await Line.to(cluster.server(0).url);
  const prefix = newPrefix();
  const all = { prefix, shards: 1, discover: false, ...options };
  const here = natsBus([line.url], { options: all, policies: [policy] });
  const there = natsBus(cluster.urls, { options: all, policies: [policy] });
  context.after(async () => {
    await here.close();
    await there.close();
    await line.close();
  });
  await here.start();
  await there.start();
  return { here, there, line, prefix };
}

/** Publishes one event after the other until it is stopped; the places of all. */
function flood(bus: NatsBus, room: RoomRef): { stop(): Promise<number[]> } {
  let running = true;
  const seqs: number[] = [];
  const ended = (async () => {
    while (running) {
      seqs.push(await accepted(bus, room, seqs.length));
      await sleep(1);
    }
  })();
  return {
    stop: async () => {
      running = false;
      await ended;
      return seqs;
    },
  };
}

/** Every event that was stored has come, or a gap names it; and each event names what came before it. */
function assertTold(probe: Probe, stored: readonly number[]): void {
  const came = new Set(probe.seqs);
  const silent = stored.filter(
    (seq) => !came.has(seq) && !probe.gaps.some(({ from, to }) => seq > from && seq <= to),
  );
  assert.deepEqual(silent, [], 'events that nobody was told of');
  let last = probe.position.seq;
  for (const { seq, prev } of probe.events) {
    const gap = probe.gaps.find(({ from }) => from === last);
    if (prev !== last && gap !== undefined) last = gap.to;
    assert.equal(prev, last, `event ${seq} follows ${last}`);
    last = seq;
  }
}

async function manager(context: TestContext) {
  const connection = await connect({ servers: cluster.urls });
  context.after(() => connection.close());
  return { connection, streams: (await jetstreamManager(connection)).streams };
}

const away = async (probe: Probe, { here, line }: Pair): Promise<void> => {
  line.away();
  await probe.until('the outage', () => here.health().state !== 'up');
};

// Most of the time they wait for a connection to come back.
describe('a broker that was cut off from NATS', { concurrency: 8 }, () => {
  for (const round of [1, 2]) {
    test(`away while the room gets more than the stream keeps, and events go on: round ${round}`, async (context) => {
      const { here, there, line } = await pair(context);
      const [quiet, busy] = [roomRef('quiet', SMALL), roomRef('busy', SMALL)];
      // It keeps the stream's first place where it is: only the room itself drops what it has missed.
      await accepted(there, quiet, 'old');
      const probe = await opened(here, busy);
      const before = await fill(there, busy, 3);
      await probe.count(3);
      line.away();
      await probe.until('the outage', () => here.health().state !== 'up');
      const missed = await fill(there, busy, 3 * COUNT);
      const flooding = flood(there, busy);
      line.back();
      await probe.until('the events after it', () => (probe.seqs.at(-1) ?? 0) > (missed.at(-1) ?? 0) + COUNT);
      const later = await flooding.stop();
      await probe.until('the last event', () => probe.seqs.at(-1) === later.at(-1));
      assertTold(probe, [...before, ...missed, ...later]);
      assert.deepEqual([...new Set(probe.gaps.map(({ reason }) => reason))], ['retention']);
    });
  }

  for (const [missed, gaps] of [
    [COUNT - 1, 0],
    [COUNT, 0],
    [COUNT + 1, 1],
    [COUNT + 2, 1],
  ] as const) {
    test(`a room that keeps ${COUNT}, and ${missed} missed: ${gaps} gaps`, async (context) => {
      const both = await pair(context);
      const { here, there, line } = both;
      const [quiet, room] = [roomRef('quiet', SMALL), roomRef('room', SMALL)];
      await accepted(there, quiet, 'old');
      const probe = await opened(here, room);
      const stored = await fill(there, room, 2);
      await probe.count(2);
      await away(probe, both);
      // Else the first one missed would stand right behind the last one heard, and tell that it is the next.
      await accepted(there, quiet, 'between');
      stored.push(...(await fill(there, room, missed)));
      line.back();
      await probe.until('the last event', () => probe.seqs.at(-1) === stored.at(-1));
      assertTold(probe, stored);
      assert.equal(probe.gaps.length, gaps, JSON.stringify(probe.gaps));
    });
  }

  test('many rooms in one sweep, some over their limit, some quiet, while events go on', async (context) => {
    const both = await pair(context, { sweepFrom: 5 });
    const { here, there, line } = both;
    const rooms = Array.from({ length: 24 }, (_, n) => roomRef(`r${n}`, SMALL));
    const probes = await Promise.all(rooms.map((room) => opened(here, room)));
    const stored: number[][] = rooms.map(() => []);
    const all = (count: (n: number) => number) =>
      Promise.all(rooms.map(async (room, n) => stored[n]?.push(...(await fill(there, room, count(n))))));
    // Every third room is empty until the outage.
    const heard = (n: number) => (n % 3 === 0 ? 0 : 2);
    await all(heard);
    for (const [n, probe] of probes.entries()) await probe.count(heard(n));
    await probes[0]?.until('a look at all rooms', () => (here.health().figures['audits'] ?? 0) > 0);
    await away(probes[0] as Probe, both);
    const isOver = (n: number) => n % 4 === 0;
    await all((n) => (isOver(n) ? 3 * COUNT : 1 + (n % 4)));
    const floods = rooms.slice(0, 8).map((room) => flood(there, room));
    line.back();
    for (const [n, probe] of probes.slice(0, 8).entries())
      await probe.until('later events', () => (probe.seqs.at(-1) ?? 0) > (stored[n]?.at(-1) ?? 0) + 200);
    for (const [n, flooding] of floods.entries()) stored[n]?.push(...(await flooding.stop()));
    for (const [n, probe] of probes.entries()) {
      const seqs = stored[n] as number[];
      await probe.until('the last event', () => probe.seqs.at(-1) === seqs.at(-1));
      assertTold(probe, seqs);
      if (n >= 8 && !isOver(n)) assert.deepEqual(probe.gaps, [], `room ${n} has missed nothing`);
    }
    assert.ok((here.health().figures['backfill_sweeps'] ?? 0) > 0);
  });

  test('the line breaks again and again while holes are read', async (context) => {
    const both = await pair(context);
    const { here, there, line } = both;
    const [quiet, room] = [roomRef('quiet', SMALL), roomRef('room', SMALL)];
    await accepted(there, quiet, 'old');
    const probe = await opened(here, room);
    const stored = await fill(there, room, 1);
    await probe.count(1);
    const flooding = flood(there, room);
    for (const ms of [5, 30, 60, 110, 160]) {
      await away(probe, both);
      await sleep(60);
      line.back();
      await probe.until('the line', () => here.health().state === 'up');
      await sleep(ms);
    }
    await sleep(100);
    stored.push(...(await flooding.stop()));
    await probe.until('the last event', () => probe.seqs.at(-1) === stored.at(-1));
    assertTold(probe, stored);
  });

  for (const after of [0, 3]) {
    test(`the stream is purged while the node is away, ${after} events come later: one room`, async (context) => {
      const both = await pair(context);
      const { here, there, line, prefix } = both;
      const { streams } = await manager(context);
      const room = roomRef('room', SMALL);
      const probe = await opened(here, room);
      const stored = await fill(there, room, 2);
      await probe.count(2);
      await away(probe, both);
      stored.push(...(await fill(there, room, 4)));
      await streams.purge(`${prefix.toUpperCase()}_0`);
      stored.push(...(await fill(there, room, after)));
      line.back();
      await probe.until('the gap', () => probe.gaps.length > 0);
      stored.push(await accepted(there, room, 'later'));
      await probe.until('the last event', () => probe.seqs.at(-1) === stored.at(-1));
      assertTold(probe, stored);
      assert.equal(probe.seqs.length, 2 + after + 1);
    });
  }

  test('the stream is purged while a sweep is due: every room is told', async (context) => {
    const both = await pair(context, { sweepFrom: 3 });
    const { here, there, line, prefix } = both;
    const { streams } = await manager(context);
    const rooms = Array.from({ length: 8 }, (_, n) => roomRef(`r${n}`, SMALL));
    const probes = await Promise.all(rooms.map((room) => opened(here, room)));
    const before = await Promise.all(rooms.map((room) => fill(there, room, 1)));
    for (const probe of probes) await probe.count(1);
    await away(probes[0] as Probe, both);
    const stored = await Promise.all(rooms.map((room) => fill(there, room, 3)));
    await streams.purge(`${prefix.toUpperCase()}_0`);
    line.back();
    for (const [n, probe] of probes.entries()) {
      await probe.until('the gap', () => probe.gaps.length > 0);
      assertTold(probe, [...(before[n] as number[]), ...(stored[n] as number[])]);
    }
  });

  for (const many of [1, 8]) {
    test(`purged after the node has learnt of the hole, nothing comes later: ${many} rooms`, async (context) => {
      const both = await pair(context, { sweepFrom: 3, readsPerShard: 1 });
      const { here, there, line, prefix } = both;
      const { streams } = await manager(context);
      const rooms = Array.from({ length: many }, (_, n) => roomRef(`r${n}`, SMALL));
      const probes = await Promise.all(rooms.map((room) => opened(here, room)));
      const before = await Promise.all(rooms.map((room) => fill(there, room, 1)));
      for (const probe of probes) await probe.count(1);
      await away(probes[0] as Probe, both);
      const stored = await Promise.all(rooms.map((room) => fill(there, room, 3)));
      line.back();
      await probes[0]?.until('the line', () => here.health().state === 'up');
      // The audit looks after 50 ms, and waits for 100 ms more: at some moment in between.
      await sleep(100);
      await streams.purge(`${prefix.toUpperCase()}_0`);
      for (const [n, probe] of probes.entries()) {
        await probe.until('the gap or the events', () => probe.gaps.length > 0 || probe.seqs.length === 4);
        assertTold(probe, [...(before[n] as number[]), ...(stored[n] as number[])]);
      }
      await probes[0]?.until('the end of the fills', () => here.health().figures['backfill_pending'] === 0);
    });
  }

  test('one room is purged while the node is away: it knows that the event it stands at is missing', async (context) => {
    const both = await pair(context);
    const { here, there, line, prefix } = both;
    const { streams } = await manager(context);
    const [quiet, room] = [roomRef('quiet', SMALL), roomRef('room', SMALL)];
    await accepted(there, quiet, 'old');
    const probe = await opened(here, room);
    const stored = await fill(there, room, 2);
    await probe.count(2);
    await away(probe, both);
    stored.push(...(await fill(there, room, 4)));
    await streams.purge(`${prefix.toUpperCase()}_0`, { filter: `${prefix}.log.0.default.room` });
    stored.push(...(await fill(there, room, 3)));
    line.back();
    await probe.until('the last event', () => probe.seqs.at(-1) === stored.at(-1));
    assertTold(probe, stored);
    assert.equal(probe.seqs.length, 5);
  });

  test('a message that is none of ours in the subject of a room is no gap', async (context) => {
    const both = await pair(context);
    const { here, there, line, prefix } = both;
    const { connection } = await manager(context);
    const room = roomRef('room', SMALL);
    const probe = await opened(here, room);
    const stored = await fill(there, room, 2);
    await probe.count(2);
    const strange = async () => void (await connection.request(`${prefix}.log.0.default.room`, 'by hand'));
    await away(probe, both);
    await strange();
    stored.push(...(await fill(there, room, 2)));
    await strange();
    line.back();
    await probe.count(4);
    stored.push(await accepted(there, room, 'later'));
    await probe.count(5);
    await strange();
    stored.push(await accepted(there, room, 'last'));
    await probe.count(6);
    assert.deepEqual(probe.seqs, stored);
    assert.deepEqual(probe.gaps, []);
  });

  test('the size of the stream drops what was missed', async (context) => {
    const both = await pair(context, { streamBytes: 128 * 1024 });
    const { here, there, line } = both;
    const [loud, room] = [roomRef('loud', durable()), roomRef('room', SMALL)];
    const probe = await opened(here, room);
    const stored = await fill(there, room, 2);
    await probe.count(2);
    await away(probe, both);
    stored.push(...(await fill(there, room, 3)));
    await fill(there, loud, 40, () => 'x'.repeat(8000));
    stored.push(...(await fill(there, room, 2)));
    line.back();
    await probe.until('the last event', () => probe.seqs.at(-1) === stored.at(-1));
    assertTold(probe, stored);
    assert.deepEqual([...new Set(probe.gaps.map(({ reason }) => reason))], ['retention']);
  });

  test('a small room between loud ones, empty when the line broke: nothing is missing, and no gap', async (context) => {
    const both = await pair(context);
    const { here, there, line } = both;
    const [loud, room] = [roomRef('loud', SMALL), roomRef('room', SMALL)];
    await fill(there, loud, 3 * COUNT);
    const probe = await opened(here, room);
    await away(probe, both);
    const stored: number[] = [];
    for (let n = 0; n < 5; n++) {
      stored.push(await accepted(there, room, n));
      await fill(there, loud, COUNT);
    }
    line.back();
    await probe.count(5);
    assert.deepEqual(probe.seqs, stored);
    assert.deepEqual(probe.gaps, []);
  });

  test('a room whose events are over their age each time the next one comes: no gap without an outage', async (context) => {
    const policy = durable({ ageMs: 1000 });
    const { here, there } = await pair(context, {}, policy);
    const room = roomRef('room', policy);
    const probe = await opened(here, room);
    const stored: number[] = [];
    for (let n = 0; n < 3; n++) {
      stored.push(await accepted(there, room, n));
      await probe.count(n + 1);
      if (n < 2) await sleep(1500);
    }
    assert.deepEqual(probe.seqs, stored);
    assert.deepEqual(probe.gaps, []);
  });

  test('who resumes or reads history on another node is told the same, while the room goes on', async (context) => {
    const { there, prefix } = await pair(context);
    const [quiet, room] = [roomRef('quiet', SMALL), roomRef('room', SMALL)];
    await accepted(there, quiet, 'old');
    const stored = await fill(there, room, 4 * COUNT);
    const flooding = flood(there, room);
    const { epoch } = (await opened(there, room)).position;
    for (let round = 0; round < 5; round++) {
      const other = natsBus(cluster.urls, { options: { prefix, shards: 1 }, policies: [SMALL] });
      context.after(() => other.close());
      await other.start();
      await opened(other, room);
      for (const since of [0, stored[0] as number, stored[2 * COUNT] as number]) {
        const page = await replay(other, room, { epoch, seq: since });
        assert.equal(page.recovered, 'partial');
        assert.ok(page.gap !== undefined && page.gap.from === since);
        assert.equal(page.gap.reason, 'retention');
        assertChain(page.events, page.gap.to);
      }
      const read = await history(other, room, {});
      assert.equal(read.truncated, true);
      const after = await history(other, room, { after: stored[COUNT] as number });
      assert.equal(after.truncated, true);
    }
    const last = await flooding.stop();
    const page = await replay(there, room, { epoch, seq: last.at(-3) as number });
    assert.deepEqual([page.recovered, seqsOf(page)], ['full', last.slice(-2)]);
  });
});
