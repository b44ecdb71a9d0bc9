import assert from 'node:assert/strict';
import { roomRef } from '../../support/rooms.ts';
import { accepted, assertChain, history, opened, publish, seqsOf } from './probe.ts';
import type { Promised } from './subject.ts';

export function dedupeTests(promised: Promised): void {
  promised('a retried msgId is stored and delivered once and gets the first position', async ({ bus }) => {
    const room = roomRef('a');
    const probe = await opened(bus, room);
    const first = await accepted(bus, room, 'first', { msgId: 'm' });
    const between = await accepted(bus, room, 'between');
    const again = await publish(bus, room, 'changed', { msgId: 'm' });
    assert.deepEqual(again, { ok: true, epoch: probe.position.epoch, seq: first, duplicate: true });
    const after = await accepted(bus, room, 'after');
    assert.deepEqual(probe.seqs, [first, between, after]);
    assertChain(probe.events, probe.position.seq);
    assert.deepEqual(seqsOf(await history(bus, room)), [first, between, after]);
    assert.deepEqual(probe.payloads, ['first', 'between', 'after']);
  });

  promised('a retry that does not wait for the first answer is stored once', async ({ bus }) => {
    const room = roomRef('a');
    const outcomes = await Promise.all(
      Array.from({ length: 10 }, (_, n) => publish(bus, room, n, { msgId: 'm' })),
    );
    const stored = await history(bus, room);
    assert.equal(stored.events.length, 1);
    for (const outcome of outcomes) assert.equal(outcome.ok && outcome.seq, stored.events[0]?.seq);
    assert.equal(outcomes.filter((outcome) => outcome.ok && !outcome.duplicate).length, 1);
  });

  promised('a retry is a duplicate where nobody is in the room too', async ({ bus }) => {
    const room = roomRef('a');
    const first = await accepted(bus, room, 'first', { msgId: 'm' });
    const probe = await opened(bus, room);
    bus.shut(room);
    const again = await publish(bus, room, 'first', { msgId: 'm' });
    assert.deepEqual(again, { ok: true, epoch: probe.position.epoch, seq: first, duplicate: true });
  });

  promised('the same msgId of another user, room or tenant is another message', async ({ bus }) => {
    const room = roomRef('a');
    const others = [
      { room, from: 'bob' },
      { room: roomRef('b'), from: 'ann' },
      { room: roomRef('a', undefined, 'other'), from: 'ann' },
    ];
    await accepted(bus, room, 'ann', { msgId: 'm' });
    for (const { room: each, from } of others) await accepted(bus, each, from, { from, msgId: 'm' });
    assert.equal((await history(bus, room)).events.length, 2);
    for (const { room: each } of others.slice(1)) assert.equal((await history(bus, each)).events.length, 1);
  });

  promised('no separator in a user id or msgId makes two messages one', async ({ bus }) => {
    const room = roomRef('a');
    const pairs = [
      ['a', 'b\0c'],
      ['a\0b', 'c'],
      ['a\0', 'b\0c'],
      ['', 'a\0b\0c'],
      ['a:b', 'c'],
      ['a', 'b:c'],
      ['1', '1\u00001'],
      ['1\u00001', '1'],
    ];
    for (const [from, msgId] of pairs) await accepted(bus, room, 'x', { from: from as string, msgId });
    assert.equal((await history(bus, room)).events.length, pairs.length);
  });

  promised('without a msgId nothing is a duplicate', async ({ bus }) => {
    const room = roomRef('a');
    for (let n = 0; n < 3; n++) await accepted(bus, room, 'same');
    assert.equal((await history(bus, room)).events.length, 3);
  });
}
