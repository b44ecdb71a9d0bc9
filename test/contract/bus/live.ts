import assert from 'node:assert/strict';
import { LIVE, roomRef } from '../../support/rooms.ts';
import { accepted, assertChain, fill, history, opened, quiet, replay, seqsOf } from './probe.ts';
import type { Promised } from './subject.ts';

export function liveTests(promised: Promised): void {
  promised('a live room delivers in order, chained, and keeps nothing', async ({ bus }) => {
    const room = roomRef('a', LIVE);
    const probe = await opened(bus, room);
    const seqs = await Promise.all(Array.from({ length: 50 }, (_, n) => accepted(bus, room, n)));
    await probe.count(50);
    assert.deepEqual(probe.seqs, seqs);
    assertChain(probe.events, probe.position.seq);
    const page = await history(bus, room);
    assert.deepEqual(page.events, []);
    assert.equal(page.more, false);
    const last = await replay(bus, room, { last: 10 });
    assert.deepEqual(seqsOf(last), []);
    assert.equal(last.remaining, 0);
    assert.equal(last.gap, undefined);
  });

  promised('a live room that nobody is in takes publishes', async ({ bus }) => {
    const room = roomRef('a', LIVE);
    await accepted(bus, room, 'nobody hears');
    const probe = await opened(bus, room);
    await quiet();
    assert.deepEqual(probe.events, []);
    await accepted(bus, room, 'heard');
    await probe.count(1);
    assertChain(probe.events, probe.position.seq);
  });

  promised('a resume in a live room is full at the head and says what is lost behind it', async ({ bus }) => {
    const room = roomRef('a', LIVE);
    const probe = await opened(bus, room);
    const seqs = await fill(bus, room, 3);
    await probe.count(3);
    const { epoch } = probe.position;
    const head = await replay(bus, room, { epoch, seq: seqs[2] as number });
    assert.deepEqual(head, { ok: true, epoch, recovered: 'full', events: [], remaining: 0 });
    const behind = await replay(bus, room, { epoch, seq: seqs[0] as number });
    assert.deepEqual(behind, {
      ok: true,
      epoch,
      recovered: 'partial',
      gap: { from: seqs[0], to: seqs[2], reason: 'retention' },
      events: [],
      remaining: 0,
    });
    const elsewhere = await replay(bus, room, { epoch: 'another', seq: 7 });
    assert.equal(elsewhere.recovered, 'none');
    assert.deepEqual(elsewhere.gap, { from: 7, to: seqs[2], reason: 'epoch' });
  });

  promised('loss while a live room was shut is visible', async ({ bus }) => {
    const room = roomRef('a', LIVE);
    const first = await opened(bus, room);
    const [seen] = await fill(bus, room, 1);
    await first.count(1);
    bus.shut(room);
    await fill(bus, room, 2);
    const second = await opened(bus, room);
    const page = await replay(bus, room, { epoch: first.position.epoch, seq: seen as number });
    assert.notEqual(page.recovered, 'full');
    assert.equal(page.gap?.to, second.position.seq);
    assert.deepEqual(page.events, []);
  });
}
