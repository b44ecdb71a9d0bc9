/** Clauses 3.1 to 3.6 and 3.13: messages, batches, ids, and every guard before a frame is understood. */
import assert from 'node:assert/strict';
import { both, type Client, type Encoding, fresh, matches, pack, type Request, suite } from './client.ts';

const { connect } = suite({ config: { limits: { protocolErrors: 1000 } } });

/** Bytes of exactly this length: a ping, filled up in a field that nobody knows. */
function pingOf(bytes: number, encoding: Encoding): string | Buffer {
  const encode = (fill: string): string | Buffer => {
    const frame = { type: 'ping', ts: 'full', fill };
    return encoding === 'json' ? JSON.stringify(frame) : pack(frame);
  };
  // Long enough that the header of the text has its final size in MessagePack.
  const head = encode('x'.repeat(70_000)).length - 70_000;
  const sized = encode('x'.repeat(bytes - head));
  assert.equal(sized.length, bytes);
  return sized;
}

/** Sends what has no `id` to be found by, and takes the one error for it. */
async function fault(client: Client, data: string | Uint8Array, code: string, fields = {}): Promise<void> {
  client.sendRaw(data, client.encoding === 'msgpack');
  await client.expect('error', { code, retry: false, ...fields });
}

function encoded(client: Client, value: unknown): string | Uint8Array {
  return client.encoding === 'json' ? JSON.stringify(value) : pack(value);
}

both(
  'C3.1 the frames of a batch are handled in order, and one that fails does not stop the others',
  async (encoding) => {
    const client = await connect({ encoding });
    const room = fresh();
    client.send([
      { type: 'join', room, id: 1 },
      { type: 'pub', room, payload: 'one', id: 2 },
      { type: 'nonsense', id: 3 },
      { type: 'pub', room, id: 4 },
      7,
      { type: 'pub', room, payload: 'two', id: 5 },
      { type: 'leave', room, id: 6 },
      { type: 'pub', room, payload: 'three', id: 7 },
    ]);
    const frames = await client.fence();
    const of = (type: string) => frames.filter((frame) => frame.type === type);
    assert.deepEqual(
      of('error').map(({ id, code }) => [id, code]),
      [
        [3, 'bad_type'],
        [4, 'bad_frame'],
        [undefined, 'bad_frame'],
      ],
    );
    assert.deepEqual(
      of('ack').map(({ id }) => id),
      [2, 5, 7],
    );
    assert.deepEqual(
      of('event').map(({ payload }) => payload),
      ['one', 'two'],
    );
    const order = frames.map(({ type }) => type).filter((type) => ['joined', 'event', 'left'].includes(type));
    assert.deepEqual(order, ['joined', 'event', 'event', 'left']);
  },
);

both('C3.1 a batch has 1 to limits.batch frames', async (encoding) => {
  const client = await connect({ encoding });
  const most = client.info.limits['batch'] as number;
  const ping = { type: 'ping' };
  client.send(Array(most).fill(ping));
  for (let left = most; left > 0; left--) await client.expect('pong');
  await fault(client, encoded(client, Array(most + 1).fill(ping)), 'bad_frame', { limit: most });
  await fault(client, encoded(client, []), 'bad_frame');
  await fault(client, encoded(client, [[ping]]), 'bad_frame');
  await client.quiet();
});

both(
  'C3.2 an answer carries the id of its request, a string or an unsigned 32-bit integer',
  async (encoding) => {
    const client = await connect({ encoding });
    const room = fresh();
    const requests: readonly [Request, string][] = [
      [{ type: 'join', room }, 'joined'],
      [{ type: 'join', room }, 'error'],
      [{ type: 'pub', room, payload: 1 }, 'ack'],
      [{ type: 'history', room }, 'history'],
      [{ type: 'presence', room }, 'presence'],
      [{ type: 'ping' }, 'pong'],
      [{ type: 'refresh', token: 'no.such.token' }, 'error'],
      [{ type: 'leave', room }, 'left'],
      [{ type: 'leave', room }, 'error'],
      [{ type: 'nonsense' }, 'error'],
      [{ type: 'pub', room: 'a b', payload: 1 }, 'error'],
    ];
    for (const id of ['', 'x'.repeat(64), 'é∑🎈"\\\u0000', 0, 1, 4_294_967_295]) {
      for (const [request, type] of requests) matches(await client.ask({ ...request, id }, type), { id });
    }
  },
);

