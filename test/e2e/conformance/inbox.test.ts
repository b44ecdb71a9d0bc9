/** Clause 3.14 and what follows from it: cursors of inboxes. */
import { both, fresh, matches, suite } from './client.ts';

const history = { count: 100, age: '10m', bytes: '1MiB' };
const { connect } = suite({
  config: {
    rooms: [
      { match: 'list:**', history, cursor: true },
      { match: '**', history },
    ],
  },
});

both('C3.14.1 seen is not answered, save for rooms that the session is not in', async (encoding) => {
  const client = await connect({ encoding });
  const [room, other] = [fresh(), fresh()];
  await client.join(room);
  const { seq } = await client.pub(room, 1);
  await client.expect('event');
  client.send({ type: 'seen', rooms: { [room]: seq }, id: 'quiet' });
  await client.quiet();
  client.send({ type: 'seen', rooms: { [other]: 1, [room]: seq }, id: 7 });
  await client.expect('error', { code: 'not_joined', room: other, id: 7, retry: false });
  for (const rooms of [
    undefined,
    null,
    {},
    [],
    7,
    { [room]: -1 },
    { [room]: 'x' },
    { [room]: 1.5 },
    { 'a b': 1 },
  ])
    await client.refused({ type: 'seen', ...(rooms !== undefined && { rooms }) }, 'bad_frame');
  for (const epochs of [null, [], 7, { [room]: 1 }, { [room]: '' }, { 'a b': 'e' }])
    await client.refused({ type: 'seen', rooms: { [room]: 1 }, epochs }, 'bad_frame');
  await client.quiet();
});

both(
  'C3.14.2 C3.7.3 C4.2 an inbox begins after what its user has seen, on whatever connection',
  async (encoding) => {
    const sub = fresh('ada');
    const room = `@${sub}`;
    const sender = await connect({ encoding });
    const seqs: number[] = [];
    for (const payload of ['a', 'b', 'c']) seqs.push((await sender.pub(room, payload)).seq);
    const [a = 0, , c = 0] = seqs;

    const phone = await connect({ encoding, claims: { sub } });
    matches(await phone.join(room), { replay: 3, unread: 3, seq: c });
    for (const payload of ['a', 'b', 'c']) await phone.expect('event', { payload });
    await phone.expect('caught_up', { seq: c });
    phone.send({ type: 'seen', rooms: { [room]: a } });
    await phone.quiet();

    const desk = await connect({ encoding, claims: { sub } });
    matches(await desk.join(room), { recovered: 'full', replay: 2, unread: 2 });
    for (const payload of ['b', 'c']) await desk.expect('event', { payload });
    await desk.expect('caught_up', { seq: c });
    // Beyond the room's position nothing can have been seen yet.
    desk.send({ type: 'seen', rooms: { [room]: c + 1_000_000 } });
    await desk.quiet();
    // A cursor does not go back.
    phone.send({ type: 'seen', rooms: { [room]: a } });
    await phone.quiet();
    await sender.pub(room, 'd');

    const late = await connect({ encoding, claims: { sub } });
    matches(await late.join(room), { recovered: 'full', replay: 1, unread: 1 });
    await late.expect('event', { payload: 'd', prev: c });
    await late.expect('caught_up');
    // A position of the client's own wins over the cursor.
    await late.ask({ type: 'leave', room }, 'left');
    matches(await late.join(room, { since: { last: 2 } }), { replay: 2, unread: undefined });
  },
);

both('C3.14.2 other rooms keep no cursor', async (encoding) => {
  const client = await connect({ encoding });
  const room = fresh();
  await client.join(room);
  const { seq } = await client.pub(room, 1);
  client.send({ type: 'seen', rooms: { [room]: seq - 1 } });
  await client.ask({ type: 'leave', room }, 'left');
  await client.fence();
  matches(await client.join(room), { recovered: 'fresh', replay: 0, unread: undefined, seq });
  await client.quiet();
});

both(
  'C3.14.2 C3.7.1 a cursor of another room is resumed from; without one, history has to be allowed',
  async (encoding) => {
    const room = fresh('list:r');
    const writer = await connect({ encoding });
    const { seq: first } = await writer.pub(room, 'a');
    await writer.pub(room, 'b');
    const rooms = [{ match: '**', allow: ['join'] }];
    const joins = await connect({ encoding, claims: { rooms } });
    matches(await joins.join(room), { recovered: 'fresh', replay: 0, unread: 0 });
    await joins.expect('caught_up');
    joins.send({ type: 'seen', rooms: { [room]: first } });
    await joins.ask({ type: 'leave', room }, 'left');
    matches(await joins.join(room), { recovered: 'full', replay: 1, unread: 1 });
    await joins.expect('event', { payload: 'b', prev: first });
    await joins.expect('caught_up');
    const reads = await connect({
      encoding,
      claims: { rooms: [{ match: '**', allow: ['join', 'history'] }] },
    });
    matches(await reads.join(room), { recovered: 'fresh', replay: 2, unread: 2 });
    await reads.until('caught_up');
  },
);
