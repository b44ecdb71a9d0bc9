import assert from 'node:assert/strict';
import { test } from 'node:test';
import { unpack } from 'msgpackr';
import {
  both,
  type Client,
  type ConnectOptions,
  type Encoding,
  type Frame,
  fresh,
  type Message,
  metrics,
  settled,
  suite,
} from './client.ts';
import { bearer, handshake } from './handshake.ts';

const ALL = ['join', 'pub', 'presence', 'history'];
const EVERYWHERE = [{ match: '**', allow: ALL }];

const RATES = { publish: { perSecond: 5, burst: 5 }, bytesPerDay: 20 };

const running = suite({
  config: {
    trustedProxies: 1,
    limits: {
      operations: { perSecond: 20, burst: 40, refusals: 50, costJoin: 10, costRefresh: 10 },
      address: { connections: 2, attemptsPerSecond: 1, attemptsBurst: 4 },
    },
    tenants: {
      'rates-json': RATES,
      'rates-msgpack': RATES,
      few: { connections: 2, connectionsPerUser: 1 },
      single: { onDuplicate: 'reject' },
      newest: { onDuplicate: 'replace' },
      off: { enabled: false },
      rooms: { openRooms: 1, membersPerRoom: 1 },
      counted: { presence: 'count' },
      silent: { presence: 'off' },
      ruled: {
        rooms: [
          { match: 'lobby', allow: ALL },
          { match: 'lobby', deny: ['pub'] },
          { match: '@ann', deny: ALL },
        ],
      },
    },
  },
});

function of(tenant: string, options: ConnectOptions = {}): Promise<Client> {
  const { claims, ...rest } = options;
  return running.connect({ claims: { tenant, rooms: EVERYWHERE, ...claims }, ...rest });
}

async function refusedAt(
  tenant: string,
  headers: Readonly<Record<string, string>> = {},
  sub = fresh('user'),
) {
  const token = await running.broker.token({ sub, tenant });
  return handshake(running.broker, { ...bearer(token), ...headers });
}

function framesOf({ bytes }: Message, encoding: Encoding): Frame[] {
  return [encoding === 'json' ? JSON.parse(bytes.toString()) : unpack(bytes)].flat() as Frame[];
}

async function refusals(reason: string): Promise<number | undefined> {
  return (await metrics(running.broker)).get(`carillon_refusals_total{reason="${reason}"}`);
}

both(
  'C7.1 C4.11 frames beyond the points of a connection are refused with limit and time',
  async (encoding) => {
    const client = await running.connect({ encoding });
    for (let at = 0; at < 4; at++) await client.join(fresh());
    const refused = await client.refused({ type: 'join', room: fresh() }, 'rate_limited');
    assert.deepEqual([refused.limit, refused.retry], [20, true]);
    assert.ok(refused.retryAfterMs > 0 && refused.retryAfterMs <= 500, `${refused.retryAfterMs}`);
    await new Promise((resolve) => setTimeout(resolve, refused.retryAfterMs));
    await client.join(fresh());
    client.send(Array.from({ length: 150 }, () => ({ type: 'ping' })));
    assert.equal((await client.closed).code, 4101);
  },
);

test('C7.2 C1.5 an address has so many connections and attempts, before its token is looked at', async () => {
  const from = (address: string, token = 'not.a.token') =>
    handshake(running.broker, { ...bearer(token), 'X-Forwarded-For': address });
  const attempts = [];
  for (let at = 0; at < 6; at++) attempts.push(await from('203.0.113.7'));
  assert.deepEqual(attempts.map(({ status }) => status).slice(0, 4), [401, 401, 401, 401]);
  const last = attempts.at(-1);
  assert.deepEqual([last?.status, last?.code, last?.headers['retry-after']], [429, 'rate_limited', '1']);
  // The other half of an IPv6 network of 64 bits is the same customer, the next network another.
  for (let at = 0; at < 5; at++) await from(`2001:db8:0:1::${at}`);
  assert.equal((await from('2001:db8:0:1:ffff::1')).status, 429);
  assert.equal((await from('2001:db8:0:2::1')).status, 401);
  assert.ok(((await refusals('address_attempts')) ?? 0) >= 2);
});

test('C7.3 C1.9 connections of a tenant and of a user', async () => {
  const first = await of('few', { claims: { sub: 'ann' } });
  const perUser = await refusedAt('few', {}, 'ann');
  assert.deepEqual(
    [perUser.status, perUser.code, perUser.headers['retry-after']],
    [429, 'quota_exceeded', '5'],
  );
  const second = await of('few', { claims: { sub: 'bob' } });
  assert.equal((await refusedAt('few')).status, 429);
  // A ticket takes the place of its own session.
  const resumed = await of('few', { ticket: first.info.ticket });
  assert.equal((await first.closed).code, 4008);
  await second.close();
  await resumed.close();
  await settled(async () => assert.equal((await refusedAt('few')).status, 101));
});

