/** Clauses 3.7, 3.8, 4.2 to 4.4 and the promises on positions: joining, resuming, leaving. */
import assert from 'node:assert/strict';
import { both, type Client, type Frame, fresh, matches, suite } from './client.ts';

const KEPT = 10;
const { connect } = suite({
  config: {
    rooms: [{ match: 'live:**' }, { match: '**', history: { count: KEPT, age: '10m', bytes: '1MiB' } }],
    limits: { roomsPerConnection: 3 },
  },
});

/** Publishes so many events; their positions. */
async function fill(client: Client, room: string, count: number): Promise<number[]> {
  const seqs: number[] = [];
  for (let at = 0; at < count; at++) seqs.push((await client.pub(room, at)).seq);
  return seqs;
}

/** The replay that follows a `joined`: its events, up to `caught_up`. */
async function replayed(client: Client, joined: Frame): Promise<Frame[]> {
  const frames = await client.until('caught_up', { room: joined.room, seq: joined.seq });
  const events = frames.slice(0, -1);
  assert.ok(events.every(({ type }) => type === 'event'));
  assert.equal(events.length, joined.replay);
  return events;
}

/** Each event's `prev` is the position before it. */
function chained(events: readonly Frame[], from: number): number {
  let position = from;
  for (const { seq, prev } of events) {
    assert.equal(prev, position);
    assert.ok(seq > prev);
    position = seq;
  }
  return position;
}

both(
  'C3.7.2 C3.7.3 C4.2 a join is answered with the position, and events begin after it',
  async (encoding) => {
    const [ada, ben] = [await connect({ encoding }), await connect()];
    const room = fresh();
    await fill(ben, room, 3);
    const joined = await ada.join(room);
    matches(joined, { durable: true, recovered: 'fresh', replay: 0, members: undefined, count: undefined });
    const { seq } = await ben.pub(room, 'after');
    await ada.expect('event', { payload: 'after', prev: joined.seq, seq });
    await ada.quiet();
  },
);

both('C3.7.2 already_joined, too_many_rooms with its limit, and places that come free', async (encoding) => {
  const client = await connect({ encoding });
  const rooms = [fresh(), fresh(), fresh()] as const;
  for (const room of rooms) await client.join(room);
  matches(await client.refused({ type: 'join', room: rooms[0] }, 'already_joined'), {
    room: rooms[0],
    retry: false,
  });
  matches(await client.refused({ type: 'join', room: fresh() }, 'too_many_rooms'), { limit: 3 });
  assert.equal(client.info.limits['roomsPerConnection'], 3);
  await client.ask({ type: 'leave', room: rooms[0] }, 'left');
  await client.join(rooms[0]);
  await client.quiet();
});

both('C3.7.4 C4.2 C4.3 C5.1 C5.4 a resume with everything kept is full', async (encoding) => {
  const [ada, ben] = [await connect({ encoding }), await connect()];
  const room = fresh();
  const { epoch, seq: start } = await ada.join(room);
  await ada.ask({ type: 'leave', room }, 'left');
  const seqs = await fill(ben, room, 5);
  for (const [missed, from] of [start, ...seqs].entries()) {
    const joined = await ada.join(room, { since: { epoch, seq: from } });
    matches(joined, { recovered: 'full', epoch, seq: seqs[4], replay: 5 - missed });
    const events = await replayed(ada, joined);
    assert.equal(chained(events, from), joined.seq);
    assert.deepEqual(
      events.map(({ payload }) => payload),
      [0, 1, 2, 3, 4].slice(missed),
    );
    await ada.ask({ type: 'leave', room }, 'left');
  }
  await ada.quiet();
});

both(
  'C3.7.4 C4.7 C5.6 a resume over what is not kept any more is partial, and a gap names the hole',
  async (encoding) => {
    const [ada, ben] = [await connect({ encoding }), await connect()];
    const room = fresh();
    const seqs = await fill(ben, room, KEPT + 5);
    const { epoch } = await ben.history(room);
    const [first = 0, second = 0] = seqs;
    for (const [from, recovered] of [
      [first, 'partial'],
      [second, 'partial'],
      [seqs[4] as number, 'full'],
    ] as const) {
      const joined = await ada.join(room, { since: { epoch, seq: from } });
      matches(joined, { recovered, replay: KEPT });
      let position = from;
      if (recovered === 'partial') {
        const gap = await ada.expect('gap', { room, from, reason: 'retention', action: 'skip' });
        assert.equal(gap.to, seqs[4]);
        position = gap.to;
      }
      assert.equal(chained(await replayed(ada, joined), position), joined.seq);
      await ada.ask({ type: 'leave', room }, 'left');
    }
  },
);

