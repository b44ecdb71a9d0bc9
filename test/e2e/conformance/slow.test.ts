/** Clauses 3.7.5, 3.9.6, 5.7 and 6.3: readers that are too slow, and what their overflow choice gives them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { both, type Client, type Frame, fresh, matches, metrics, settled, suite } from './client.ts';

const tests = suite({
  config: {
    rooms: [{ match: 'live:**' }, { match: '**', history: { count: 10_000, age: '10m', bytes: '256MiB' } }],
    limits: { bufferedSoftBytes: '512KiB', bufferedHardBytes: '4MiB', catchUpBytes: '128KiB' },
  },
});

const { connect } = tests;

/** More than the kernel's buffers on both sides and the soft limit hold: some 10 MB of the first, measured. */
const EVENTS = 640;
const PAYLOAD = 'x'.repeat(32 * 1024);

function chain(frames: readonly Frame[], from: number): { seen: number[]; gaps: Frame[]; position: number } {
  let position = from;
  const seen: number[] = [];
  const gaps: Frame[] = [];
  for (const frame of frames) {
    if (frame.type === 'event') {
      assert.equal(frame.prev, position, 'prev of an event');
      position = frame.seq;
      seen.push((frame.payload as { at: number }).at);
    } else if (frame.type === 'gap') {
      assert.equal(Number(frame.from), position, 'from of a gap');
      position = frame.to;
      gaps.push(frame);
    }
  }
  return { seen, gaps, position };
}

/** Everything up to the room's last event, and what follows it at once. */
async function drained(client: Client, last: number): Promise<Frame[]> {
  client.socket.resume();
  const frames: Frame[] = [];
  for (;;) {
    const frame = await client.next();
    frames.push(frame);
    if ((frame.type === 'event' ? frame.seq : frame.type === 'gap' ? frame.to : 0) >= last) break;
  }
  return [...frames, ...(await client.fence())];
}

const EVERY = Array.from({ length: EVENTS }, (_, at) => at);

/** Readers that stop reading, a neighbour that does not, and a publisher who waits for each ack. */
async function overrun(room: string, overflows: readonly string[]) {
  const [publisher, neighbour] = [await connect(), await connect()];
  const { seq: start } = await neighbour.join(room);
  const readers = new Map<string, Client>();
  for (const overflow of overflows) {
    const reader = await connect({ encoding: readers.size % 2 ? 'msgpack' : 'json' });
    await reader.join(room, { overflow });
    reader.socket.pause();
    readers.set(overflow, reader);
  }
  let last = start;
  let slowest = 0;
  for (const at of EVERY) {
    const sent = performance.now();
    last = (await publisher.pub(room, { at, fill: PAYLOAD }, { key: `k${at % 3}` })).seq;
    slowest = Math.max(slowest, performance.now() - sent);
  }
  const { seen, gaps } = chain(await neighbour.until('event', { seq: last }), start);
  assert.deepEqual([seen, gaps], [EVERY, []], 'the neighbour got everything');
  assert.ok(slowest < 2000, `an ack took ${slowest} ms`);
  return { readers, publisher, start, last };
}

function reader(readers: ReadonlyMap<string, Client>, overflow: string): Client {
  const client = readers.get(overflow);
  assert.ok(client);
  return client;
}

