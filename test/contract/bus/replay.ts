import assert from 'node:assert/strict';
import { roomRef } from '../../support/rooms.ts';
import { accepted, assertChain, fill, opened, payloadsOf, replay, seqsOf } from './probe.ts';
import type { Promised } from './subject.ts';

const MB = 1024 * 1024;

export function replayTests(promised: Promised): void {
  positions(promised);
  epochs(promised);
  paging(promised);
}

function positions(promised: Promised): void {
  promised('a resume with nothing missed is full and empty', async ({ bus }) => {
    const room = roomRef('a');
    const fresh = await opened(bus, room);
    const nothing = { ok: true, epoch: fresh.position.epoch, recovered: 'full', events: [], remaining: 0 };
    assert.deepEqual(await replay(bus, room, fresh.position), nothing, 'in a room without events');
    const seq = (await fill(bus, room, 3)).at(-1) as number;
    assert.deepEqual(await replay(bus, room, { epoch: fresh.position.epoch, seq }), nothing, 'at the head');
  });

  promised('a resume gets exactly what was missed', async ({ bus }) => {
    const room = roomRef('a');
    const { position } = await opened(bus, room);
    const seqs = await fill(bus, room, 5);
    for (const [n, seq] of [position.seq, ...seqs].entries()) {
      const page = await replay(bus, room, { epoch: position.epoch, seq });
      assert.equal(page.recovered, 'full');
      assert.equal(page.gap, undefined);
      assert.deepEqual(seqsOf(page), seqs.slice(n));
      assertChain(page.events, seq);
      assert.equal(page.remaining, 0);
    }
  });

  promised('a position between two events of the room serves as one', async ({ bus }) => {
    const room = roomRef('a');
    const { position } = await opened(bus, room);
    const [first] = await fill(bus, room, 1);
    await fill(bus, roomRef('other'), 3);
    const [second] = await fill(bus, room, 1);
    if ((second as number) - (first as number) < 2) return;
    const page = await replay(bus, room, { epoch: position.epoch, seq: (first as number) + 1 });
    assert.equal(page.recovered, 'full');
    assert.deepEqual(seqsOf(page), [second]);
  });

  promised('the last n: as many as there are at most, oldest first', async ({ bus }) => {
    const room = roomRef('a');
    await opened(bus, room);
    const seqs = await fill(bus, room, 5);
    for (const last of [0, 1, 3, 5, 50]) {
      const page = await replay(bus, room, { last });
      assert.deepEqual(seqsOf(page), last === 0 ? [] : seqs.slice(-last));
      assert.equal(page.gap, undefined);
      assert.equal(page.recovered, 'full');
      assert.equal(page.remaining, 0);
    }
  });
}

function epochs(promised: Promised): void {
  promised('a position of another epoch recovers nothing and gets all that is kept', async ({ bus }) => {
    const room = roomRef('a');
    const { position } = await opened(bus, room);
    const seqs = await fill(bus, room, 3);
    const page = await replay(bus, room, { epoch: 'another', seq: 2 ** 40 });
    assert.equal(page.recovered, 'none');
    assert.equal(page.epoch, position.epoch);
    assert.deepEqual(seqsOf(page), seqs);
    assert.deepEqual(page.gap, { from: 2 ** 40, to: page.events[0]?.prev, reason: 'epoch' });
  });

  promised('a position of another epoch in a room without events', async ({ bus }) => {
    const room = roomRef('a');
    const { position } = await opened(bus, room);
    const page = await replay(bus, room, { epoch: 'another', seq: 3 });
    const gap = { from: 3, to: position.seq, reason: 'epoch' };
    assert.deepEqual(page, {
      ok: true,
      epoch: position.epoch,
      recovered: 'none',
      gap,
      events: [],
      remaining: 0,
    });
  });

  promised('a position that the room has not reached is taken for one of another epoch', async ({ bus }) => {
    const room = roomRef('a');
    const { position } = await opened(bus, room);
    const seqs = await fill(bus, room, 3);
    const page = await replay(bus, room, { epoch: position.epoch, seq: 2 ** 40 });
    assert.equal(page.recovered, 'none');
    assert.equal(page.gap?.reason, 'epoch');
    assert.deepEqual(seqsOf(page), seqs);
  });
}

function paging(promised: Promised): void {
  promised('pages by count: each goes on where the one before ended', async ({ bus }) => {
    const room = roomRef('a');
    const { position } = await opened(bus, room);
    const seqs = await fill(bus, room, 10);
    let since = position;
    for (const [from, to] of [
      [0, 4],
      [4, 8],
      [8, 10],
    ] as const) {
      const page = await replay(bus, room, since, { count: 4, maxBytes: MB });
      assert.deepEqual(seqsOf(page), seqs.slice(from, to));
      assert.equal(page.remaining, 10 - to);
      assert.equal(page.recovered, 'full');
      since = { epoch: page.epoch, seq: page.events.at(-1)?.seq as number };
    }
    const newest = await replay(bus, room, { last: 7 }, { count: 3, maxBytes: MB });
    assert.deepEqual(seqsOf(newest), seqs.slice(3, 6), 'the last n begin at their oldest');
    assert.equal(newest.remaining, 4);
  });

  promised('pages by bytes hold at least one event', async ({ bus }) => {
    const room = roomRef('a');
    const { position } = await opened(bus, room);
    const seqs = await fill(bus, room, 6, () => 'x'.repeat(1000));
    const one = await replay(bus, room, position, { count: 100, maxBytes: 1 });
    assert.deepEqual(seqsOf(one), seqs.slice(0, 1));
    assert.equal(one.remaining, 5);
    const some = await replay(bus, room, position, { count: 100, maxBytes: 3500 });
    assert.ok(
      some.events.length >= 2 && some.events.length <= 3,
      `${some.events.length} events of 1,000 bytes`,
    );
    assert.equal(some.remaining, 6 - some.events.length);
  });

  promised('a catch-up amid publishes gets every event once, and ends', async ({ bus }) => {
    const room = roomRef('a');
    const probe = await opened(bus, room);
    const publishes = Array.from({ length: 100 }, (_, n) => accepted(bus, room, n));
    const got: unknown[] = [];
    let since = probe.position;
    for (let n = 0; got.length < 200; n++) {
      assert.ok(n < 2000, 'the catch-up gets on');
      const page = await replay(bus, room, since, { count: 7, maxBytes: MB });
      assertChain(page.events, since.seq);
      got.push(...payloadsOf(page));
      since = { epoch: page.epoch, seq: page.events.at(-1)?.seq ?? since.seq };
      if (publishes.length < 200) publishes.push(accepted(bus, room, publishes.length));
      else await Promise.all(publishes);
    }
    assert.deepEqual(
      got,
      Array.from({ length: 200 }, (_, n) => n),
    );
    const end = await replay(bus, room, since);
    assert.deepEqual([end.events.length, end.remaining, end.recovered], [0, 0, 'full']);
    assert.equal(since.seq, probe.seqs.at(-1));
  });
}
