/** Messages to single connections, by the server API of one broker; test/e2e/cluster/api.test.ts has several. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { type Client, connect } from '../../src/client/index.ts';
import { until } from '../client/scripted.ts';
import { type RunningBroker, startBroker } from '../support/broker.ts';

let broker: RunningBroker;
const clients: Client[] = [];

before(async () => {
  broker = await startBroker({ config: { limits: { payloadBytes: '16KiB' } } });
});

after(async () => {
  for (const client of clients) client.close();
  await broker?.stop();
});

async function client(sub: string, claims = {}): Promise<Client> {
  const made = connect(broker.url, { token: await broker.token({ sub, ...claims }), webSocket: WebSocket });
  clients.push(made);
  await made.whenOpen();
  return made;
}

async function broadcast(body: object): Promise<{ status: number; body: { readonly code?: string } }> {
  const token = await broker.token({ sub: 'backend', scope: 'api' });
  const response = await fetch(`${broker.httpUrl}/api/v1/broadcast`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as { code?: string } };
}

test('C4.6.1 broadcast to sessions: to these connections of the tenant, as a message that no room has', async () => {
  const [ann, tab, eve] = [
    await client('ann'),
    await client('ann'),
    await client('eve', { tenant: 'other' }),
  ];
  const got: unknown[] = [];
  for (const each of [ann, tab, eve])
    each.on('message', ({ room, payload, from, seq, ephemeral }) =>
      got.push([each === ann, room, payload, from, seq, ephemeral]),
    );
  const sessions = [ann.session, ann.session, eve.session, 'nobody'];
  const sent = await broadcast({ sessions, payload: { go: 1 } });
  assert.deepEqual(sent.body, { accepted: 1, refused: [], connections: 1, missing: [] });
  await until(() => got.length > 0);
  assert.deepEqual(got, [[true, '@!', { go: 1 }, 'backend', undefined, true]]);
  await broadcast({ tenant: true, payload: 2 });
  await until(() => got.length === 3);
  assert.deepEqual(
    got.slice(1).map((one) => (one as unknown[])[1]),
    ['@*', '@*'],
    'both tabs of ann, not eve',
  );
  for (const more of [{ sessions: [] }, { sessions, users: ['ann'] }, { sessions, tenant: true }])
    assert.equal((await broadcast({ payload: 1, ...more })).status, 400);
  const large = await broadcast({ sessions, payload: 'x'.repeat(17 * 1024) });
  assert.deepEqual([large.status, large.body.code], [413, 'payload_too_large']);
  eve.close();
});
