/** The SDK against the real broker, as a process of its own. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import {
  type Client,
  type ConnectOptions,
  connect,
  type Gap,
  type Room,
  type RoomEvent,
} from '../../src/client/index.ts';
import { type RunningBroker, startBroker } from '../support/broker.ts';
import { freeAddress } from '../support/port.ts';
import { record, until } from './scripted.ts';

let broker: RunningBroker;
const clients: Client[] = [];

before(async () => {
  const rooms = [
    { match: 'signal:*', history: {}, ephemeral: { expireMs: '2s' } },
    { match: '**', history: {} },
  ];
  broker = await startBroker({ config: { rooms, tenants: { counted: { presence: 'count' } } } });
});

after(async () => {
  for (const client of clients) client.close();
  await broker.stop();
});

function client(user: string, options: Partial<ConnectOptions> = {}): Client {
  const token = () => broker.token({ sub: user });
  const made = connect(broker.url, { token, webSocket: WebSocket, ...options });
  clients.push(made);
  return made;
}

test('who is there, sorted, and who types: by the server for how long', async () => {
  const [ann, bob] = ['ann', 'bob'].map((user) => client(user).join('signal:1', { presence: true })) as [
    Room,
    Room,
  ];
  const roster = ann.roster({ compare: (one, other) => (one.user < other.user ? 1 : -1) });
  await Promise.all([ann.whenJoined(), bob.whenJoined()]);
  await until(() => roster.members.length === 2, 'bob');
  assert.deepEqual([roster.mode, [...roster].map(({ user }) => user)], ['full', ['bob', 'ann']]);
  const changes = record<readonly string[]>((listener) => ann.typing().on('change', listener));
  const events = record<RoomEvent>((listener) => ann.on('event', listener));
  bob.typing().start();
  const from = performance.now();
  await until(() => changes.length === 1, 'bob types');
  await until(() => changes.length === 2, 'bob has fallen silent');
  assert.deepEqual(changes, [['bob'], []]);
  assert.ok(performance.now() - from > 1900, 'as long as the room says, not the default of the SDK');
  bob.typing().start();
  await until(() => changes.length === 3, 'bob types again');
  bob.typing().stop();
  await bob.publish('done');
  await until(() => changes.length === 4 && events.length === 1, 'the message');
  assert.deepEqual([changes.at(-1), events[0]?.payload], [[], 'done']);
  void bob.leave();
  await until(() => roster.members.length === 1, 'bob is gone');
  const token = () => broker.token({ sub: 'eve', tenant: 'counted' });
  const eve = client('eve', { token }).join('signal:1', { presence: true });
  await eve.whenJoined();
  assert.deepEqual([eve.roster().mode, eve.roster().count, eve.roster().members], ['count', 1, []]);
});

for (const encoding of ['json', 'msgpack'] as const) {
  test(`${encoding}: join, publish, own echo before the ack, history, presence, leave`, async () => {
    const name = `talk:${encoding}`;
    const ann = client('ann', { encoding });
    const bob = client('bob');
    const room = ann.join<{ text: string }>(name, { presence: true });
    const other = bob.join<{ text: string }>(name);
    await Promise.all([room.whenJoined(), other.whenJoined()]);
    await until(() => room.members.has('bob'), 'bob');
    const heard = record<RoomEvent<{ text: string }>>((listener) => other.on('event', listener));
    const order: string[] = [];
    room.on('event', () => order.push('event'));
    const ack = await room.publish({ text: 'grüße' });
    order.push('ack');
    await until(() => heard.length === 1, 'the event');
    assert.deepEqual(order, ['event', 'ack']);
    assert.deepEqual(heard[0]?.payload, { text: 'grüße' });
    assert.equal(heard[0]?.from, 'ann');
    assert.equal(heard[0]?.seq, ack.seq);
    assert.deepEqual(room.position, { epoch: ack.epoch, seq: ack.seq });
    const page = await room.history({ limit: 10 });
    assert.deepEqual(
      page.events.map(({ payload }) => payload.text),
      ['grüße'],
    );
    const again = await room.publish({ text: 'twice' }, { msgId: 'fixed' });
    assert.deepEqual(await room.publish({ text: 'twice' }, { msgId: 'fixed' }), {
      ...again,
      duplicate: true,
    });
    assert.deepEqual((await bob.presence(name)).count, 2);
    await other.leave();
    await until(() => !room.members.has('bob'), 'bob gone');
    assert.ok((ann.latencyMs ?? -1) >= 0);
  });
}

test('echo:false and ephemeral leave the order whole', async () => {
  const ann = client('ann');
  const bob = client('bob');
  const room = ann.join<number>('whole');
  const other = bob.join<number>('whole');
  await Promise.all([room.whenJoined(), other.whenJoined()]);
  const heard = record<RoomEvent<number>>((listener) => room.on('event', listener));
  const seen = record<RoomEvent<number>>((listener) => other.on('event', listener));
  const gaps = record<Gap>((listener) => room.on('gap', listener));
  for (let n = 0; n < 20; n++) {
    await Promise.all([room.publish(n, { echo: false }), other.publish(n + 100, { ephemeral: n % 5 === 0 })]);
  }
  await until(() => seen.length === 40 && heard.length === 20, 'all events');
  assert.deepEqual(gaps, []);
  const head = seen.filter(({ seq }) => seq !== undefined).at(-1)?.seq;
  await until(() => room.position?.seq === head, 'the position of the head');
});

test('since: after a position, the last n, and another session', async () => {
  const ann = client('ann');
  const acks = [];
  for (let n = 0; n < 10; n++) acks.push(await ann.publish('past', n));
  const [, , third] = acks;
  assert.ok(third?.epoch !== undefined && third.seq !== undefined);
  const since = { epoch: third.epoch, seq: third.seq };
  const resumed = client('bob').join<number>('past', { since });
  const payloads: number[] = [];
  for await (const { payload } of resumed) {
    payloads.push(payload);
    if (payloads.length === 7) break;
  }
  assert.deepEqual(payloads, [3, 4, 5, 6, 7, 8, 9]);
  const last = client('cid').join<number>('past', { since: { last: 2 } });
  const heard = record<RoomEvent<number>>((listener) => last.on('event', listener));
  await new Promise((resolve) => last.on('caughtUp', resolve));
  assert.deepEqual(
    heard.map(({ payload }) => payload),
    [8, 9],
  );
});

test('an inbox goes on where its user has seen it to', async () => {
  const sender = client('ann');
  const first = client('ivy');
  const inbox = first.join<number>('@ivy');
  await inbox.whenJoined();
  for (let n = 1; n <= 4; n++) await sender.publish('@ivy', n);
  for await (const { payload, seq } of inbox) {
    if (payload === 2) inbox.seen(seq);
    if (payload === 4) break;
  }
  // Whatever is sent later on the same connection is handled after it.
  await new Promise((resolve) => setTimeout(resolve, 150));
  await first.history('@ivy');
  first.close();
  const again = client('ivy').join<number>('@ivy');
  const heard = record<RoomEvent<number>>((listener) => again.on('event', listener));
  await until(() => heard.length === 2, 'the unread events');
  assert.deepEqual(
    heard.map(({ payload }) => payload),
    [3, 4],
  );
});

test('seen by itself: another device begins after what was consumed, and is told how much is unread', async () => {
  const sender = client('ann');
  const first = client('joe');
  const inbox = first.join<number>('@joe', { seen: 'auto' });
  assert.equal((await inbox.whenJoined()).unread, 0);
  for (let n = 1; n <= 5; n++) await sender.publish('@joe', n);
  const events = inbox[Symbol.asyncIterator]();
  for (let n = 1; n <= 3; n++) await events.next();
  await inbox.leave();
  const again = client('joe').join<number>('@joe');
  const heard = record<RoomEvent<number>>((listener) => again.on('event', listener));
  assert.equal((await again.whenJoined()).unread, 3);
  await until(() => heard.length === 3, 'the unread events');
  assert.deepEqual(
    heard.map(({ payload }) => payload),
    [3, 4, 5],
    'the third was not done with',
  );
});

test('a page of history at a time', async () => {
  const ann = client('ann');
  for (let n = 0; n < 25; n++) await ann.publish('pages', n);
  const newest = await ann.history('pages', { limit: 10 });
  assert.equal(newest.more, true);
  const before = newest.events[0]?.seq ?? 0;
  const older = await ann.history('pages', { before, limit: 10 });
  assert.deepEqual(
    [...older.events, ...newest.events].map(({ payload }) => payload),
    Array.from({ length: 20 }, (_, n) => n + 5),
  );
});

test('what the token does not allow rejects with the code of the server', async () => {
  const token = () => broker.token({ sub: 'ann', rooms: [{ match: 'mine', allow: ['join'] }] });
  const ann = client('ann', { token });
  await assert.rejects(ann.publish('mine', 1), { code: 'forbidden', retry: false });
  await assert.rejects(ann.join('yours').whenJoined(), { code: 'forbidden' });
  await assert.rejects(ann.history('mine'), { code: 'forbidden' });
});

test('a token that the broker refuses is an error on each attempt', async () => {
  const ann = client('ann', { token: 'not-a-jwt', reconnect: { maxAttempts: 1 } });
  await assert.rejects(ann.whenOpen(), { code: 'connect_failed', reason: /401/ });
});

test('refresh keeps the connection; without it the client comes back with a new token', async () => {
  let minted = 0;
  const token = () => {
    minted++;
    return broker.token({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + 3600 });
  };
  const ann = client('ann', { token });
  await ann.whenOpen();
  const exp = await ann.refresh();
  assert.ok((exp ?? 0) > Date.now() / 1000 + 3000);
  assert.equal(minted, 2);
});

test('kill -9 and a restart on the same port: what was published meanwhile arrives once', async (t) => {
  const env = { CARILLON_LISTEN: await freeAddress() };
  const first = await startBroker({ env });
  const open = (sub: string) => {
    const reconnect = { minMs: 50, maxMs: 300 };
    const made = connect(first.url, { token: () => first.token({ sub }), webSocket: WebSocket, reconnect });
    clients.push(made);
    return made;
  };
  const [ann, bob] = [open('ann'), open('bob')];
  const room = bob.join<number>('r');
  const heard = record<RoomEvent<number>>((listener) => room.on('event', listener));
  const gaps = record<Gap>((listener) => room.on('gap', listener));
  const mine = ann.join<number>('r');
  await Promise.all([room.whenJoined(), mine.whenJoined()]);
  await ann.publish('r', 0);
  await until(() => heard.length === 1, 'the first event');
  await first.kill();
  const away = [1, 2, 3].map((n) => ann.publish('r', n));
  const second = await startBroker({ env });
  t.after(() => second.stop());
  await Promise.all(away);
  await until(() => heard.length === 4, 'all events');
  assert.deepEqual(
    heard.map(({ payload }) => payload),
    [0, 1, 2, 3],
  );
  assert.ok(gaps.length <= 1, 'a broker without a store begins a new epoch, which is told');
  for (const { reason } of gaps) assert.equal(reason, 'epoch');
});

test('SIGTERM drains: the client hears the slot and comes back to the next broker', async (t) => {
  const env = { CARILLON_LISTEN: await freeAddress() };
  const first = await startBroker({ env });
  const token = () => first.token({ sub: 'ann' });
  const reconnect = { minMs: 50, maxMs: 300 };
  const ann = connect(first.url, { token, webSocket: WebSocket, reconnect });
  clients.push(ann);
  const codes: string[] = [];
  ann.on('error', ({ code }) => codes.push(code));
  await ann.whenOpen();
  const exit = await first.stop();
  assert.equal(exit.code, 0);
  const second = await startBroker({ env });
  t.after(() => second.stop());
  await ann.whenOpen();
  assert.equal(codes[0], 'drain');
});
