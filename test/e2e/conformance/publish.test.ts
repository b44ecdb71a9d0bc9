/** Clauses 3.9, 4.5, 4.6, 5.1 and 5.2: publishing, acks and events. */
import assert from 'node:assert/strict';
import { both, type Client, type Encoding, fresh, matches, suite } from './client.ts';

const { connect } = suite();

async function pair(encoding: Encoding, room: string): Promise<{ ada: Client; ben: Client; seq: number }> {
  const [ada, ben] = [await connect({ encoding }), await connect({ encoding })];
  await ada.join(room);
  const { seq } = await ben.join(room);
  return { ada, ben, seq };
}

both(
  'C3.9.1 C3.9.2 C4.5 C4.6 a publish reaches the room and is acknowledged with its position',
  async (encoding) => {
    const room = fresh();
    const { ada, ben, seq } = await pair(encoding, room);
    const before = Date.now();
    ada.send({ type: 'pub', room, payload: { text: 'hi' }, msgId: 'm', key: 'k', id: 7 });
    const event = await ada.expect('event', {
      room,
      payload: { text: 'hi' },
      msgId: 'm',
      key: 'k',
      prev: seq,
    });
    matches(event, { from: ada.info.user, ephemeral: undefined, id: undefined });
    assert.ok(event.ts >= before - 1000 && event.ts <= Date.now() + 1000);
    const ack = await ada.expect('ack', { room, msgId: 'm', id: 7, seq: event.seq, duplicate: undefined });
    assert.equal(ack.epoch, (await ada.history(room)).epoch);
    assert.deepEqual(await ben.expect('event'), event);
    ada.send({ type: 'pub', room, payload: 0 });
    matches(await ada.expect('event'), { msgId: undefined, key: undefined });
    matches(await ada.expect('ack'), { msgId: undefined, id: undefined });
  },
);

both('C3.9.1 the publisher need not be in the room, with or without history', async (encoding) => {
  const client = await connect({ encoding });
  for (const room of [fresh(), fresh('live:r')]) {
    const { seq } = await client.pub(room, 1);
    assert.ok(Number.isSafeInteger(seq));
  }
  await client.quiet();
});

both('C3.9.1 any JSON value is a payload', async (encoding) => {
  const room = fresh();
  const { ada, ben } = await pair(encoding, room);
  const values = [
    null,
    false,
    true,
    0,
    -1,
    1.5,
    1e21,
    '',
    'é∑🎈\u0000\n"\\',
    [],
    {},
    [[null]],
    { a: { b: [] } },
    { '': 1 },
  ];
  for (const payload of values) {
    await ada.pub(room, payload);
    await ben.expect('event', { payload });
    await ada.expect('event', { payload });
  }
  await ada.refused({ type: 'pub', room }, 'bad_frame');
});

both(
  'C3.9.1 a payload of limits.payloadBytes passes, one more byte is payload_too_large',
  async (encoding) => {
    const room = fresh();
    const { ada, ben } = await pair(encoding, room);
    const limit = ada.info.limits['payloadBytes'] as number;
    const most = 'x'.repeat(limit - 2);
    await ada.pub(room, most);
    assert.equal((await ben.expect('event')).payload, most);
    // Two bytes of UTF-8 per character.
    await ada.pub(room, 'é'.repeat(limit / 2 - 1));
    await ben.expect('event');
    for (const payload of [`${most}x`, 'é'.repeat(limit / 2), ['x'.repeat(limit - 3)]]) {
      const answer = await ada.refused({ type: 'pub', room, payload, msgId: 'big' }, 'payload_too_large');
      matches(answer, { limit, msgId: 'big', room, retry: false });
    }
    await ben.quiet();
  },
);

both('C3.9.2 an error carries id and msgId', async (encoding) => {
  const client = await connect({ encoding, claims: { rooms: [] } });
  client.send({ type: 'pub', room: 'r', payload: 1, id: 'i', msgId: 'm' });
  await client.expect('error', { code: 'forbidden', id: 'i', msgId: 'm', room: 'r' });
  client.send({ type: 'pub', room: 'r', payload: 1, id: 'i', msgId: 'm', key: 5 });
  await client.expect('error', { code: 'bad_frame', id: 'i', msgId: 'm', room: 'r' });
});

