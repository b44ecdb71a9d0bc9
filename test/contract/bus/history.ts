import assert from 'node:assert/strict';
import { roomRef } from '../../support/rooms.ts';
import { fill, history, opened, seqsOf } from './probe.ts';
import type { Promised } from './subject.ts';

export function historyTests(promised: Promised): void {
  ranges(promised);
  bounds(promised);
}

function ranges(promised: Promised): void {
  promised('history of a room without events is empty and whole', async ({ bus }) => {
    const page = await history(bus, roomRef('a'));
    assert.deepEqual([page.events, page.more, page.truncated], [[], false, false]);
    const { position } = await opened(bus, roomRef('a'));
    assert.equal(page.epoch, position.epoch);
  });

  promised('history gives the newest events, ascending, in a room that nobody is in', async ({ bus }) => {
    const room = roomRef('a');
    const seqs = await fill(bus, room, 10);
    const all = await history(bus, room);
    assert.deepEqual([seqsOf(all), all.more, all.truncated], [seqs, false, false]);
    const some = await history(bus, room, { limit: 3 });
    assert.deepEqual([seqsOf(some), some.more, some.truncated], [seqs.slice(7), true, false]);
    const exact = await history(bus, room, { limit: 10 });
    assert.deepEqual([seqsOf(exact), exact.more], [seqs, false]);
  });

  promised(
    'before: the newest of the events before a position, which is not one of them',
    async ({ bus }) => {
      const room = roomRef('a');
      const seqs = await fill(bus, room, 10);
      const page = await history(bus, room, { before: seqs[6] as number, limit: 4 });
      assert.deepEqual([seqsOf(page), page.more, page.truncated], [seqs.slice(2, 6), true, false]);
      const first = await history(bus, room, { before: seqs[2] as number, limit: 4 });
      assert.deepEqual([seqsOf(first), first.more, first.truncated], [seqs.slice(0, 2), false, false]);
      const none = await history(bus, room, { before: seqs[0] as number, limit: 4 });
      assert.deepEqual([seqsOf(none), none.more, none.truncated], [[], false, false]);
      const beyond = await history(bus, room, { before: 2 ** 40, limit: 4 });
      assert.deepEqual(seqsOf(beyond), seqs.slice(6));
    },
  );

  promised('after: the oldest of the events after a position, which is not one of them', async ({ bus }) => {
    const room = roomRef('a');
    const seqs = await fill(bus, room, 10);
    const page = await history(bus, room, { after: seqs[2] as number, limit: 4 });
    assert.deepEqual([seqsOf(page), page.more, page.truncated], [seqs.slice(3, 7), true, false]);
    const rest = await history(bus, room, { after: seqs[6] as number, limit: 4 });
    assert.deepEqual([seqsOf(rest), rest.more, rest.truncated], [seqs.slice(7), false, false]);
    const none = await history(bus, room, { after: seqs[9] as number, limit: 4 });
    assert.deepEqual([seqsOf(none), none.more, none.truncated], [[], false, false]);
  });

  promised('after and before: the oldest between them', async ({ bus }) => {
    const room = roomRef('a');
    const seqs = await fill(bus, room, 10);
    const range = { after: seqs[1] as number, before: seqs[6] as number };
    const all = await history(bus, room, range);
    assert.deepEqual([seqsOf(all), all.more], [seqs.slice(2, 6), false]);
    const some = await history(bus, room, { ...range, limit: 3 });
    assert.deepEqual([seqsOf(some), some.more], [seqs.slice(2, 5), true]);
    const empty = await history(bus, room, { after: seqs[6] as number, before: seqs[1] as number });
    assert.deepEqual([seqsOf(empty), empty.more, empty.truncated], [[], false, false]);
  });
}

function bounds(promised: Promised): void {
  promised('paging backwards and forwards passes every event once', async ({ bus }) => {
    const room = roomRef('a');
    const seqs = await fill(bus, room, 23);
    const back: number[] = [];
    for (let before: number | undefined, more = true; more; before = back[0]) {
      const page = await history(bus, room, { before, limit: 5 });
      back.unshift(...seqsOf(page));
      more = page.more;
    }
    assert.deepEqual(back, seqs);
    const forth = [seqs[0] as number];
    for (let more = true; more; ) {
      const page = await history(bus, room, { after: forth.at(-1), limit: 5 });
      forth.push(...seqsOf(page));
      more = page.more;
    }
    assert.deepEqual(forth, seqs);
  });

  promised('a page is within maxBytes, but holds at least one event', async ({ bus }) => {
    const room = roomRef('a');
    const seqs = await fill(bus, room, 6, () => 'x'.repeat(1000));
    const one = await history(bus, room, { maxBytes: 1 });
    assert.deepEqual([seqsOf(one), one.more], [seqs.slice(5), true]);
    const next = await history(bus, room, { after: seqs[0] as number, maxBytes: 1 });
    assert.deepEqual([seqsOf(next), next.more], [seqs.slice(1, 2), true]);
    const some = await history(bus, room, { maxBytes: 3500 });
    assert.ok(
      some.events.length >= 2 && some.events.length <= 3,
      `${some.events.length} events of 1,000 bytes`,
    );
    assert.deepEqual(seqsOf(some), seqs.slice(-some.events.length));
  });
}
