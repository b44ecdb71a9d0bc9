/** Clauses 3.10 and 4.9: pages of what is kept. */
import assert from 'node:assert/strict';
import { both, type Client, type Frame, fresh, matches, suite } from './client.ts';

const PAGE = 20;
const KEPT = 30;
const { connect } = suite({
  config: {
    rooms: [{ match: 'live:**' }, { match: '**', history: { count: KEPT, age: '10m', bytes: '1MiB' } }],
    limits: { historyPage: PAGE, historyPageBytes: '96KiB' },
  },
});

async function fill(client: Client, room: string, count: number): Promise<number[]> {
  const seqs: number[] = [];
  for (let at = 0; at < count; at++)
    seqs.push((await client.pub(room, at, { msgId: `m${at}`, key: 'k' })).seq);
  return seqs;
}

function payloads({ events }: Frame): unknown[] {
  return events.map(({ payload }) => payload);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}

both('C3.10.1 C3.10.2 C4.9 the newest events, without a place or a membership', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh();
  const empty = await client.history(room);
  matches(empty, { room, events: [], more: false, truncated: undefined });
  const seqs = await fill(client, room, 10);
  const all = await client.history(room);
  matches(all, { more: false, truncated: undefined, epoch: empty.epoch });
  assert.deepEqual(payloads(all), range(0, 10));
  for (const [at, event] of all.events.entries()) {
    matches(event, { type: 'event', room, from: client.info.user, msgId: `m${at}`, key: 'k', seq: seqs[at] });
    if (at > 0) assert.equal(event.prev, seqs[at - 1]);
  }
  const newest = await client.history(room, { limit: 3 });
  matches(newest, { more: true, truncated: undefined });
  assert.deepEqual(payloads(newest), [7, 8, 9]);
  client.send({ type: 'history', room });
  await client.expect('history', { id: undefined });
});

both('C3.10.1 C4.9 before and after are exclusive; more tells of the direction asked', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh();
  const seqs = await fill(client, room, 10);
  const ask = async (query: object, expected: number[], more: boolean): Promise<void> => {
    const page = await client.history(room, { ...query });
    assert.deepEqual(payloads(page), expected, JSON.stringify(query));
    matches(page, { more, truncated: undefined });
  };
  const seq = (at: number): number => seqs[at] as number;
  await ask({ before: seq(5) }, range(0, 5), false);
  await ask({ before: seq(5), limit: 2 }, [3, 4], true);
  await ask({ before: seq(5), limit: 5 }, range(0, 5), false);
  await ask({ before: seq(0) }, [], false);
  await ask({ before: 0 }, [], false);
  await ask({ before: Number.MAX_SAFE_INTEGER }, range(0, 10), false);
  await ask({ after: seq(5) }, range(6, 10), false);
  await ask({ after: seq(5), limit: 2 }, [6, 7], true);
  await ask({ after: seq(5), limit: 4 }, range(6, 10), false);
  await ask({ after: seq(9) }, [], false);
  await ask({ after: Number.MAX_SAFE_INTEGER }, [], false);
  await ask({ after: seq(0) - 1 }, range(0, 10), false);
});

both(
  'C3.10.1 a limit beyond limits.historyPage is cut to it, and pages put together are everything',
  async (encoding) => {
    const client = await connect({ encoding });
    const room = fresh();
    await fill(client, room, KEPT - 1);
    assert.equal(client.info.limits['historyPage'], PAGE);
    for (const limit of [PAGE, PAGE + 1, Number.MAX_SAFE_INTEGER]) {
      const page = await client.history(room, { limit });
      assert.equal(page.events.length, PAGE);
      assert.equal(page.more, true);
    }
    for (const limit of [1, 7, PAGE]) {
      const back: unknown[] = [];
      let page = await client.history(room, { limit });
      back.unshift(...payloads(page));
      while (page.more) {
        page = await client.history(room, { limit, before: page.events[0]?.seq });
        back.unshift(...payloads(page));
      }
      assert.deepEqual(back, range(0, KEPT - 1));

      const forth: unknown[] = [];
      let after = 0;
      do {
        page = await client.history(room, { limit, after });
        forth.push(...payloads(page));
        after = page.events.at(-1)?.seq ?? after;
      } while (page.more);
      assert.deepEqual(forth, range(0, KEPT - 1));
    }
  },
);

both('C4.9 C5.6 truncated says that some of the asked range is not kept any more', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh();
  const seqs = await fill(client, room, KEPT + 5);
  const [first = 0] = seqs;
  matches(await client.history(room, { after: first - 1 }), { truncated: true, more: true });
  const [, , , , lastGone = 0] = seqs;
  matches(await client.history(room, { after: lastGone }), { truncated: undefined, more: true });
  matches(await client.history(room, { after: lastGone - 1 }), { truncated: true });
  const newest = await client.history(room);
  matches(newest, { more: true, truncated: undefined });
  const older = await client.history(room, { before: newest.events[0]?.seq });
  matches(older, { more: false, truncated: true });
  assert.deepEqual(payloads(older), range(5, 15));
  matches(await client.history(room, { before: lastGone }), { events: [], more: false, truncated: true });
});

both('C3.10.2 a page ends at limits.historyPageBytes, with one event at least', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh();
  const payload = 'x'.repeat(40_000);
  for (let at = 0; at < 5; at++) await client.pub(room, payload);
  const newest = await client.history(room);
  matches(newest, { more: true });
  assert.equal(newest.events.length, 2);
  const older = await client.history(room, { before: newest.events[0]?.seq });
  assert.equal(older.events.length, 2);
  matches(await client.history(room, { before: older.events[0]?.seq }), { more: false });
});

both('C3.10.2 a live room has no history', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh('live:r');
  await client.join(room);
  await client.pub(room, 1);
  await client.expect('event');
  for (const query of [{}, { after: 0 }, { before: Number.MAX_SAFE_INTEGER }])
    matches(await client.history(room, query), { events: [], more: false });
});
