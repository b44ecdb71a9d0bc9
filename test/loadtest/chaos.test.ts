/** The checker of the chaos run is shown every fault that it is there to find. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { check, type Facts, type Kind, type Told } from '../../loadtest/chaos/checker.ts';
import { FAULTS, timetable } from '../../loadtest/chaos/timetable.ts';
import { Rng } from '../support/rng.ts';

const told = (change: Partial<Told> = {}): Told => ({
  who: 'ann',
  room: 'a',
  from: 0,
  epochs: ['e'],
  seqs: [10, 20, 30],
  messages: [0, 1, 2],
  gaps: [],
  ...change,
});

/** Three messages in one room, two subscribers, nothing wrong. */
const good: Facts = {
  published: [10, 20, 30].map((seq) => ({ room: 'a', state: 'acked', seq, epoch: 'e' })),
  stored: new Map([['a', { seqs: [10, 20, 30], messages: [0, 1, 2] }]]),
  told: [told(), told({ who: 'bob', from: 20, seqs: [30], messages: [2] })],
};

/** What is wrong with it, by kind. */
function found(change: Partial<Facts>): Partial<Record<Kind, number>> {
  const { ok, counts, examples } = check({ ...good, ...change });
  const wrong = Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
  assert.equal(ok, Object.keys(wrong).length === 0);
  assert.equal(examples.length > 0, !ok);
  return wrong;
}

describe('the checker', () => {
  test('has nothing against a good history', () => {
    assert.deepEqual(found({}), {});
    const { acked, stored, received, gaps, excused } = check(good);
    assert.deepEqual([acked, stored, received, gaps, excused], [3, 3, 4, 0, 0]);
  });

  test('a refused message may be stored or not', () => {
    const published = good.published.map((one, at) =>
      at === 1 ? { room: 'a', state: 'refused' as const } : one,
    );
    assert.deepEqual(found({ published }), {});
    const without = new Map([['a', { seqs: [10, 30], messages: [0, 2] }]]);
    assert.deepEqual(
      found({ published, stored: without, told: [told({ seqs: [10, 30], messages: [0, 2] })] }),
      {},
    );
  });

  test('lost: in the middle, at the end, all of it', () => {
    assert.deepEqual(found({ told: [told({ seqs: [10, 30], messages: [0, 2] })] }), { lost: 1 });
    assert.deepEqual(found({ told: [told({ seqs: [10, 20], messages: [0, 1] })] }), { lost: 1 });
    assert.deepEqual(found({ told: [told({ seqs: [], messages: [] })] }), { lost: 3 });
  });

  test('a hole with a name is excused and counted, one with another name is not', () => {
    const hole = { seqs: [10, 30], messages: [0, 2] };
    const named = [told({ ...hole, gaps: [{ from: 10, to: 20, reason: 'retention' }] })];
    assert.deepEqual(found({ told: named }), {});
    assert.deepEqual([check({ ...good, told: named }).gaps, check({ ...good, told: named }).excused], [1, 1]);
    const elsewhere = [told({ ...hole, gaps: [{ from: 20, to: 25, reason: 'retention' }] })];
    assert.deepEqual(found({ told: elsewhere }), { lost: 1 });
  });

  test('named in a gap, and received all the same', () => {
    const gaps = [{ from: 10, to: 20, reason: 'bus' }];
    assert.deepEqual(found({ told: [told({ gaps })] }), { 'named-but-came': 1 });
  });

  test('doubled', () => {
    const twice = told({ seqs: [10, 20, 20, 30], messages: [0, 1, 1, 2] });
    assert.deepEqual(found({ told: [twice] }), { doubled: 1 });
    const later = told({ seqs: [10, 20, 30, 10], messages: [0, 1, 2, 0] });
    assert.deepEqual(found({ told: [later] }), { doubled: 1 });
  });

  test('reordered', () => {
    assert.deepEqual(found({ told: [told({ seqs: [10, 30, 20], messages: [0, 2, 1] })] }), { reordered: 1 });
  });

  test('two subscribers with two orders', () => {
    const other = told({ who: 'bob', messages: [1, 0, 2] });
    assert.deepEqual(found({ told: [told(), other] }), { unstored: 2 });
  });

  test('received, but not stored', () => {
    assert.deepEqual(found({ told: [told({ seqs: [10, 20, 25, 30], messages: [0, 1, 7, 2] })] }), {
      unstored: 1,
    });
  });

  test('received from before the join', () => {
    assert.deepEqual(found({ told: [told({ from: 10 })] }), { early: 1 });
  });

  test('an ack without its message in the store', () => {
    const stored = new Map([['a', { seqs: [10, 30], messages: [0, 2] }]]);
    const all = [told({ seqs: [10, 30], messages: [0, 2] })];
    assert.deepEqual(found({ stored, told: all }), { 'ack-not-stored': 1 });
    assert.deepEqual(found({ stored: new Map(), told: [] }), { 'ack-not-stored': 3 });
  });

  test('an ack with another place', () => {
    const published = [...good.published];
    published[1] = { room: 'a', state: 'acked', seq: 21, epoch: 'e' };
    assert.deepEqual(found({ published }), { 'ack-elsewhere': 1 });
  });

  test('stored twice, in order for everybody', () => {
    const stored = new Map([['a', { seqs: [10, 20, 30, 40], messages: [0, 1, 2, 1] }]]);
    const all = [told({ seqs: [10, 20, 30, 40], messages: [0, 1, 2, 1] })];
    assert.deepEqual(found({ stored, told: all }), { 'stored-twice': 1 });
  });

  test('stored in another room', () => {
    const stored = new Map([...good.stored, ['b', { seqs: [5], messages: [1] }]]);
    assert.deepEqual(found({ stored }), { 'stored-unknown': 1 });
  });

  test('no answer at all', () => {
    assert.deepEqual(found({ published: [...good.published, { room: 'a', state: 'open' }] }), {
      unanswered: 1,
    });
  });

  test('another epoch', () => {
    assert.deepEqual(found({ told: [told({ epochs: ['e', 'f'] })] }), { epoch: 1 });
  });
});

describe('the timetable', () => {
  const faults = Object.keys(FAULTS) as (keyof typeof FAULTS)[];

  test('has every kind in turn, in its share of the time', () => {
    const plan = timetable(faults, 80, new Rng(7));
    assert.deepEqual(
      plan.map(({ fault }) => fault),
      faults,
    );
    for (const [turn, { atSeconds }] of plan.entries())
      assert.ok(atSeconds >= turn * 10 && atSeconds < turn * 10 + 5, `${turn}: ${atSeconds}`);
  });

  test('is the same for the same seed, another for another', () => {
    assert.deepEqual(timetable(faults, 300, new Rng(7)), timetable(faults, 300, new Rng(7)));
    assert.notDeepEqual(timetable(faults, 300, new Rng(7)), timetable(faults, 300, new Rng(8)));
  });
});
