/** Section 2: names, patterns, access, inboxes, the echo room, tenants; and what the publisher is told. */
import assert from 'node:assert/strict';
import { both, type Client, fresh, matches, suite } from './client.ts';

const history = { count: 50, age: '1m', bytes: '1MiB' };
const { broker, connect } = handles(
  suite({
    config: {
      auth: { defaultRooms: [{ match: 'public:*', allow: ['join'] }] },
      rooms: [
        { match: 'news:*:live' },
        { match: 'news:**', history },
        { match: 'live:**' },
        { match: 'lobby', history },
        { match: 'tenant:**', history },
        { match: 'public:**' },
        { match: '__proto__', history },
        { match: '*', history },
      ],
    },
  }),
);

function handles(of: ReturnType<typeof suite>) {
  return { broker: () => of.broker, connect: of.connect };
}

const EVERYTHING = ['join', 'pub', 'presence', 'history'];

/** Each action that a claim can allow, tried; the answer's type, or the code of the error. */
async function tried(client: Client, room: string): Promise<Record<string, string>> {
  const answer = async (request: { type: string } & Record<string, unknown>): Promise<string> => {
    const { type, code } = await client.ask({ ...request, room });
    return type === 'error' ? code : type;
  };
  const outcome = {
    join: await answer({ type: 'join' }),
    pub: await answer({ type: 'pub', payload: 1 }),
    presence: await answer({ type: 'presence' }),
    history: await answer({ type: 'history' }),
  };
  if (outcome.join === 'joined') await client.ask({ type: 'leave', room }, 'left');
  await client.fence();
  return outcome;
}

const ALL = { join: 'joined', pub: 'ack', presence: 'presence', history: 'history' };
const NONE = { join: 'forbidden', pub: 'forbidden', presence: 'forbidden', history: 'forbidden' };

both('C2.1 names of the alphabet, of 1 to 128 characters, are rooms of their own', async (encoding) => {
  const client = await connect({ encoding });
  const names = [
    'a',
    '_',
    '.',
    '-',
    'x'.repeat(128),
    'A.b_c-9',
    '__proto__',
    'constructor',
    'toString',
    '..',
  ];
  for (const room of names) await client.join(room);
  for (const room of names) {
    const { seq } = await client.pub(room, room);
    matches(await client.expect('event'), { room, payload: room, seq });
  }
});

both(
  'C2.2 C2.3 the first pattern that matches decides; a name without one is answered bad_room',
  async (encoding) => {
    const client = await connect({ encoding });
    const durable: readonly [string, boolean][] = [
      ['news:sport:live', false],
      ['news:sport:live:x', true],
      ['news::live', false],
      ['news:', true],
      ['news:a', true],
      ['news', true],
      ['live:', false],
      ['live:a:b', false],
      ['lobby', true],
    ];
    for (const [room, expected] of durable) {
      matches(await client.join(room), { durable: expected });
      await client.ask({ type: 'leave', room }, 'left');
    }
    const unknown = { join: 'bad_room', pub: 'bad_room', presence: 'bad_room', history: 'bad_room' };
    for (const room of ['other:a', ':', 'lobby:', ':lobby', 'newsroom:a'])
      assert.deepEqual(await tried(client, room), unknown);
  },
);

both('C2.4 C3.7.1 C3.9.1 C3.10.1 C3.11.1 every action needs its own grant', async (encoding) => {
  for (const allow of [['join'], ['pub'], ['presence'], ['history'], [], EVERYTHING]) {
    const client = await connect({ encoding, claims: { rooms: [{ match: 'news:*', allow }] } });
    const expected = Object.fromEntries(
      Object.entries(ALL).map(([action, type]) => [action, allow.includes(action) ? type : 'forbidden']),
    );
    assert.deepEqual(await tried(client, 'news:a'), expected);
    assert.deepEqual(await tried(client, 'news:a:b'), NONE);
    const room = 'news:a';
    const error = await client.ask({ type: 'pub', room, payload: 1, msgId: 'm' });
    if (!allow.includes('pub'))
      matches(error, { type: 'error', code: 'forbidden', msgId: 'm', room, retry: false });
    await client.close();
  }
});

both(
  'C2.4 the entries of a claim add up; without the claim the configured default holds',
  async (encoding) => {
    const rooms = [
      { match: 'news:*', allow: ['join'] },
      { match: 'news:a', allow: ['pub'] },
      { match: 'news:**', allow: ['history'] },
    ];
    const some = await connect({ encoding, claims: { rooms } });
    assert.deepEqual(await tried(some, 'news:a'), { ...ALL, presence: 'forbidden' });
    assert.deepEqual(await tried(some, 'news:b'), { ...ALL, presence: 'forbidden', pub: 'forbidden' });
    assert.deepEqual(await tried(some, 'news:b:c'), { ...NONE, history: 'history' });
    const plain = await connect({ encoding, claims: { rooms: undefined } });
    assert.deepEqual(await tried(plain, 'public:a'), { ...NONE, join: 'joined' });
    assert.deepEqual(await tried(plain, 'news:a'), NONE);
    const none = await connect({ encoding, claims: { rooms: [] } });
    assert.deepEqual(await tried(none, 'public:a'), NONE);
  },
);

both(
  'C3.7.1 C3.7.6 presence and since.last need grants of their own, a resume does not',
  async (encoding) => {
    const rooms = [{ match: '*', allow: ['join', 'pub'] }];
    const client = await connect({ encoding, claims: { rooms } });
    const room = fresh();
    const { seq, epoch } = await client.pub(room, 'before');
    await client.pub(room, 'after');
    await client.refused({ type: 'join', room, presence: true }, 'forbidden');
    await client.refused({ type: 'join', room, since: { last: 1 } }, 'forbidden');
    await client.refused({ type: 'join', room, since: { last: 0 } }, 'forbidden');
    matches(await client.join(room, { since: { epoch, seq } }), { recovered: 'full', replay: 1 });
    await client.expect('event', { payload: 'after' });
    await client.expect('caught_up');
  },
);

