import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Client, type Frame, metrics, settled, suite } from './client.ts';

const ALL = [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }];

const running = suite({
  config: {
    limits: { rooms: 40 },
    rooms: [{ match: '**', history: { count: 10, age: '2s' } }],
    tenants: { small: { openRooms: 2 } },
  },
});

function of(tenant: string): Promise<Client> {
  return running.connect({ claims: { tenant, rooms: ALL } });
}

test('C7.5.0 who publishes to rooms that nobody joined fills its own share, never that of others', async () => {
  const [greedy, other] = [await of('greedy'), await of('other')];
  let refusal: Frame | undefined;
  for (let at = 0; at < 40 && refusal === undefined; at++) {
    greedy.send({ type: 'pub', room: `r${at}`, payload: at, id: `${at}` });
    const answers = await greedy.fence();
    refusal = answers.find(({ type }) => type === 'error');
  }
  assert.ok(refusal, 'the node took them all');
  const { code, retry, limit, used } = refusal;
  assert.deepEqual(
    { code, retry, limit, used },
    { code: 'quota_exceeded', retry: true, limit: 20, used: 20 },
  );
  await greedy.refused({ type: 'join', room: 'more' }, 'quota_exceeded');
  await other.join('room');
  await other.pub('room', 1);
  await other.pub('unjoined', 1);
  const counted = (await metrics(running.broker)).get('carillon_refusals_total{reason="tenant_rooms"}');
  assert.ok((counted ?? 0) >= 2, 'counted by reason');
  // Retention: the events expire, and the places come back.
  await settled(async () => void (await greedy.pub('later', 1)));
});

test('C7.5 openRooms counts stored rooms, for publishes too', async () => {
  const client = await of('small');
  await client.pub('stored', 1);
  await client.join('joined');
  for (const request of [
    { type: 'pub', room: 'third', payload: 1 },
    { type: 'join', room: 'third' },
  ]) {
    const { limit, used } = await client.refused(request, 'quota_exceeded');
    assert.deepEqual([limit, used], [2, 2]);
  }
  await client.join('stored');
  await client.pub('stored', 2);
});
