/** Several nodes on one store: what the contract cannot ask of every bus. */
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NatsBus } from '../../../src/bus/nats/bus.ts';
import { accepted, assertChain, fill, history, opened, replay, seqsOf } from '../../contract/bus/probe.ts';
import { type BusSetup, natsBus, newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { durable, LIVE, roomRef } from '../../support/rooms.ts';

const cluster = await NatsCluster.start(1);
after(() => cluster.close());

/** Starts nodes of one installation as they are asked for. */
function installation(context: TestContext): (setup?: BusSetup) => Promise<NatsBus> {
  const prefix = newPrefix();
  return async (setup = {}) => {
    const bus = natsBus(cluster.urls, { ...setup, options: { prefix, ...setup.options } });
    context.after(() => bus.close());
    await bus.start();
    return bus;
  };
}

test('a resume on a node that came later gets exactly what was missed', async (context) => {
  const node = installation(context);
  const first = await node();
  const room = roomRef('a');
  const before = await opened(first, room);
  const seqs = await fill(first, room, 50);
  await first.close();
  const second = await node();
  const probe = await opened(second, room);
  assert.equal(probe.position.seq, seqs.at(-1));
  assert.equal(probe.position.epoch, before.position.epoch, 'one epoch for all nodes');
  const since = { epoch: before.position.epoch, seq: seqs[19] as number };
  const page = await replay(second, room, since);
  assert.equal(page.recovered, 'full');
  assert.deepEqual(seqsOf(page), seqs.slice(20));
  assertChain(page.events, since.seq);
  const all = await replay(second, room, before.position);
  assert.deepEqual(
    [all.recovered, seqsOf(all)],
    ['full', seqs],
    'from the position before the first event too',
  );
  const next = await accepted(second, room, 'next');
  assertChain(probe.events, probe.position.seq);
  assert.deepEqual(probe.seqs, [next]);
});

test('what has been read once is answered from memory', async (context) => {
  const node = installation(context);
  const room = roomRef('a');
  const seqs = await fill(await node(), room, 20);
  const bus = await node();
  const { position } = await opened(bus, room);
  const since = { epoch: position.epoch, seq: seqs[9] as number };
  // Many come at once after a node has died: one reads, the others wait for it.
  const pages = await Promise.all(Array.from({ length: 50 }, () => replay(bus, room, since)));
  for (const page of pages) assert.deepEqual(seqsOf(page), seqs.slice(10));
  assert.equal(bus.health().figures['history_loads'], 1);
  let answer: unknown;
  bus.replay(room, since, { count: 10, maxBytes: 1e6 }, (page) => (answer = page));
  assert.notEqual(answer, undefined, 'before the call returns');
});

test('the last n and the newest of the history come from deep in a stream that others fill', async (context) => {
  const node = installation(context);
  const first = await node({ options: { shards: 1 } });
  const room = roomRef('quiet', durable({ count: 10 }));
  const busy = roomRef('busy', durable({ count: 1000 }));
  const seqs = await fill(first, room, 15);
  await Promise.all(Array.from({ length: 6000 }, (_, n) => accepted(first, busy, n)));
  const second = await node({ options: { shards: 1 } });
  await opened(second, room);
  assert.deepEqual(seqsOf(await replay(second, room, { last: 4 })), seqs.slice(-4));
  const newest = await history(second, room, { limit: 100 });
  assert.deepEqual([seqsOf(newest), newest.more, newest.truncated], [seqs.slice(5), false, true]);
  const elsewhere = await history(first, room, { limit: 3 });
  assert.deepEqual([seqsOf(elsewhere), elsewhere.more], [seqs.slice(-3), true]);
  const cut = await replay(second, room, { epoch: newest.epoch, seq: seqs[2] as number });
  assert.deepEqual(
    [cut.recovered, cut.gap],
    ['partial', { from: seqs[2], to: seqs[4], reason: 'retention' }],
  );
});

test('tails give way to the memory limit, and come back from the store', async (context) => {
  const node = installation(context);
  const bus = await node({ historyTotalBytes: 100_000 });
  const rooms = Array.from({ length: 10 }, (_, n) => roomRef(`r${n}`));
  const seqs = new Map<string, number[]>();
  for (const room of rooms) await opened(bus, room);
  for (const room of rooms) seqs.set(room.key, await fill(bus, room, 20, () => 'x'.repeat(1000)));
  await sleep(250);
  const { figures } = bus.health();
  assert.ok((figures['history_bytes'] ?? 0) <= 100_000, `${figures['history_bytes']}`);
  assert.ok((figures['history_evicted_rooms'] ?? 0) > 0);
  for (const room of rooms) {
    const page = await history(bus, room);
    assert.deepEqual(seqsOf(page), seqs.get(room.key), room.name);
  }
});

test('a room that nobody came back to is not listened to any more, and opens again', async (context) => {
  const node = installation(context);
  const bus = await node({ options: { lingerMs: 300 } });
  for (const room of [roomRef('a'), roomRef('b', LIVE)]) {
    const probe = await opened(bus, room);
    await accepted(bus, room, 1);
    bus.shut(room);
    const again = await opened(bus, room);
    assert.equal(again.position.seq, probe.seqs[0], 'still warm: nothing was missed');
    bus.shut(room);
  }
  await sleep(600);
  const { figures } = bus.health();
  assert.deepEqual([figures['rooms'], figures['live_rooms']], [0, 0]);
  const probe = await opened(bus, roomRef('a'));
  const seq = await accepted(bus, roomRef('a'), 2);
  assert.deepEqual(probe.seqs, [seq]);
});

test('a room opened and shut many times while it is published to: every feed is whole', async (context) => {
  const node = installation(context);
  const [here, there] = [await node({ options: { lingerMs: 0 } }), await node()];
  const room = roomRef('a');
  let going = true;
  const published: Promise<number>[] = [];
  const publishing = (async () => {
    for (let n = 0; going; n++) {
      published.push(accepted(there, room, n));
      await sleep(1);
    }
  })();
  const probes = [];
  for (let n = 0; n < 30; n++) {
    const probe = await opened(here, room);
    probes.push(probe);
    await sleep(20);
    here.shut(room);
    await sleep(n % 3 === 0 ? 150 : 0);
  }
  going = false;
  await publishing;
  const seqs = (await Promise.all(published)).sort((one, other) => one - other);
  for (const probe of probes) {
    assertChain(probe.events, probe.position.seq);
    const last = probe.seqs.at(-1) ?? probe.position.seq;
    assert.deepEqual(
      probe.seqs,
      seqs.filter((seq) => seq > probe.position.seq && seq <= last),
    );
    assert.deepEqual(probe.gaps, []);
  }
});

test('as many rooms as the limit says; one that is only kept warm makes place', async (context) => {
  const node = installation(context);
  const bus = await node({ rooms: 3 });
  for (const room of [roomRef('a'), roomRef('b', LIVE), roomRef('c')]) await opened(bus, room);
  const faults: string[] = [];
  const sink = { opened: () => undefined, event: () => undefined, gap: () => undefined };
  bus.open(roomRef('d'), { ...sink, failed: (fault) => faults.push(fault.code) });
  assert.deepEqual(faults, ['overloaded']);
  bus.shut(roomRef('c'));
  await opened(bus, roomRef('c'));
  bus.shut(roomRef('b', LIVE));
  await opened(bus, roomRef('d'));
  const { figures } = bus.health();
  assert.deepEqual([figures['rooms'], figures['live_rooms']], [3, 0]);
});