test('C7.3 a second connection of a user: reject and replace', async () => {
  await of('single', { claims: { sub: 'ann' } });
  const refused = await refusedAt('single', {}, 'ann');
  assert.deepEqual([refused.status, refused.code], [429, 'duplicate_session']);
  const old = await of('newest', { claims: { sub: 'ann' } });
  const young = await of('newest', { claims: { sub: 'ann' } });
  assert.equal((await old.closed).code, 4008);
  await young.quiet();
});

both('C7.4 publishes beyond the rates of the tenant, over all its connections', async (encoding) => {
  const [one, two] = [
    await of(`rates-${encoding}`, { encoding }),
    await of(`rates-${encoding}`, { encoding }),
  ];
  await one.join('room');
  const batch = (count: number) =>
    Array.from({ length: count }, () => ({ type: 'pub', room: 'room', payload: 1 }));
  one.send(batch(4));
  await one.until('ack');
  two.send(batch(8));
  const answers = await two.fence();
  const acked = 4 + answers.filter(({ type }) => type === 'ack').length;
  // The fifth; some more may be regained between the two.
  assert.ok(acked >= 5 && acked < 12, `${acked}`);
  const [first] = answers.filter(({ type }) => type === 'error');
  assert.deepEqual([first?.code, first?.limit], ['rate_limited', 5]);
  assert.ok((first?.retryAfterMs ?? 0) > 0 && (first?.retryAfterMs ?? 0) <= 200);
  await one.fence();
  const events = one.messages
    .flatMap((message) => framesOf(message, encoding))
    .filter(({ type }) => type === 'event');
  assert.equal(events.length, acked);
  await new Promise((resolve) => setTimeout(resolve, 400));
  const day = await two.refused({ type: 'pub', room: 'room', payload: 'x'.repeat(30) }, 'quota_exceeded');
  assert.equal(day.limit, 20);
  assert.ok(day.retryAfterMs > 0 && day.retryAfterMs <= 86_400_000);
});

test('C7.5 C3.7.2 rooms of a tenant and members of a room', async () => {
  const [ann, bob] = [await of('rooms'), await of('rooms')];
  await ann.join('a');
  const full = await bob.refused({ type: 'join', room: 'a' }, 'room_full');
  assert.deepEqual([full.limit, full.used, full.retry], [1, 1, true]);
  const quota = await bob.refused({ type: 'join', room: 'b' }, 'quota_exceeded');
  assert.deepEqual([quota.limit, quota.used], [1, 1]);
  await ann.ask({ type: 'leave', room: 'a' }, 'left');
  await bob.join('b');
});

test('C7.6 C1.5 nobody of a disabled tenant gets in', async () => {
  const refused = await refusedAt('off');
  assert.deepEqual([refused.status, refused.code], [403, 'tenant_disabled']);
  assert.equal(await refusals('tenant_disabled'), 1);
});

both('C7.7 C4.8 presence as a count, and switched off', async (encoding) => {
  const watcher = await of('counted', { encoding });
  const room = fresh();
  const joined = await watcher.join(room, { presence: true });
  assert.deepEqual([joined.members, joined.count], [undefined, 1]);
  const other = await of('counted', { encoding });
  await other.join(room);
  await watcher.expect('presence', { mode: 'count', count: 2, joined: undefined, members: undefined });
  const asked = await watcher.ask({ type: 'presence', room }, 'presence');
  assert.deepEqual([asked.mode, asked.count, asked.members], ['count', 2, undefined]);
  const silent = await of('silent', { encoding });
  await silent.refused({ type: 'join', room, presence: true }, 'forbidden');
  await silent.refused({ type: 'presence', room }, 'forbidden');
  await silent.join(room);
});

test('C7.8 rules of the tenant add to the claims, and deny whatever allows', async () => {
  const ann = await of('ruled', { claims: { sub: 'ann', rooms: [{ match: 'mine', allow: ALL }] } });
  await ann.join('mine');
  await ann.join('lobby');
  await ann.refused({ type: 'pub', room: 'lobby', payload: 1 }, 'forbidden');
  await ann.refused({ type: 'join', room: '@ann' }, 'forbidden');
  await ann.pub('@echo', 1);
});