both('C3.2 an id of another form is answered bad_frame, without it', async (encoding) => {
  const client = await connect({ encoding });
  for (const id of ['x'.repeat(65), -1, 4_294_967_296, 1.5, true, null, {}, []]) {
    client.send({ type: 'ping', id });
    await client.expect('error', { code: 'bad_frame', id: undefined });
  }
  await client.quiet();
});

both('C3.3 unknown fields are ignored, unknown types answered bad_type', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh();
  const extra = { tenant: 'other', from: 'somebody', seq: 7, ts: 1, unknown: { deep: [1] }, constructor: 1 };
  await client.ask({ type: 'join', room, ...extra }, 'joined');
  const ack = await client.ask({ type: 'pub', room, payload: 1, ...extra }, 'ack');
  const event = await client.expect('event', { from: client.info.user, seq: ack.seq });
  assert.ok(event.ts > 1);
  for (const type of ['nonsense', '', 'Join', 'event', 'server_info', 'constructor', '__proto__', 'toString'])
    matches(await client.refused({ type, room }, 'bad_type'), { retry: false });
  await client.quiet();
});

both('C3.3 a missing or wrong field is answered bad_frame, a wrong name bad_room', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh();
  const wrong: readonly Request[] = [
    { type: 'join', room, since: 1 },
    { type: 'join', room, since: {} },
    { type: 'join', room, since: { epoch: 'e' } },
    { type: 'join', room, since: { seq: 1 } },
    { type: 'join', room, since: { epoch: 'e', seq: -1 } },
    { type: 'join', room, since: { epoch: 'e', seq: 1.5 } },
    { type: 'join', room, since: { epoch: 'x'.repeat(65), seq: 1 } },
    { type: 'join', room, since: { last: -1 } },
    { type: 'join', room, since: { last: 10_001 } },
    { type: 'join', room, since: { last: 1, seq: 1, epoch: 'e' } },
    { type: 'join', room, since: [1] },
    { type: 'join', room, since: null },
    { type: 'join', room, overflow: 'drop' },
    { type: 'join', room, presence: 1 },
    { type: 'pub', room },
    { type: 'pub', room, payload: 1, msgId: '' },
    { type: 'pub', room, payload: 1, msgId: 'x'.repeat(65) },
    { type: 'pub', room, payload: 1, msgId: 5 },
    { type: 'pub', room, payload: 1, key: '' },
    { type: 'pub', room, payload: 1, key: 'x'.repeat(65) },
    { type: 'pub', room, payload: 1, ephemeral: 'yes' },
    { type: 'pub', room, payload: 1, echo: 0 },
    { type: 'history', room, before: -1 },
    { type: 'history', room, after: 'x' },
    { type: 'history', room, before: 5, after: 1 },
    { type: 'history', room, limit: 0 },
    { type: 'history', room, limit: 2.5 },
    { type: 'refresh' },
    { type: 'refresh', token: '' },
    { type: 'refresh', token: 7 },
    { type: 'ping', ts: 'x'.repeat(65) },
    { type: 'ping', ts: {} },
  ];
  for (const request of wrong) matches(await client.refused(request, 'bad_frame'), { retry: false });
  for (const name of ['', 'x'.repeat(129), 'a b', 'a/b', 'ä', 'a\u0000b', 'a\n', '*', 7, null, ['a'], {}]) {
    for (const type of ['join', 'leave', 'history', 'presence'])
      await client.refused({ type, room: name }, 'bad_room');
    await client.refused({ type: 'pub', room: name, payload: 1 }, 'bad_room');
  }
  await client.refused({ type: 'join' }, 'bad_room');
  await client.quiet();
});

