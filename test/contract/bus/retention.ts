import assert from 'node:assert/strict';
import type { Bus, RoomRef } from '../../../src/broker/ports.ts';
import { durable, roomRef } from '../../support/rooms.ts';
import { accepted, assertChain, fill, history, opened, replay, seqsOf } from './probe.ts';
import type { Promised } from './subject.ts';

export function retentionTests(promised: Promised): void {
  counts(promised);
  ages(promised);
}

/** All three ways to read say that everything up to `seqs[kept]` is gone and what follows is there. */
async function assertCut(
  bus: Bus,
  room: RoomRef,
  epoch: string,
  seqs: readonly number[],
  kept: number,
): Promise<void> {
  const [lost, rest] = [seqs[kept - 1] as number, seqs.slice(kept)];
  const partial = await replay(bus, room, { epoch, seq: seqs[0] as number });
  assert.equal(partial.recovered, 'partial');
  assert.deepEqual(partial.gap, { from: seqs[0], to: lost, reason: 'retention' });
  assert.deepEqual(seqsOf(partial), rest);
  assertChain(partial.events, lost);
  const full = await replay(bus, room, { epoch, seq: lost });
  assert.deepEqual([full.recovered, full.gap, seqsOf(full)], ['full', undefined, rest]);
  const newest = await history(bus, room);
  assert.deepEqual([seqsOf(newest), newest.more, newest.truncated], [rest, false, true]);
  const cut = await history(bus, room, { after: seqs[0] as number });
  assert.deepEqual([seqsOf(cut), cut.truncated], [rest, true]);
  const whole = await history(bus, room, { after: lost });
  assert.deepEqual([seqsOf(whole), whole.truncated], [rest, false]);
}

function counts(promised: Promised): void {
  promised(
    'a room keeps as many events as its policy says, and says what is gone',
    async ({ bus }) => {
      const room = roomRef('a', durable({ count: 5 }));
      const { position } = await opened(bus, room);
      const seqs = await fill(bus, room, 12);
      await assertCut(bus, room, position.epoch, seqs, 7);
      const page = await history(bus, room, { limit: 3 });
      assert.deepEqual([page.more, page.truncated], [true, false], 'the cut is not in this page');
    },
    { exactBounds: true },
  );

  promised(
    'a room keeps as many bytes as its policy says',
    async ({ bus }) => {
      const room = roomRef('a', durable({ bytes: 20_000 }));
      const { position } = await opened(bus, room);
      const seqs = await fill(bus, room, 30, () => 'x'.repeat(2000));
      const kept = (await history(bus, room)).events.length;
      assert.ok(kept >= 5 && kept <= 9, `${kept} events of 2,000 bytes in 20,000`);
      await assertCut(bus, room, position.epoch, seqs, 30 - kept);
    },
    { exactBounds: true },
  );

  promised(
    'an event larger than the room may keep is delivered all the same, and its loss is told',
    async ({ bus }) => {
      const room = roomRef('a', durable({ bytes: 5000 }));
      const probe = await opened(bus, room);
      const small = await accepted(bus, room, 'small');
      const large = await accepted(bus, room, 'x'.repeat(20_000));
      assert.deepEqual(probe.seqs, [small, large]);
      const page = await replay(bus, room, { epoch: probe.position.epoch, seq: small });
      assert.deepEqual(page.gap, { from: small, to: large, reason: 'retention' });
      const next = await accepted(bus, room, 'small');
      assertChain(probe.events, probe.position.seq);
      assert.deepEqual(seqsOf(await history(bus, room)), [next]);
    },
    { exactBounds: true },
  );
}

function ages(promised: Promised): void {
  promised(
    'a room keeps events as long as its policy says',
    async ({ bus, advance }) => {
      const room = roomRef('a', durable({ ageMs: 10_000 }));
      const { position } = await opened(bus, room);
      const old = await fill(bus, room, 4);
      await advance?.(6000);
      const young = await fill(bus, room, 3);
      assert.deepEqual(seqsOf(await history(bus, room)), [...old, ...young]);
      await advance?.(6000);
      await assertCut(bus, room, position.epoch, [...old, ...young], 4);
    },
    { ages: true },
  );

  promised(
    'when every event has aged, a resume says so, and the order goes on',
    async ({ bus, advance }) => {
      const room = roomRef('a', durable({ ageMs: 10_000 }));
      const probe = await opened(bus, room);
      const seqs = await fill(bus, room, 3);
      await advance?.(20_000);
      const [first, , last] = seqs as [number, number, number];
      const { epoch } = probe.position;
      const partial = await replay(bus, room, { epoch, seq: first });
      const gap = { from: first, to: last, reason: 'retention' };
      assert.deepEqual(partial, { ok: true, epoch, recovered: 'partial', gap, events: [], remaining: 0 });
      assert.equal((await replay(bus, room, { epoch, seq: last })).recovered, 'full');
      assert.deepEqual((await replay(bus, room, { last: 5 })).events, []);
      await accepted(bus, room, 'next');
      await probe.count(4);
      assertChain(probe.events, probe.position.seq);
    },
    { ages: true },
  );

  promised(
    'a member that comes back to a quiet room within the history age has missed nothing',
    async ({ bus, advance }) => {
      const room = roomRef('inbox', durable({ ageMs: 10_000 }));
      const other = roomRef('busy', durable({ ageMs: 10_000 }));
      const { position } = await opened(bus, room);
      bus.shut(room);
      await fill(bus, other, 3);
      await advance?.(9000);
      await fill(bus, other, 3);
      await opened(bus, room);
      assert.equal((await replay(bus, room, position)).recovered, 'full');
    },
    { ages: true },
  );

  promised(
    'a member that comes back much later is never told that it has missed nothing when it has',
    async ({ bus, advance }) => {
      const room = roomRef('inbox', durable({ ageMs: 10_000 }));
      const { position } = await opened(bus, room);
      bus.shut(room);
      await accepted(bus, room, 'missed');
      for (let n = 0; n < 5; n++) await advance?.(20_000);
      await opened(bus, room);
      const page = await replay(bus, room, position);
      assert.equal(page.recovered, 'partial');
      assert.equal(page.gap?.from, position.seq);
      assert.deepEqual(page.events, []);
    },
    { ages: true },
  );
}