both(
  'C3.9.3 C5.1 a msgId published again changes nothing and is answered with the first seq',
  async (encoding) => {
    const room = fresh();
    const { ada, ben } = await pair(encoding, room);
    const first = await ada.pub(room, 'first', { msgId: 'm' });
    matches(first, { duplicate: undefined });
    await ada.expect('event', { payload: 'first', msgId: 'm' });
    const again = await ada.pub(room, 'second', { msgId: 'm', echo: false, key: 'k' });
    matches(again, { duplicate: true, seq: first.seq, epoch: first.epoch, msgId: 'm' });
    const phone = await connect({ encoding, claims: { sub: ada.info.user } });
    matches(await phone.pub(room, 'third', { msgId: 'm' }), { duplicate: true, seq: first.seq });
    await ada.close();
    const back = await connect({ encoding, claims: { sub: ada.info.user } });
    matches(await back.pub(room, 'fourth', { msgId: 'm' }), { duplicate: true, seq: first.seq });
    await ben.expect('event', { payload: 'first' });
    await ben.quiet();
    assert.equal((await ben.history(room)).events.length, 1);
  },
);

both(
  'C3.9.3 the same msgId of another user, in another room, tenant or live room is another message',
  async (encoding) => {
    const room = fresh();
    const { ada, ben } = await pair(encoding, room);
    const { seq } = await ada.pub(room, 1, { msgId: 'm' });
    const abroad = await connect({ encoding, claims: { sub: ada.info.user, tenant: 'abroad' } });
    const others: readonly [Client, string][] = [
      [ben, room],
      [ada, fresh()],
      [abroad, room],
    ];
    for (const [client, where] of others) {
      const ack = await client.pub(where, 1, { msgId: 'm' });
      matches(ack, { duplicate: undefined });
      assert.notEqual(ack.seq, seq);
    }
    const live = fresh('live:r');
    const [one, two] = [await ada.pub(live, 1, { msgId: 'm' }), await ada.pub(live, 1, { msgId: 'm' })];
    matches(two, { duplicate: undefined });
    assert.notEqual(one.seq, two.seq);
    // A user and a msgId that put together read like those of somebody else.
    const [left, right] = [fresh('u'), fresh('u')];
    const [a, b] = [
      await connect({ encoding, claims: { sub: left } }),
      await connect({ encoding, claims: { sub: `${left}${right}` } }),
    ];
    await a.pub(room, 1, { msgId: `${right}m` });
    matches(await b.pub(room, 1, { msgId: 'm' }), { duplicate: undefined });
  },
);

both('C3.9.3 a batch with one msgId twice stores it once', async (encoding) => {
  const room = fresh();
  const { ada, ben } = await pair(encoding, room);
  const frame = { type: 'pub', room, payload: 1, msgId: '__proto__' };
  ada.send([
    { ...frame, id: 1 },
    { ...frame, id: 2 },
  ]);
  const event = await ada.expect('event', { msgId: '__proto__' });
  await ada.expect('ack', { id: 1, seq: event.seq, duplicate: undefined });
  await ada.expect('ack', { id: 2, seq: event.seq, duplicate: true });
  await ben.expect('event');
  await ben.quiet();
});

both(
  'C3.9.4 C4.6 an ephemeral event is delivered, has no place in the order, and is not kept',
  async (encoding) => {
    for (const room of [fresh(), fresh('live:r')]) {
      const { ada, ben, seq } = await pair(encoding, room);
      const ack = await ada.pub(room, 'typing', { ephemeral: true, msgId: 'm', key: 'k' });
      matches(ack, { seq: undefined, duplicate: undefined, msgId: 'm' });
      for (const client of [ada, ben]) {
        const event = await client.expect('event', { ephemeral: true, seq: undefined, prev: undefined });
        matches(event, { payload: 'typing', from: ada.info.user, msgId: 'm', key: 'k' });
      }
      matches(await ada.pub(room, 'typing', { ephemeral: true, msgId: 'm' }), { duplicate: undefined });
      await ben.expect('event', { ephemeral: true });
      await ada.pub(room, 'said');
      matches(await ben.expect('event'), { payload: 'said', prev: seq });
      const { events } = await ben.history(room);
      assert.deepEqual(
        events.map(({ payload }) => payload),
        room.startsWith('live') ? [] : ['said'],
      );
    }
  },
);