both('C3.3 what is not a frame is answered, and the socket stays open', async (encoding) => {
  const client = await connect({ encoding });
  for (const value of [7, 'text', true, null]) await fault(client, encoded(client, value), 'bad_frame');
  await fault(client, encoded(client, {}), 'bad_frame');
  await fault(client, encoded(client, { type: 7 }), 'bad_frame');
  const bytes = (...all: number[]): Buffer => Buffer.from(all);
  const broken =
    encoding === 'json'
      ? [
          '',
          ' ',
          '{',
          '{"type":"ping"',
          '{"type":"ping"}}',
          "{'type':'ping'}",
          '[{"type":"ping"},]',
          '\ufeff{}',
          'NaN',
        ]
      : [
          bytes(),
          bytes(0xc1),
          bytes(0x81),
          bytes(0xa5, 0x61),
          bytes(0xd9),
          bytes(0xc0, 0xc0),
          bytes(0xa1, 0xff),
        ];
  for (const data of broken) await fault(client, data, 'bad_json');
  await client.quiet();
});

both(
  'C3.4 a message of maxFrame bytes is handled; over it frame_too_large, over twice of it the end',
  async (encoding) => {
    const client = await connect({ encoding });
    const limit = client.info.maxFrame;
    client.sendRaw(pingOf(limit, encoding));
    await client.expect('pong', { ts: 'full' });
    for (const bytes of [limit + 1, limit * 2])
      await fault(client, pingOf(bytes, encoding), 'frame_too_large', { limit });
    await client.quiet();
    client.sendRaw(pingOf(limit * 2 + 1, encoding));
    assert.equal((await client.closed).code, 1006);
  },
);

/** Arrays in one another, `levels` of them. */
function nested(levels: number): unknown {
  let value: unknown = 'core';
  for (let left = levels; left > 0; left--) value = [value];
  return value;
}

both(
  'C3.4 nesting up to limits.depth and keys up to limits.keys are handled, more is bad_frame',
  async (encoding) => {
    const client = await connect({ encoding });
    const room = fresh();
    const pub = (payload: unknown) => ({ type: 'pub', room, payload });
    await client.ask(pub(nested(31)), 'ack');
    await fault(client, encoded(client, pub(nested(32))), 'bad_frame', { limit: 32 });
    await fault(client, encoded(client, [pub(nested(31))]), 'bad_frame', { limit: 32 });
    await fault(client, encoded(client, pub(nested(100))), 'bad_frame', { limit: 32 });

    const keys = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, at]));
    // type, room, payload and id are keys too.
    await client.ask(pub(keys(996)), 'ack');
    await fault(client, encoded(client, { ...pub(keys(997)), id: 1 }), 'bad_frame', {
      limit: 1000,
      id: undefined,
    });
    await fault(client, encoded(client, [pub(keys(500)), pub(keys(500))]), 'bad_frame', { limit: 1000 });
    await client.quiet();
  },
);

both('C3.3 a text message that is not UTF-8 ends the connection without an answer', async (encoding) => {
  const client = await connect({ encoding });
  client.sendRaw(Buffer.from([0x22, 0xff, 0x22]), false);
  assert.equal((await client.closed).code, 1006);
});

both('C3.6 a message of the wrong kind is answered bad_frame', async (encoding) => {
  const client = await connect({ encoding });
  const ping = { type: 'ping' };
  for (const data of [JSON.stringify(ping), ...(encoding === 'json' ? [pack(ping)] : [''])]) {
    client.sendRaw(data, encoding === 'json');
    await client.expect('error', { code: 'bad_frame', retry: false });
  }
  await client.ask(ping, 'pong');
});

both('C3.13.1 C4.13 a pong has the ts of its ping and the time of the server', async (encoding) => {
  const client = await connect({ encoding });
  for (const ts of [0, -1.5, Date.now(), 1e300, '', 'x'.repeat(64)]) {
    const before = Date.now();
    const pong = await client.ask({ type: 'ping', ts }, 'pong');
    matches(pong, { ts });
    assert.ok(pong.now >= before - 1000 && pong.now <= Date.now() + 1000);
  }
  matches(await client.ask({ type: 'ping' }, 'pong'), { ts: undefined });
  client.send({ type: 'ping' });
  await client.expect('pong', { id: undefined });
});

both('C4.0 frames come alone or as an array of frames', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh();
  await client.join(room);
  await client.pub(room, 'alone');
  const before = client.messages.length;
  client.send(Array.from({ length: 20 }, (_, at) => ({ type: 'pub', room, payload: at })));
  const frames = await client.fence();
  assert.equal(frames.length, 1 + 20 + 20);
  assert.ok(client.messages.length - before < 20, 'a burst comes in fewer messages than frames');
});