both('C4.2 C4.7 C5.4 C5.6 a position of another epoch, or one not reached yet, is none', async (encoding) => {
  const [ada, ben] = [await connect({ encoding }), await connect()];
  const room = fresh();
  const seqs = await fill(ben, room, 4);
  const { epoch } = await ben.history(room);
  const head = seqs[3] as number;
  for (const since of [
    { epoch: 'another', seq: seqs[1] },
    { epoch: 'another', seq: 0 },
    { epoch: '', seq: head },
    { epoch, seq: head + 1 },
    { epoch, seq: Number.MAX_SAFE_INTEGER },
  ]) {
    const joined = await ada.join(room, { since });
    matches(joined, { recovered: 'none', epoch, replay: 4 });
    const gap = await ada.expect('gap', { room, reason: 'epoch', from: since.seq });
    const events = await replayed(ada, joined);
    assert.equal(chained(events, gap.to), head);
    assert.deepEqual(
      events.map(({ payload }) => payload),
      [0, 1, 2, 3],
    );
    await ada.ask({ type: 'leave', room }, 'left');
  }
});

both('C3.7.4 C4.3 the newest n events: none, some, or all that are kept', async (encoding) => {
  const [ada, ben] = [await connect({ encoding }), await connect()];
  const room = fresh();
  matches(await ada.join(room, { since: { last: 5 } }), { recovered: 'fresh', replay: 0 });
  await ada.expect('caught_up', { room });
  await ada.ask({ type: 'leave', room }, 'left');
  const seqs = await fill(ben, room, KEPT + 2);
  for (const last of [0, 1, KEPT - 1, KEPT, KEPT + 1, 10_000]) {
    const joined = await ada.join(room, { since: { last } });
    const count = Math.min(last, KEPT);
    matches(joined, { recovered: 'fresh', replay: count, seq: seqs.at(-1) });
    const events = await replayed(ada, joined);
    assert.deepEqual(
      events.map(({ seq }) => seq),
      seqs.slice(seqs.length - count),
    );
    await ada.ask({ type: 'leave', room }, 'left');
  }
  await ada.quiet();
});

both('C4.3 C5.1 C5.3 replay and live events are one chain, whoever publishes meanwhile', async (encoding) => {
  const [reader, writer] = [await connect({ encoding }), await connect({ encoding })];
  const room = fresh();
  const sent = Array.from({ length: 300 }, (_, at) => ({ type: 'pub', room, payload: at, id: at }));
  for (let at = 0; at < 150; at++) writer.send(sent[at] as (typeof sent)[number]);
  // Joined at any moment of a stream: what comes is the end of one chain, without a hole.
  const since = { last: 5 };
  reader.send({ type: 'join', room, since });
  for (let at = 150; at < 300; at++) writer.send(sent[at] as (typeof sent)[number]);
  const joined = await reader.expect('joined', { recovered: 'fresh' });
  const replay = await reader.until('caught_up');
  const live = (await Promise.all([writer.until('ack', { id: 299 }), reader.fence()]))[1];
  live.push(...(await reader.fence()));
  const events = [...replay.slice(0, -1), ...live];
  assert.ok(replay.length - 1 >= joined.replay, 'what came during the replay is part of it');
  const [first] = events as [Frame];
  chained(events, first.prev);
  const payloads = events.map(({ payload }) => payload as number);
  assert.equal(payloads.at(-1), 299);
  assert.deepEqual(
    payloads,
    Array.from({ length: payloads.length }, (_, at) => 300 - payloads.length + at),
  );
});

both(
  'C5.1 C5.3 what is published in the same breath as a join comes once or not at all',
  async (encoding) => {
    const [ada, ben] = [await connect({ encoding }), await connect({ encoding })];
    const room = fresh();
    const { epoch, seq } = await ben.join(room);
    const joins: readonly [object, readonly string[]][] = [
      [{}, []],
      [{ since: { last: 1 } }, ['before']],
      [{ since: { epoch, seq } }, ['before', 'after', 'before', 'after', 'before']],
      [{ since: { last: 0 } }, []],
    ];
    for (const [extra, replay] of joins) {
      // In one message, so in one turn: `before` is still on its way to the others when the join is handled.
      ada.send([
        { type: 'pub', room, payload: 'before' },
        { type: 'join', room, ...extra },
        { type: 'pub', room, payload: 'after' },
      ]);
      const events = (await ada.fence()).filter(({ type }) => type === 'event');
      assert.deepEqual(
        events.map(({ payload }) => payload),
        [...replay, 'after'],
        JSON.stringify(extra),
      );
      chained(events, events[0]?.prev ?? Number.NaN);
      await ada.ask({ type: 'leave', room }, 'left');
    }
  },
);