both('C3.9.4 an ephemeral event with echo: false reaches the others only', async (encoding) => {
  const room = fresh();
  const { ada, ben } = await pair(encoding, room);
  await ada.pub(room, 'typing', { ephemeral: true, echo: false });
  await ben.expect('event', { payload: 'typing', ephemeral: true });
  await ada.quiet();
});

both('C3.9.5 C5.3 with echo: false the ack stands in the chain where the event would', async (encoding) => {
  for (const room of [fresh(), fresh('live:r')]) {
    const { ada, ben, seq } = await pair(encoding, room);
    const phone = await connect({ encoding, claims: { sub: ada.info.user } });
    await phone.join(room);
    ada.send([
      { type: 'pub', room, payload: 1 },
      { type: 'pub', room, payload: 2, echo: false, id: 'two' },
      { type: 'pub', room, payload: 3 },
    ]);
    const frames = await ada.fence();
    const chain = frames.filter(({ type, id }) => type === 'event' || id === 'two');
    assert.deepEqual(
      chain.map(({ type, payload }) => payload ?? type),
      [1, 'ack', 3],
    );
    assert.equal(chain[2]?.prev, chain[1]?.seq);
    for (const client of [ben, phone]) {
      let position = seq;
      for (const payload of [1, 2, 3]) {
        const event = await client.expect('event', { payload, prev: position });
        position = event.seq;
      }
    }
  }
});

both('C3.9.5 echo: false of a publisher outside the room changes nothing', async (encoding) => {
  const room = fresh();
  const { ada, ben } = await pair(encoding, room);
  await ada.ask({ type: 'leave', room }, 'left');
  await ada.pub(room, 1, { echo: false });
  await ben.expect('event', { payload: 1 });
  await ada.quiet();
});

both('C5.2 a publisher in the room gets its own event before the ack', async (encoding) => {
  const room = fresh();
  const { ada } = await pair(encoding, room);
  ada.send(Array.from({ length: 100 }, (_, payload) => ({ type: 'pub', room, payload, id: payload })));
  const seen = new Set<number>();
  for (const { type, seq } of await ada.fence()) {
    if (type === 'event') seen.add(seq);
    else assert.ok(seen.has(seq), `ack of ${seq} before its event`);
  }
  assert.equal(seen.size, 100);
});

both('C5.2 the ack of a publish made during a replay waits for its event', async (encoding) => {
  const [ada, ben] = [await connect({ encoding }), await connect()];
  const room = fresh();
  for (let at = 0; at < 100; at++) await ben.pub(room, 'x'.repeat(1000));
  ada.send([
    { type: 'join', room, since: { last: 100 } },
    { type: 'pub', room, payload: 'mine', id: 'mine' },
    { type: 'pub', room, payload: 'silent', id: 'silent', echo: false },
  ]);
  const frames = await ada.until('ack', { id: 'silent' });
  const at = (type: string, field: 'id' | 'payload', value: string) =>
    frames.findIndex((frame) => frame.type === type && frame[field] === value);
  assert.ok(at('event', 'payload', 'mine') >= 0);
  assert.ok(at('ack', 'id', 'mine') > at('event', 'payload', 'mine'));
});

both('C4.6 all receivers of one encoding get the same bytes', async (encoding) => {
  const room = fresh();
  const { ada, ben } = await pair(encoding, room);
  const eve = await connect({ encoding });
  await eve.join(room);
  await ada.pub(room, { text: 'é', n: [1.5] }, { msgId: 'm' });
  for (const client of [ada, ben, eve]) await client.expect('event');
  const [bytes] = [ben, eve].map((client) => client.messages.at(-1)?.bytes);
  assert.ok(bytes);
  for (const client of [ada, ben, eve])
    assert.ok(client.messages.some((message) => message.bytes.equals(bytes)));
});