test('C3.7.5 C3.9.6 C5.7 C4.7 in a durable room, slow readers get what their overflow says, and are told', {
  timeout: 60_000,
}, async () => {
  const room = fresh();
  const { readers, publisher, start, last } = await overrun(room, ['backfill', 'skip', 'latest', 'close']);

  const all = chain(await drained(reader(readers, 'backfill'), last), start);
  assert.deepEqual([all.seen, all.gaps], [EVERY, []]);

  const skip = chain(await drained(reader(readers, 'skip'), last), start);
  assert.equal(skip.gaps.length, 1);
  matches(skip.gaps[0] as Frame, { room, reason: 'backpressure', action: 'skip', to: last });
  assert.deepEqual(skip.seen, EVERY.slice(0, skip.seen.length));

  const latest = chain(await drained(reader(readers, 'latest'), last), start);
  assert.equal(latest.position, last);
  assert.ok(latest.gaps.length >= 1);
  for (const gap of latest.gaps) matches(gap, { reason: 'backpressure', action: 'latest' });
  assert.deepEqual(latest.seen.slice(-3), EVERY.slice(-3), 'the newest of each of the three keys');
  assert.deepEqual(latest.seen.slice(0, -3), EVERY.slice(0, latest.seen.length - 3));

  const closed = reader(readers, 'close');
  closed.socket.resume();
  assert.ok([4102, 1006].includes((await closed.closed).code));
  const again = await connect({ ticket: closed.info.ticket });
  assert.equal(again.info.last.code, 4102, 'C6.3: a close frame that did not get through is told afterwards');

  // All of those who are still here are served natively again.
  const next = await publisher.pub(room, { at: -1 });
  for (const overflow of ['backfill', 'skip', 'latest'])
    await reader(readers, overflow).expect('event', { prev: last, seq: next.seq });
});

test('C3.7.5 C5.7 C6.3 in a live room there is nothing to fill from: a gap, or the newest of each key', {
  timeout: 60_000,
}, async () => {
  const room = fresh('live:r');
  const { readers, start, last } = await overrun(room, ['skip', 'latest', 'backfill']);
  for (const overflow of ['skip', 'latest', 'backfill']) {
    const { gaps, position, seen } = chain(await drained(reader(readers, overflow), last), start);
    assert.equal(position, last, overflow);
    assert.ok(gaps.length >= 1, overflow);
    assert.ok(seen.length < EVENTS, overflow);
  }
});

const SLOW = 'carillon_closes_total{reason="slow_consumer"}';

both(
  'C5.7 C6.3 more than limits.bufferedHardBytes waiting ends the connection with 4102',
  async (encoding) => {
    const [client, other] = [await connect({ encoding }), await connect()];
    const before = (await metrics(tests.broker)).get(SLOW) ?? Number.NaN;
    client.socket.pause();
    // What a backend sends to a connection is not what an overflow choice is about, and nothing reads it.
    const token = await tests.broker.token({ sub: 'backend', scope: 'api' });
    for (let at = 0; at < 300; at++)
      await fetch(`${tests.broker.httpUrl}/api/v1/broadcast`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}` },
        body: JSON.stringify({ sessions: [client.info.session], payload: PAYLOAD }),
      });
    await settled(async () => assert.equal((await metrics(tests.broker)).get(SLOW), before + 1));
    const again = await connect({ ticket: client.info.ticket });
    assert.equal(again.info.last.code, 4102);
    client.socket.resume();
    assert.ok([4102, 1006].includes((await client.closed).code));
    await other.quiet();
  },
);

both(
  'C5.7.2 answers are not made for a socket that does not read: they wait, and come when it does',
  async (encoding) => {
    const [client, other] = [await connect({ encoding }), await connect()];
    const room = fresh();
    for (let at = 0; at < 32; at++) await other.pub(room, PAYLOAD);
    client.socket.pause();
    const asked = Array.from({ length: 25 }, (_, at) => ({ type: 'history', room, id: at }));
    client.send(asked);
    for (let at = 0; at < 20; at++) await other.pub(room, 'meanwhile');
    client.socket.resume();
    for (const { id } of asked) assert.equal((await client.expect('history')).id, id);
  },
);

test('C5.7 who publishes without end into a room whose replay they do not read is closed with 4102', async () => {
  const [other, client] = [await connect(), await connect()];
  const room = fresh();
  for (const at of EVERY.slice(0, 400)) await other.pub(room, { at, fill: PAYLOAD });
  const before = (await metrics(tests.broker)).get(SLOW) ?? Number.NaN;
  client.socket.pause();
  client.send({ type: 'join', room, since: { last: 400 } });
  for (let batch = 0; batch < 10; batch++)
    client.send(Array.from({ length: 200 }, () => ({ type: 'pub', room, payload: batch })));
  await settled(async () => assert.equal((await metrics(tests.broker)).get(SLOW), before + 1));
  client.socket.resume();
  assert.ok([4102, 1006].includes((await client.closed).code));
});