both('C2.5 an inbox is received by its own user, whatever the claims say', async (encoding) => {
  const claims = { rooms: [{ match: '**', allow: EVERYTHING }] };
  const [ada, ben] = [fresh('ada'), fresh('ben')];
  const own = await connect({ encoding, claims: { sub: ada, rooms: [] } });
  assert.deepEqual(await tried(own, `@${ada}`), { ...ALL, pub: 'forbidden' });
  assert.deepEqual(await tried(own, `@${ben}`), NONE);
  const other = await connect({ encoding, claims: { sub: ben, ...claims } });
  assert.deepEqual(await tried(other, `@${ben}`), ALL);
  assert.deepEqual(await tried(other, `@${ada}`), { ...NONE, pub: 'ack' });
  for (const room of ['@', '@@', `@${ada.toUpperCase()}`, `@${ada}.`])
    assert.deepEqual(await tried(other, room), { ...NONE, pub: 'ack' }, room);
  for (const room of [`@${ada}:x`, `@:${ada}`, '@echo:'])
    assert.deepEqual(await tried(other, room), { ...NONE, pub: 'bad_room' }, room);

  await own.join(`@${ada}`);
  await own.until('caught_up');
  await other.pub(`@${ada}`, 'hello', { msgId: 'm' });
  await own.expect('event', { room: `@${ada}`, from: ben, payload: 'hello', msgId: 'm' });
  await other.quiet();
});

both(
  'C2.5 a user whose name cannot stand in a room has no inbox, nor has the user echo',
  async (encoding) => {
    for (const sub of ['a b', 'é', 'x'.repeat(128), 'echo']) {
      const client = await connect({ encoding, claims: { sub, rooms: [] } });
      assert.deepEqual(await tried(client, '@x'), NONE);
      assert.equal((await tried(client, '@echo'))['join'], 'forbidden');
      await client.close();
    }
  },
);

both('C2.6 @echo answers its publisher, whose claims do not matter, and nobody else', async (encoding) => {
  const nobody = await connect({ encoding, claims: { rooms: [] } });
  const everybody = await connect({ encoding });
  for (const client of [nobody, everybody]) {
    client.send({ type: 'pub', room: '@echo', payload: { ping: [1] }, msgId: 'm', key: 'k', id: 5 });
    const event = await client.expect('event', {
      room: '@echo',
      payload: { ping: [1] },
      msgId: 'm',
      key: 'k',
    });
    matches(event, { ephemeral: true, seq: undefined, prev: undefined, from: client.info.user });
    matches(await client.expect('ack', { room: '@echo', msgId: 'm', id: 5 }), { seq: undefined });
    assert.deepEqual(await tried(client, '@echo'), { ...NONE, pub: 'ack' });
  }
  await everybody.quiet();
});

both('C2.1 C5.8 rooms of the same name in two tenants have nothing in common', async (encoding) => {
  const room = fresh('tenant:r');
  const sub = fresh('ada');
  const [a, b] = [
    await connect({ encoding, claims: { sub, tenant: 'a', info: { secret: 'of a' } } }),
    await connect({ encoding, claims: { sub, tenant: 'b' } }),
  ];
  const inA = await a.join(room, { presence: true });
  const inB = await b.join(room, { presence: true });
  matches(inB, { members: [{ user: sub, connections: 1 }], count: 1 });
  const first = await a.pub(room, 'of a', { msgId: 'm', tenant: 'b' });
  await a.expect('event', { payload: 'of a', prev: inA.seq });
  await b.quiet();
  matches(await b.history(room), { events: [], more: false, truncated: undefined });
  matches(await b.ask({ type: 'presence', room }, 'presence'), {
    count: 1,
    members: [{ user: sub, connections: 1 }],
  });

  const second = await b.pub(room, 'of b', { msgId: 'm' });
  matches(second, { duplicate: undefined });
  assert.notEqual(second.seq, first.seq);
  await b.expect('event', { payload: 'of b', prev: inB.seq, from: sub });
  await a.quiet();
  matches(await a.history(room), { events: [await onlyEvent(a, room, 'of a')] });

  // The inbox of a user is that of the user in one tenant.
  await a.join(`@${sub}`);
  await a.until('caught_up');
  await b.pub(`@${sub}`, 'across');
  await a.quiet();

  // Neither a token, nor a name, nor a field of a frame leads to the other tenant.
  await a.refused({ type: 'refresh', token: await broker().token({ sub, tenant: 'b' }) }, 'forbidden');
  for (const name of [`b\u0000${room}`, `b/${room}`, `../b/${room}`, `b\\${room}`])
    await a.refused({ type: 'pub', room: name, payload: 1 }, 'bad_room');
  await a.pub(room, 'still of a', { tenant: 'b', session: b.info.session, user: 'x', from: 'x' });
  await a.expect('event', { payload: 'still of a', from: sub });
  await b.quiet();

  // A tenant whose name holds what a room's may: no pair of names is the same room as another pair.
  const c = await connect({ encoding, claims: { tenant: 'a.tenant' } });
  await c.join('r');
  await a.pub('tenant:r', 1);
  await c.quiet();
});

async function onlyEvent(client: Client, room: string, payload: string) {
  const { events } = await client.history(room);
  assert.equal(events.length, 1);
  assert.equal(events[0]?.payload, payload);
  return events[0];
}
