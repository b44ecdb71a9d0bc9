/** Ephemeral publishes: those with a key in rooms that say how many there may be, and the limits that are about them. */
import assert from 'node:assert/strict';
import { both, type Client, fresh, suite } from './client.ts';

const EPHEMERAL = { perSecond: 5, expireMs: 3000 };
const FEW = { ephemeral: { perSecond: 1, burst: 2 }, publish: { perSecond: 1, burst: 1 } };
const EVERYWHERE = [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }];

const running = suite({
  config: {
    limits: { ephemeral: { perSecond: 10, burst: 20 } },
    rooms: [
      { match: 'doc:*', ephemeral: { perSecond: 5, expireMs: '3s' } },
      { match: '**', history: { count: 10 } },
    ],
    tenants: { 'few-json': FEW, 'few-msgpack': FEW },
  },
});

const connect = (encoding: Client['encoding'], claims = {}): Promise<Client> =>
  running.connect({ encoding, claims: { sub: fresh('user'), rooms: EVERYWHERE, ...claims } });

both(
  'C3.9.4.1 C4.6 C4.2.1 one at once, then the newest; the room and the event say for how long',
  async (encoding) => {
    const room = fresh('doc:x').replaceAll('-', '_');
    const [ann, bob] = [await connect(encoding), await connect(encoding)];
    const { limits } = await bob.join(room);
    assert.deepEqual(limits, { ephemeral: EPHEMERAL });
    const pub = (payload: unknown) => ({
      type: 'pub',
      room,
      payload,
      key: 'cursor',
      ephemeral: true,
      id: payload,
    });
    ann.send([1, 2, 3].map(pub));
    for (const id of [1, 2, 3]) {
      const ack = await ann.expect('ack', { id });
      assert.deepEqual([ack.seq, ack.epoch], [undefined, undefined]);
    }
    const first = await bob.expect('event', { payload: 1, key: 'cursor', ephemeral: true, expireMs: 3000 });
    const last = await bob.expect('event', { payload: 3, key: 'cursor', ephemeral: true, expireMs: 3000 });
    // The window begins when the first is taken; its `ts` is read some time later.
    assert.ok(last.ts - first.ts >= 100, `${last.ts - first.ts} ms between them`);
    ann.send(pub(4));
    ann.socket.close();
    await ann.closed;
    const cat = await connect(encoding);
    await cat.join(room);
    await cat.pub(room, 'of somebody else', { ephemeral: true, key: 'cursor' });
    await bob.expect('event', { payload: 'of somebody else' });
    await bob.quiet();
  },
);

both('C7.4.1 a connection and a tenant have so many; stored events are another account', async (encoding) => {
  const room = fresh();
  const eager = await connect(encoding);
  const flood = Array.from({ length: 40 }, (_, id) => ({
    type: 'pub',
    room,
    payload: 1,
    ephemeral: true,
    id,
  }));
  eager.send(flood);
  const answers = await eager.fence();
  const refused = answers.filter(({ type }) => type === 'error');
  assert.ok(refused.length >= 15 && refused.length <= 20, `${refused.length} of 40 refused`);
  for (const { code, limit, used, retryAfterMs } of refused)
    assert.deepEqual([code, limit, used, retryAfterMs > 0], ['rate_limited', 10, 20, true]);
  await eager.pub(room, 'stored');

  const few = await connect(encoding, { tenant: `few-${encoding}` });
  await few.pub(room, 1);
  for (let n = 0; n < 2; n++) await few.pub(room, n, { ephemeral: true });
  const { limit } = await few.refused({ type: 'pub', room, payload: 2, ephemeral: true }, 'rate_limited');
  assert.equal(limit, 1);
});
