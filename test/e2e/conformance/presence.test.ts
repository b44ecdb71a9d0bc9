/** Clauses 3.11 and 4.8: who is in a room. */
import assert from 'node:assert/strict';
import { both, fresh, matches, settled, suite } from './client.ts';

const { connect } = suite();

both('C3.11.1 C4.8 a query lists the members, several connections of a user as one', async (encoding) => {
  const room = fresh();
  const [ada, ben] = [fresh('ada'), fresh('ben')];
  const info = { name: 'Ada', n: [1, null, 'é'] };
  const a1 = await connect({ encoding, claims: { sub: ada, info } });
  const a2 = await connect({ claims: { sub: ada, info } });
  const b = await connect({ encoding, claims: { sub: ben } });
  matches(await b.ask({ type: 'presence', room }, 'presence'), { mode: 'full', members: [], count: 0, room });
  await a1.join(room);
  await a2.join(room);
  await b.join(room);
  const answer = await a1.ask({ type: 'presence', room }, 'presence');
  matches(answer, { mode: 'full', count: 2, joined: undefined, left: undefined });
  assert.deepEqual(
    new Set(answer.members),
    new Set([
      { user: ada, info, connections: 2 },
      { user: ben, connections: 1 },
    ]),
  );
  await a2.ask({ type: 'leave', room }, 'left');
  await b.ask({ type: 'leave', room }, 'left');
  matches(await b.ask({ type: 'presence', room }, 'presence'), {
    members: [{ user: ada, info, connections: 1 }],
    count: 1,
  });
  for (const client of [a1, a2, b]) await client.quiet();
});

both('C4.8 a join with presence gets the members, itself included, then every change', async (encoding) => {
  const room = fresh();
  const [ada, ben] = [fresh('ada'), fresh('ben')];
  const watcher = await connect({ encoding, claims: { sub: ada } });
  const plain = await connect({ encoding, claims: { sub: fresh('eve') } });
  await plain.join(room);
  const joined = await watcher.join(room, { presence: true });
  assert.deepEqual(new Set(joined.members?.map(({ user }) => user)), new Set([ada, plain.info.user]));
  assert.equal(joined.count, 2);

  const info = { role: 'guest' };
  const first = await connect({ claims: { sub: ben, info } });
  await first.join(room);
  await watcher.expect('presence', {
    mode: 'delta',
    room,
    joined: [{ user: ben, info, connections: 1 }],
    left: [],
    count: 3,
  });
  const second = await connect({ claims: { sub: ben, info } });
  await second.join(room);
  await first.close();
  await settled(async () => {
    const { members } = await watcher.ask({ type: 'presence', room });
    assert.equal(members.find(({ user }) => user === ben)?.connections, 1);
  });
  await watcher.quiet();
  second.socket.terminate();
  await watcher.expect('presence', { mode: 'delta', joined: [], left: [ben], count: 2 });
  await plain.ask({ type: 'leave', room }, 'left');
  await watcher.expect('presence', { mode: 'delta', left: [plain.info.user], count: 1 });
  await plain.quiet();
});

both('C4.8 who leaves or comes without presence gets no changes; events go on', async (encoding) => {
  const room = fresh();
  const watcher = await connect({ encoding });
  const other = await connect({ encoding });
  await watcher.join(room, { presence: true });
  await watcher.ask({ type: 'leave', room }, 'left');
  await other.join(room);
  await watcher.quiet();
  await watcher.join(room);
  await other.ask({ type: 'leave', room }, 'left');
  await other.pub(room, 'hello');
  await watcher.expect('event', { payload: 'hello' });
  await watcher.quiet();
});

both('C4.8 a user who comes and goes within one batch leaves no trace, or a whole one', async (encoding) => {
  const room = fresh();
  const watcher = await connect({ encoding });
  const other = await connect({ encoding });
  await watcher.join(room, { presence: true });
  const visit = [
    { type: 'join', room },
    { type: 'leave', room },
  ];
  other.send([...visit, ...visit, ...visit]);
  await other.fence();
  const present = new Set<string>();
  for (const { joined, left } of await watcher.fence()) {
    for (const { user } of joined) present.add(user);
    for (const user of left) present.delete(user);
  }
  assert.deepEqual([...present], []);
});

both('C4.8 names like those of object properties are users like any other', async (encoding) => {
  const room = fresh();
  const watcher = await connect({ encoding });
  await watcher.join(room, { presence: true });
  for (const sub of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const user = await connect({
      encoding,
      claims: { sub, info: JSON.parse('{"__proto__":{"x":1},"constructor":2}') },
    });
    await user.join(room);
    const { joined } = await watcher.expect('presence', { left: [] });
    assert.equal(joined[0]?.user, sub);
    await user.close();
    await watcher.expect('presence', { left: [sub], joined: [] });
  }
});

both('C3.11.2 a query for some users says which of them are there', async (encoding) => {
  const room = fresh();
  const [ada, ben] = [fresh('ada'), fresh('ben')];
  const a = await connect({ encoding, claims: { sub: ada } });
  const b = await connect({ encoding, claims: { sub: ben } });
  await a.join(room);
  const ask = (users: readonly unknown[]) => b.ask({ type: 'presence', room, users }, 'presence');
  matches(await ask([ben, ada, 'nobody']), { users: [ada], count: 1, members: undefined });
  matches(await ask(['nobody']), { users: [], count: 1 });
  for (const users of [[], [1], 'ada', Array(101).fill('x')])
    await b.refused({ type: 'presence', room, users }, 'bad_frame');
  await ask(Array(100).fill(ada));
});

both('C4.8.2 who comes and goes at once leaves no trace; many are told in few frames', async (encoding) => {
  const room = fresh();
  const watcher = await connect({ encoding });
  await watcher.join(room, { presence: true });
  const comers = await Promise.all(
    Array.from({ length: 10 }, () => connect({ claims: { sub: fresh('x') } })),
  );
  for (const comer of comers) comer.send({ type: 'join', room });
  const present = new Set<string>();
  let frames = 0;
  while (present.size < 10) {
    const { joined } = await watcher.expect('presence', { mode: 'delta' });
    for (const { user } of joined ?? []) present.add(user);
    frames++;
  }
  assert.ok(frames < 10, `${frames} frames`);
});

both('C4.8.3 a lost connection is kept; a close is not', async (encoding) => {
  const room = fresh();
  const user = fresh('user');
  const watcher = await connect({ encoding });
  await watcher.join(room, { presence: true });
  const first = await connect({ encoding, claims: { sub: user } });
  await first.join(room);
  await watcher.expect('presence', { joined: [{ user, connections: 1 }] });
  first.socket.terminate();
  const { ticket } = first.info;
  const second = await connect({ encoding, ticket });
  await second.join(room);
  await second.close();
  // Nothing of the loss has come before: this is the close.
  await watcher.expect('presence', { joined: [], left: [user], count: 1 });
});
