import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { jsonCodec, loadCodec, sizeOf } from '../../src/client/codec.ts';
import { Emitter } from '../../src/client/emitter.ts';
import { CarillonError, closeError } from '../../src/client/errors.ts';
import { Heartbeat } from '../../src/client/heartbeat.ts';
import { Members } from '../../src/client/members.ts';
import { EventStream } from '../../src/client/stream.ts';
import { connectUrl, webSocketClass } from '../../src/client/websocket.ts';

// -------------------------------------------------------------------------------------------- EventStream

function streamOf(limit: number) {
  const heard: number[] = [];
  const errors: CarillonError[] = [];
  const consumed: number[] = [];
  const stream = new EventStream<number>({
    limit,
    emit: (value) => heard.push(value),
    overflowed: (error) => errors.push(error),
    consumed: ({ value, number }) => {
      assert.equal(value, number, 'the tests push 1, 2, 3');
      consumed.push(value);
    },
  });
  return { stream, heard, errors, consumed };
}

test('what comes before the first listener waits for it, in order', async () => {
  const { stream, heard } = streamOf(10);
  stream.push(1);
  stream.listened();
  stream.push(2);
  assert.deepEqual(heard, [], 'not within the call that adds the listener');
  await turn();
  stream.push(3);
  assert.deepEqual(heard, [1, 2, 3]);
});

test('what comes before the first iterator waits for it; later iterators begin where they are made', async () => {
  const { stream } = streamOf(10);
  stream.push(1);
  const first = stream.iterate();
  const second = stream.iterate();
  stream.push(2);
  stream.end(undefined);
  assert.deepEqual(
    [await first.next(), await first.next(), await first.next()],
    [
      { done: false, value: 1 },
      { done: false, value: 2 },
      { done: true, value: undefined },
    ],
  );
  assert.equal((await second.next()).value, 2);
});

test('an iterator that is read too slowly throws instead of filling the memory; others go on', async () => {
  const { stream } = streamOf(3);
  const slow = stream.iterate();
  const quick = stream.iterate();
  for (let value = 1; value <= 4; value++) {
    stream.push(value);
    assert.equal((await quick.next()).value, value);
  }
  await assert.rejects(slow.next(), { code: 'buffer_overflow' });
  assert.deepEqual(await slow.next(), { done: true, value: undefined });
});

test('nobody listens: no more than the buffer is kept, and the first listener is told', async () => {
  const { stream, heard, errors } = streamOf(3);
  for (let value = 1; value <= 9; value++) stream.push(value);
  stream.listened();
  await turn();
  stream.push(10);
  assert.deepEqual(heard, [10]);
  assert.deepEqual(
    errors.map(({ code }) => code),
    ['buffer_overflow'],
  );
});

test('leaving a for-await loop takes its queue off', async () => {
  const { stream } = streamOf(3);
  stream.push(1);
  for await (const value of stream.iterate()) {
    assert.equal(value, 1);
    break;
  }
  for (let value = 0; value < 100; value++) stream.push(value);
  const later = stream.iterate();
  stream.end(new CarillonError('kicked', ''));
  await assert.rejects(later.next(), { code: 'kicked' });
  await assert.rejects(stream.iterate().next(), { code: 'kicked' }, 'made after the end');
});

test('consumed: when a listener returns, when the slowest iterator asks for the next, never by a break', async () => {
  const { stream, consumed } = streamOf(10);
  stream.push(1);
  assert.deepEqual([stream.idle, stream.handed], [false, undefined], 'nobody consumes');
  const given = (): number | undefined => stream.handed?.value;
  const off = stream.listened();
  await turn();
  stream.push(2);
  assert.deepEqual(consumed, [1, 2]);
  assert.equal(stream.idle, true);
  const [quick, slow] = [stream.iterate(), stream.iterate()];
  off();
  off();
  for (const value of [3, 4, 5]) stream.push(value);
  for (let next = 3; next <= 5; next++) await quick.next();
  assert.equal(stream.handed, undefined, 'one was given nothing yet');
  await slow.next();
  assert.deepEqual(consumed, [1, 2], 'they have 5 and 3');
  assert.equal(given(), 3);
  await slow.next();
  assert.deepEqual(consumed, [1, 2, 3]);
  await quick.return();
  await slow.next();
  const more = slow.next();
  assert.deepEqual(consumed, [1, 2, 3, 4, 5]);
  assert.equal(stream.idle, true);
  stream.push(6);
  await more;
  assert.equal(stream.idle, false);
  await slow.return();
  stream.push(7);
  assert.deepEqual(consumed, [1, 2, 3, 4, 5], 'nobody has 7, and 6 may not have been finished');
  assert.equal(stream.idle, false);
});

// ---------------------------------------------------------------------------------------------- Heartbeat

