/** What is remembered, and how much of it at most. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { EVENT_BYTES, EventRing, EventRings } from '../../../src/broker/fate/ring.ts';
import { type Departed, type Note, noteBytes, Trail, Trails } from '../../../src/broker/fate/trail.ts';

const gap = (at: number): Note => ({
  kind: 'gap',
  room: 'r',
  from: at,
  to: at + 1,
  reason: 'bus',
  action: 'skip',
  at,
});

const departed = (at: number, trail = new Trail()): Departed => ({
  session: `s${at}`,
  tenant: 't',
  user: 'u',
  stamp: at,
  connectedAt: 0,
  at,
  code: 1000,
  reason: '',
  unsent: undefined,
  trail,
});

function remembersNewest(ring: EventRing, ids: readonly number[], oldest: number): void {
  for (const [at, id] of ids.entries()) {
    const expected = { seq: at + 1, ts: 1000 + at, at: 2000 + at, skipped: id % 3 };
    assert.deepEqual(ring.bySeq(at + 1), at < oldest ? undefined : expected);
  }
  for (const id of new Set(ids)) {
    const newest = ids.lastIndexOf(id);
    assert.equal(ring.byId(id)?.seq, newest < oldest ? undefined : newest + 1);
  }
}

describe('the ring of a room', () => {
  test('remembers the newest events, whatever it held before', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.array(fc.integer({ min: 1, max: 30 })), (max, ids) => {
        const ring = new EventRing(max);
        ring.enter('e');
        for (const [at, id] of ids.entries()) ring.add(at + 1, 1000 + at, 2000 + at, id, id % 3);
        remembersNewest(ring, ids, Math.max(0, ids.length - max));
        assert.ok(ring.bytes <= max * EVENT_BYTES);
      }),
    );
  });

  test('forgets what was of another epoch', () => {
    const ring = new EventRing(10);
    ring.enter('one');
    ring.add(1, 0, 0, 0, 0);
    ring.lost({ from: 0, to: 1, reason: 'bus', at: 0, nth: 1 });
    ring.enter('one');
    assert.ok(ring.bySeq(1));
    ring.enter('two');
    assert.deepEqual([ring.bySeq(1), ring.gaps.length], [undefined, 0]);
  });

  test('rings of many rooms: as many as there may be, the least used go', () => {
    const rings = new EventRings(10, 16);
    const first = rings.of('room0');
    for (let room = 1; room < 10; room++) rings.of(`room${room}`);
    rings.of('room0');
    for (let room = 10; room < 19; room++) {
      const ring = rings.of(`room${room}`);
      for (let at = 0; at < 100; at++) ring.add(at, 0, 0, 0, 0);
    }
    assert.equal(rings.get('room0'), first);
    assert.equal(rings.get('room1'), undefined);
    assert.ok(rings.bytes <= 10 * 16 * EVENT_BYTES);
    rings.of('room19');
    assert.ok(first.dropped, 'whoever holds it asks for another');
  });
});

describe('trails', () => {
  test('of one session: the newest notes, and since when they are whole', () => {
    const trails = new Trails({ sessionNotes: 3, bytes: 1 << 20, keepMs: 1000 }, 0);
    const trail = new Trail();
    for (let at = 1; at <= 5; at++) trails.note(trail, gap(at), at);
    assert.deepEqual(
      trail.notes.map(({ at }) => at),
      [3, 4, 5],
    );
    assert.deepEqual([trail.lostAt, trails.bytes], [2, 3 * noteBytes(gap(0))]);
  });

  test('all together: within the bytes, the first to end go first, and it is known since when they are whole', () => {
    const trails = new Trails({ sessionNotes: 10, bytes: 10_000, keepMs: 1_000_000 }, 0);
    const present = new Trail();
    trails.note(present, gap(1), 1);
    for (let at = 2; at < 500; at++) {
      const trail = new Trail();
      for (let note = 0; note < at % 10; note++) trails.note(trail, gap(at), at);
      trails.depart(departed(at, trail));
      assert.ok(trails.bytes <= 10_000, `${trails.bytes}`);
    }
    const kept = [...trails.departed()];
    assert.ok(kept.length > 0 && kept.length < 100);
    assert.equal(trails.since, (kept[0]?.at ?? 0) - 1);
    assert.equal(present.notes.length, 1, 'who is here is forgotten last');
    const sum = kept.reduce((total, { trail }) => total + 320 + trail.bytes, present.bytes);
    assert.equal(trails.bytes, sum);
  });

  test('of sessions that are here alone: within the bytes, too', () => {
    const trails = new Trails({ sessionNotes: 10, bytes: 10_000, keepMs: 1000 }, 0);
    const all = Array.from({ length: 100 }, () => new Trail());
    for (let at = 1; at <= 10; at++) for (const trail of all) trails.note(trail, gap(at), at);
    assert.ok(trails.bytes <= 10_000);
    assert.ok(all.some(({ lostAt, notes }) => lostAt === 10 && notes.length === 0));
    assert.equal(
      trails.bytes,
      all.reduce((total, { bytes }) => total + bytes, 0),
    );
  });

  test('who has ended is forgotten after its time', () => {
    const trails = new Trails({ sessionNotes: 10, bytes: 10_000, keepMs: 1000 }, 0);
    for (const at of [1, 2, 3]) trails.depart(departed(at));
    trails.tick(1002);
    assert.deepEqual([[...trails.departed()].map(({ at }) => at), trails.since, trails.bytes], [[3], 2, 320]);
  });
});
