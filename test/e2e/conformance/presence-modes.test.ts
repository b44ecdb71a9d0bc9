/** Clause 4.8.1: rooms that grow tell less, and say so. */
import assert from 'node:assert/strict';
import { both, fresh, matches, suite } from './client.ts';

const { connect } = suite({
  config: { presence: { fullMembers: 5, deltaMembers: 10, batchMs: '20ms' } },
});

both('C4.8.1 full, then delta, then count, and back again a little lower', async (encoding) => {
  const room = fresh();
  const watcher = await connect({ encoding });
  matches(await watcher.join(room, { presence: true }), { mode: 'full', count: 1, partial: undefined });
  const others: Awaited<ReturnType<typeof connect>>[] = [];
  /** What the watcher was told last when there are so many. */
  async function become(count: number) {
    while (others.length + 1 < count) {
      const other = await connect({ claims: { sub: fresh('x') } });
      others.push(other);
      await other.join(room);
    }
    while (others.length + 1 > count) await others.pop()?.close();
    let frame = await watcher.expect('presence');
    while (frame.count !== count) frame = await watcher.expect('presence');
    return frame;
  }
  const newcomer = async () => {
    const one = await connect({ encoding, claims: { sub: watcher.info.user } });
    const joined = await one.join(room, { presence: true });
    await one.ask({ type: 'leave', room }, 'left');
    return joined;
  };
  matches(await become(5), { mode: 'delta' });
  assert.equal((await newcomer()).members?.length, 5);

  matches(await become(6), { mode: 'delta', left: [] });
  matches(await newcomer(), { mode: 'delta', members: undefined, count: 6 });
  matches(await watcher.ask({ type: 'presence', room }, 'presence'), { mode: 'delta', members: undefined });

  matches(await become(11), { mode: 'count', joined: undefined, left: undefined, members: undefined });
  matches(await newcomer(), { mode: 'count', members: undefined, count: 11 });
  const here = others[3]?.info.user as string;
  matches(await watcher.ask({ type: 'presence', room, users: [here, 'nobody'] }, 'presence'), {
    mode: 'count',
    users: [here],
  });

  matches(await become(9), { mode: 'count' });
  assert.equal((await become(8)).mode, 'delta');
  matches(await become(5), { mode: 'delta' });
  const { mode, members } = await become(4);
  assert.deepEqual([mode, members?.length], ['full', 4]);
  matches(await newcomer(), { mode: 'full', count: 4 });
});
