/** Clause 4.8.3: whoever has lost the connection is in the room for a while, whether somebody watches or not. */
import assert from 'node:assert/strict';
import { both, fresh, matches, settled, suite } from './client.ts';

// Longer than any pause of the machine.
const { connect } = suite({ config: { presence: { graceMs: '5m', drainGraceMs: '5m' } } });

both(
  'C4.8.3 all connections of a room are lost at once, and those who come back have never left',
  async (encoding) => {
    const room = fresh();
    const users = [fresh('a'), fresh('b'), fresh('c')];
    const lost = await Promise.all(users.map((sub) => connect({ encoding, claims: { sub } })));
    for (const client of lost) await client.join(room, { presence: true });
    for (const client of lost) client.socket.terminate();
    for (const { info } of lost) {
      const client = await connect({ encoding, ticket: info.ticket });
      // The session goes on only after the server has seen the loss, or has ended the connection itself.
      const { members, count } = await client.join(room, { presence: true });
      assert.deepEqual([new Set(members?.map(({ user }) => user)), count], [new Set(users), 3]);
      await client.quiet();
    }
  },
);

both(
  'C4.8.3 whoever asks within the grace finds the lost member, though nobody has watched',
  async (encoding) => {
    const room = fresh();
    const [gone, stays] = [fresh('gone'), fresh('stays')];
    const asker = await connect({ encoding });
    const first = await connect({ claims: { sub: gone } });
    const other = await connect({ claims: { sub: stays } });
    await first.join(room);
    await other.join(room);
    first.socket.terminate();
    // Of the session that has taken the place of the lost one, which has not joined anew.
    const again = await connect({ ticket: first.info.ticket });
    matches(await again.ask({ type: 'presence', room, users: [gone, stays] }, 'presence'), { count: 2 });
    const joined = await asker.join(room, { presence: true });
    assert.deepEqual(
      new Set(joined.members?.map(({ user }) => user)),
      new Set([gone, stays, asker.info.user]),
    );
    await again.join(room);
    await asker.quiet();
    await again.close();
    await asker.expect('presence', { joined: [], left: [gone], count: 2 });
    await other.close();
    await settled(async () => matches(await asker.ask({ type: 'presence', room }, 'presence'), { count: 1 }));
  },
);