function heartAt(seconds: number) {
  let now = 0;
  const pings: number[] = [];
  let dead = 0;
  const heart = {
    ping: (ts: number) => void pings.push(ts),
    dead: () => void dead++,
    silence: () => undefined,
  };
  const pace = { pingMs: 1000, silenceMs: 1000, suspectMs: 1000 };
  const beat = new Heartbeat(heart, seconds, pace, () => now);
  const tickAt = (ms: number) => {
    now = ms;
    beat.tick();
  };
  return { beat, pings, tickAt, at: (ms: number) => (now = ms), deaths: () => dead };
}

test('silence for twice the heartbeat is death', () => {
  const { pings, tickAt, deaths } = heartAt(10);
  for (const ms of [0, 5000, 10_000, 15_000]) tickAt(ms);
  assert.deepEqual(pings, [0, 5000, 10_000, 15_000]);
  assert.equal(deaths(), 0);
  tickAt(20_000);
  assert.equal(deaths(), 1);
});

test('a late timer is not a silent server: the ping has to be unanswered', () => {
  const { beat, tickAt, at, deaths } = heartAt(10);
  tickAt(0);
  at(20);
  beat.heard();
  tickAt(60_000);
  assert.equal(deaths(), 0, 'nothing was asked for a minute');
  at(60_010);
  assert.equal(beat.pong(60_000), 10);
  beat.heard();
  tickAt(120_000);
  assert.equal(deaths(), 0);
  tickAt(180_000);
  assert.equal(deaths(), 1);
});

// ------------------------------------------------------------------------------------------------- the rest

test('a listener that throws neither stops the others nor the caller', async () => {
  const emitter = new Emitter<{ a: number }>();
  const heard: number[] = [];
  const faulty = emitter.on('a', () => {
    faulty();
    throw new Error('listener');
  });
  const off = emitter.on('a', (value) => {
    heard.push(value);
    off();
  });
  // The test runner would count the uncaught error, which is what is asked for here, as a failure.
  const runners = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const uncaught = new Promise((resolve) => process.once('uncaughtException', resolve));
  emitter.emit('a', 1);
  emitter.emit('a', 2);
  assert.deepEqual(heard, [1]);
  assert.match(String(await uncaught), /listener/);
  for (const runner of runners) process.on('uncaughtException', runner);
});

test('members follow full lists and deltas; the count is the server’s', () => {
  const members = new Members();
  members.apply({ members: [{ user: 'a', connections: 1 }] });
  members.apply({ joined: [{ user: 'b', connections: 2 }], left: ['a'], count: 1 });
  assert.deepEqual([...members.all.keys()], ['b']);
  members.apply({ count: 5000 });
  assert.equal(members.count, 5000);
  members.apply({ members: [] });
  assert.equal(members.all.size, 0);
});

test('close codes become errors by name', () => {
  assert.equal(closeError(4009, 'bye').code, 'kicked');
  assert.equal(closeError(4009, 'bye').retry, false);
  assert.equal(closeError(4200, '').code, 'drain');
  assert.equal(closeError(1006, '').code, 'disconnected');
  assert.equal(closeError(1006, '').retry, true);
});

test('addresses: http becomes ws, a bare host gets /connect, others are refused', () => {
  assert.equal(connectUrl('http://h:1'), 'ws://h:1/connect');
  assert.equal(connectUrl('https://h/connect'), 'wss://h/connect');
  assert.equal(connectUrl('ws://h/broker/connect'), 'ws://h/broker/connect');
  assert.throws(() => connectUrl('ftp://h'), /not a ws/);
  assert.throws(() => connectUrl('/connect'), TypeError, 'there is no page to be relative to');
});

test('a runtime without WebSocket is told what to do', () => {
  const had = Object.getOwnPropertyDescriptor(globalThis, 'WebSocket');
  Reflect.deleteProperty(globalThis, 'WebSocket');
  try {
    assert.throws(() => webSocketClass(undefined), /package `ws`/);
  } finally {
    if (had !== undefined) Object.defineProperty(globalThis, 'WebSocket', had);
  }
});

test('both encodings carry the same payloads', async () => {
  const msgpack = await loadCodec('msgpack');
  const payload = { text: 'é', when: new Date(0), gone: undefined, big: 2 ** 40, list: [undefined, null] };
  const frame = { type: 'pub', room: 'r', payload } as const;
  const bytes = msgpack.encode(frame) as Uint8Array<ArrayBuffer>;
  const [back] = msgpack.decode(bytes.buffer);
  assert.deepEqual(back, jsonCodec.decode(jsonCodec.encode(frame))[0]);
  assert.throws(() => msgpack.encode({ ...frame, payload: 1n }));
  assert.throws(() => msgpack.decode('text'), /text message/);
  assert.throws(() => jsonCodec.decode('[{"no":"type"}]'), /no frame/);
  assert.throws(() => jsonCodec.decode(new ArrayBuffer(1)), /binary message/);
});

test('sizes are bytes where it matters', () => {
  assert.equal(sizeOf('ééé', 5), 6);
  assert.equal(sizeOf('ééé', 9), 3, 'far below the limit nobody counts');
});