both(
  'C3.7.4 C5.5 a live room: full when nothing was missed, partial when something was',
  async (encoding) => {
    const [ada, ben] = [await connect({ encoding }), await connect({ encoding })];
    const room = fresh('live:r');
    await ben.join(room);
    const { epoch, seq } = await ada.join(room);
    await ada.ask({ type: 'leave', room }, 'left');
    matches(await ada.join(room, { since: { epoch, seq } }), {
      durable: false,
      recovered: 'full',
      replay: 0,
      seq,
    });
    await ada.expect('caught_up', { seq });
    await ada.ask({ type: 'leave', room }, 'left');
    const missed = (await ben.pub(room, 'missed')).seq;
    const joined = await ada.join(room, { since: { epoch, seq } });
    matches(joined, { recovered: 'partial', replay: 0, seq: missed });
    await ada.expect('gap', { room, from: seq, to: missed, reason: 'retention' });
    await ada.expect('caught_up', { seq: missed });
    await ben.pub(room, 'next');
    await ada.expect('event', { payload: 'next', prev: missed });
    await ada.ask({ type: 'leave', room }, 'left');
    matches(await ada.join(room, { since: { epoch: 'another', seq } }), { recovered: 'none', replay: 0 });
    await ada.expect('gap', { reason: 'epoch', from: seq });
    await ada.expect('caught_up');
    await ada.ask({ type: 'leave', room }, 'left');
    matches(await ada.join(room, { since: { last: 10 } }), { recovered: 'fresh', replay: 0 });
    await ada.expect('caught_up');
  },
);

both(
  'C5.5 C5.6 a live room that everybody had left does not hide what was published meanwhile',
  async (encoding) => {
    const [ada, ben] = [await connect({ encoding }), await connect()];
    const room = fresh('live:r');
    const { epoch, seq } = await ada.join(room);
    await ada.ask({ type: 'leave', room }, 'left');
    await ben.pub(room, 'heard by nobody');
    const joined = await ada.join(room, { since: { epoch, seq } });
    assert.notEqual(joined.recovered, 'full');
    await ada.expect('gap', { from: seq, to: joined.seq });
    await ada.expect('caught_up');
  },
);

both('C5.5 the events of one connection come in order in a live room', async (encoding) => {
  const [ada, ben] = [await connect({ encoding }), await connect({ encoding })];
  const room = fresh('live:r');
  const { seq } = await ada.join(room);
  const payloads = Array.from({ length: 200 }, (_, at) => at);
  for (const payload of payloads) ben.send({ type: 'pub', room, payload });
  await ben.fence();
  const events = await ada.fence();
  assert.deepEqual(
    events.map(({ payload }) => payload),
    payloads,
  );
  chained(events, seq);
});

both('C3.8.1 C4.4 a leave is answered left, after the events before it, before none', async (encoding) => {
  const [ada, ben] = [await connect({ encoding }), await connect({ encoding })];
  const room = fresh();
  await ada.join(room);
  matches(await ada.refused({ type: 'leave', room: fresh() }, 'not_joined'), { retry: false });
  const pubs = Array.from({ length: 50 }, (_, payload) => ({ type: 'pub', room, payload }));
  ada.send([...pubs, { type: 'leave', room, id: 'bye' }, ...pubs]);
  ben.send(pubs);
  const frames = await ada.fence();
  await ben.fence();
  const at = frames.findIndex(({ type }) => type === 'left');
  matches(frames[at] as Frame, { room, id: 'bye', code: undefined, reason: undefined });
  const events = frames.filter(({ type, from }) => type === 'event' && from === ada.info.user);
  assert.deepEqual(
    events.map(({ payload }) => payload),
    pubs.map(({ payload }) => payload),
  );
  assert.ok(frames.slice(at).every(({ type }) => type !== 'event'));
  await ada.refused({ type: 'leave', room }, 'not_joined');
  await ada.quiet();
});

both('C3.8.1 a leave during a replay ends it', async (encoding) => {
  const [ada, ben] = [await connect({ encoding }), await connect()];
  const room = fresh();
  await fill(ben, room, 5);
  ada.send([
    { type: 'join', room, since: { last: 5 } },
    { type: 'leave', room },
    { type: 'join', room },
  ]);
  const frames = await ada.fence();
  const types = frames.map(({ type }) => type);
  const left = types.indexOf('left');
  assert.equal(types[0], 'joined');
  assert.ok(left > 0);
  assert.deepEqual(types.slice(left), ['left', 'joined']);
  await ben.pub(room, 'once');
  await ada.expect('event', { payload: 'once' });
  await ada.quiet();
});
