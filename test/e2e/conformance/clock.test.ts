/** What takes time: heartbeats, retention, the dedupe window. All at once, so that it takes the time of the longest. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type Client, fresh, matches, settled, suite } from './client.ts';

const IDLE_SECONDS = 8;
const tests = suite({
  config: {
    rooms: [
      { match: 'count:**', history: { count: 5, age: '10m', bytes: '1MiB' } },
      { match: 'bytes:**', history: { count: 1000, age: '10m', bytes: '16KiB' } },
      { match: 'age:**', history: { count: 1000, age: '2s', bytes: '1MiB' } },
      { match: '**', history: { count: 100, age: '10m', bytes: '1MiB' } },
    ],
    limits: { dedupeWindowMs: '2s' },
    heartbeat: { idleSeconds: IDLE_SECONDS },
  },
});
const { connect } = tests;

async function fill(client: Client, room: string, payloads: readonly unknown[]): Promise<number[]> {
  const seqs: number[] = [];
  for (const payload of payloads) seqs.push((await client.pub(room, payload)).seq);
  return seqs;
}

interface Silent {
  readonly socket: WebSocket;
  /** Before it was open, and after: a machine that is busy makes much of a second between them. */
  readonly startedAt: number;
  readonly openedAt: number;
  readonly heartbeat: number;
  readonly pings: number[];
}

/** A client that leaves pings unanswered. */
async function silent(): Promise<Silent> {
  const headers = { Authorization: `Bearer ${await tests.broker.token({ sub: fresh('silent') })}` };
  const startedAt = Date.now();
  const socket = new WebSocket(tests.broker.url, 'chat.v1', { headers, autoPong: false });
  const pings: number[] = [];
  socket.on('ping', () => pings.push(Date.now()));
  const [data] = await once(socket, 'message');
  return { socket, startedAt, openedAt: Date.now(), heartbeat: JSON.parse(String(data)).heartbeat, pings };
}

describe('with the clock', { concurrency: true, timeout: 60_000 }, () => {
  test('C1.8 a silent client is pinged, and closed when nothing comes', async () => {
    const { socket, startedAt, openedAt, heartbeat, pings } = await silent();
    const [code] = await once(socket, 'close');
    assert.equal(code, 1006);
    const within = (at: number, least: number, most: number) =>
      at - startedAt > least * 1000 && at - openedAt < most * 1000;
    const now = Date.now();
    const told = `${now - openedAt} to ${now - startedAt} ms`;
    assert.ok(within(now, IDLE_SECONDS - 1, IDLE_SECONDS + 6), `closed after ${told}`);
    const [first = Number.NaN] = pings;
    assert.ok(
      within(first, heartbeat - 1, heartbeat + 5),
      `pinged at ${first - openedAt} ms of ${heartbeat} s`,
    );
  });

  test('C1.8 any bytes of the client count', async () => {
    const { socket, openedAt } = await silent();
    while (Date.now() - openedAt < (IDLE_SECONDS + 3) * 1000) {
      await sleep(2000);
      socket.send('{"type":"ping"}');
      await once(socket, 'message');
    }
    assert.equal(socket.readyState, WebSocket.OPEN);
    socket.terminate();
  });

  test('C5.6 C4.9 history is bounded by count', async () => {
    const client = await connect();
    const room = fresh('count:r');
    const seqs = await fill(client, room, [0, 1, 2, 3, 4, 5, 6]);
    const { events } = await client.history(room);
    assert.deepEqual(
      events.map(({ payload }) => payload),
      [2, 3, 4, 5, 6],
    );
    assert.equal(events[0]?.prev, seqs[1]);
  });

  test('C5.6 C4.9 history is bounded by bytes, whatever the encoding', async () => {
    const [json, packed] = [await connect(), await connect({ encoding: 'msgpack' })];
    const room = fresh('bytes:r');
    await packed.join(room);
    await fill(json, room, Array(40).fill('x'.repeat(1000)));
    const { events } = await json.history(room);
    assert.ok(events.length >= 5 && events.length <= 16, `${events.length} events of 1 KB in 16 KiB`);
    // One that is larger than the room may keep is delivered, and kept by nobody.
    const { epoch, seq } = await json.pub(room, 'x'.repeat(20_000));
    const seen = await packed.until('event', { seq });
    assert.equal(seen.length, 41);
    matches(await json.history(room), { events: [], truncated: true });
    matches(await json.join(room, { since: { epoch, seq: seq - 1 } }), {
      recovered: 'partial',
      replay: 0,
      seq,
    });
    await json.expect('gap', { to: seq, reason: 'retention' });
    await json.expect('caught_up', { seq });
  });

  test('C5.6 C4.9 history is bounded by age', async () => {
    const client = await connect();
    const room = fresh('age:r');
    const [first = 0, second = 0] = await fill(client, room, ['old', 'older than two seconds']);
    const { epoch } = await client.history(room);
    await sleep(1000);
    const third = (await client.pub(room, 'young')).seq;
    await settled(async () => {
      const { events } = await client.history(room);
      assert.deepEqual(
        events.map(({ payload }) => payload),
        ['young'],
      );
    });
    const joined = await client.join(room, { since: { epoch, seq: first } });
    matches(joined, { recovered: 'partial', replay: 1, seq: third });
    await client.expect('gap', { from: first, to: second, reason: 'retention' });
    await client.expect('event', { payload: 'young', prev: second });
    await client.expect('caught_up');
    await client.ask({ type: 'leave', room }, 'left');
    // Everything gone, and the position is still that of the room.
    await settled(async () => matches(await client.history(room), { events: [], truncated: true }));
    matches(await client.join(room, { since: { epoch, seq: third } }), {
      recovered: 'full',
      replay: 0,
      seq: third,
    });
    await client.expect('caught_up', { seq: third });
  });

  test('C3.9.3 a msgId is remembered for limits.dedupeWindow at least, and not for ever', async () => {
    const client = await connect();
    const room = fresh();
    const first = await client.pub(room, 1, { msgId: 'm' });
    const until = Date.now() + 1800;
    while (Date.now() < until) {
      matches(await client.pub(room, 1, { msgId: 'm' }), { duplicate: true, seq: first.seq });
      await sleep(200);
    }
    // Two windows at most; asking does not make it longer.
    await sleep(4500 - 1800);
    const again = await client.pub(room, 1, { msgId: 'm' });
    matches(again, { duplicate: undefined });
    assert.ok(again.seq > first.seq);
  });
});
