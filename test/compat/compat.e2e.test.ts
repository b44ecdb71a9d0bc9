/**
 * What is at the users' goes on to work: a former SDK on the present broker, the present SDK on a former broker, both
 * brokers on one NATS. docs/operations/upgrades.md is the policy that this holds.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { WebSocket } from 'ws';
import type { ConnectOptions, Gap, Room, RoomEvent } from '../../src/client/index.ts';
import * as presentSdk from '../../src/client/index.ts';
import { record, until } from '../client/scripted.ts';
import { type RunningBroker, startBroker } from '../support/broker.ts';
import { type Cut, cutProxy } from '../support/cut.ts';
import { NatsCluster } from '../support/nats/cluster.ts';
import { formerBroker, formerSdk, formerTalk } from './former.ts';
import { type Frame, TALK_CONFIG, talk } from './talk.ts';

type Sdk = Awaited<ReturnType<typeof formerSdk>>;

const ROOMS = [{ match: 'live:**' }, { match: '**', history: { count: 50 } }];
/** Settings that a former SDK has never heard of: they bring fields and frames that it does not know. */
const NEWS = {
  rooms: [
    { match: 'live:**' },
    { match: 'signal:**', ephemeral: { perSecond: 2, expireMs: '2s' } },
    {
      match: '**',
      history: { count: 50 },
      capacity: 100,
      description: 'for all',
      schema: { mode: 'warn', inline: { type: ['string', 'object', 'number'] } },
    },
  ],
};

const PAIRS = [
  { name: 'the former SDK on the present broker', sdk: formerSdk, program: undefined, config: NEWS },
  {
    name: 'the present SDK on the former broker',
    sdk: async (): Promise<Sdk> => presentSdk,
    program: formerBroker,
    config: { rooms: ROOMS },
  },
] as const;

const address = ({ httpUrl }: RunningBroker) => httpUrl.slice('http://'.length);

for (const { name, sdk: load, program, config } of PAIRS)
  describe(name, () => {
    let sdk: Sdk;
    let broker: RunningBroker;
    let proxy: Cut;
    const clients: { close(): void }[] = [];

    before(async () => {
      sdk = await load();
      broker = await startBroker({ config, ...(program && { program: program() }) });
      proxy = await cutProxy(address(broker));
    });
    after(async () => {
      for (const client of clients) client.close();
      proxy?.close();
      await broker?.stop();
    });

    function client(sub: string, options: Partial<ConnectOptions> = {}, claims: object = {}) {
      const url = `${proxy.httpUrl.replace('http', 'ws')}/connect`;
      const token = () => broker.token({ sub, ...claims });
      const reconnect = { minMs: 20, maxMs: 100 };
      const made = sdk.connect(url, { token, webSocket: WebSocket, reconnect, ...options });
      clients.push(made);
      return made;
    }
    const heard = (room: Room) => record<RoomEvent>((listener) => room.on('event', listener));

    for (const encoding of ['json', 'msgpack'] as const)
      test(`${encoding}: join, publish, history, presence, leave`, async () => {
        const [ann, bob] = [client('ann', { encoding }), client('bob', { encoding })];
        const [mine, his] = [ann.join(`talk:${encoding}`, { presence: true }), bob.join(`talk:${encoding}`)];
        await Promise.all([mine.whenJoined(), his.whenJoined()]);
        await until(() => mine.members.has('bob'), 'bob');
        const [onMine, onHis] = [heard(mine), heard(his)];
        const first = await mine.publish({ text: 'grüße' }, { msgId: 'one' });
        assert.equal(onMine.length, 1, 'the own event comes before the ack');
        assert.equal((await mine.publish('once more', { msgId: 'one' })).duplicate, true);
        await his.publish('quiet', { echo: false, key: 'k' });
        await mine.publish(true, { ephemeral: true });
        await mine.publish(2);
        await until(() => onHis.length === 3 && onMine.length === 4, 'all events');
        assert.deepEqual(mine.position, his.position);
        const page = await his.history({ limit: 10 });
        assert.deepEqual(
          page.events.map(({ payload }) => payload),
          [{ text: 'grüße' }, 'quiet', 2],
        );
        assert.equal(page.events[0]?.seq, first.seq);
        assert.equal((await ann.presence(`talk:${encoding}`)).count, 2);
        await his.leave();
        await until(() => !mine.members.has('bob'), 'bob is gone');
      });

    test('a line that breaks: back by its ticket, what was missed comes, once and in order', async () => {
      const [ann, bob] = [client('ann'), client('bob')];
      const [mine, his] = [ann.join('broken'), bob.join('broken')];
      await Promise.all([mine.whenJoined(), his.whenJoined()]);
      const got = heard(his);
      const gaps = record<Gap>((listener) => his.on('gap', listener));
      await mine.publish(0);
      await until(() => got.length === 1, 'the first');
      proxy.cut();
      await until(() => bob.state.name !== 'open' && ann.state.name !== 'open', 'the loss');
      const later = [1, 2, 3].map((n) => mine.publish(n));
      proxy.mend();
      await Promise.all(later);
      await until(() => got.length === 4, 'what was missed');
      assert.deepEqual(
        got.map(({ payload }) => payload),
        [0, 1, 2, 3],
      );
      assert.deepEqual([gaps, bob.info?.resumed], [[], true]);
    });

    test('refusals have their codes', async () => {
      const rooms = [{ match: 'mine', allow: ['join'] }];
      const eve = client('eve', {}, { rooms });
      const code = (wanted: string) => (error: unknown) =>
        error instanceof sdk.CarillonError && error.code === wanted;
      await assert.rejects(eve.join('other').whenJoined(), code('forbidden'));
      const room = eve.join('mine');
      await room.whenJoined();
      await assert.rejects(room.publish(1), code('forbidden'));
      await assert.rejects(room.history(), code('forbidden'));
    });
  });

describe('what a client of the first chat.v1 says and is answered', () => {
  const former = formerTalk();

  test('every answer of then is given now, with the same values, and at most more fields', async () => {
    const broker = await startBroker({ config: TALK_CONFIG });
    try {
      const present = await talk(broker);
      assert.equal(present.length, former.length);
      for (const [at, { send, got }] of former.entries()) {
        const now = answers(present[at]?.got ?? []);
        const context = `${JSON.stringify(send)}: ${JSON.stringify(now)}`;
        const then = answers(got);
        assert.deepEqual(
          now.map(({ type }) => type),
          then.map(({ type }) => type),
          context,
        );
        for (const [nth, frame] of then.entries()) sameButMore(frame, now[nth], context);
      }
    } finally {
      await broker.stop();
    }
  });

  test('a difference is seen', () => {
    const frame = former[2]?.got[0];
    assert.equal(frame?.type, 'joined');
    sameButMore(frame, { ...frame, news: 1 }, '');
    assert.throws(() => sameButMore(frame, { ...frame, durable: false }, ''));
    assert.throws(() => sameButMore(frame, { ...frame, epoch: 1 }, ''));
    const { replay: _, ...less } = frame as Frame;
    assert.throws(() => sameButMore(frame, less, ''));
  });
});

/** Presence that nobody asked for comes when it likes. */
const answers = (frames: readonly Frame[]) =>
  frames.filter((frame) => frame.type !== 'presence' || frame['id'] !== undefined);

/** Another in each run, or for people. */
const ANY = new Set(['serverId', 'session', 'epoch', 'ts', 'now', 'ticket', 'reason', 'version']);

function sameButMore(then: unknown, now: unknown, context: string): void {
  if (Array.isArray(then)) {
    assert.ok(Array.isArray(now), context);
    if (then.some((item) => typeof item === 'string'))
      return assert.ok(
        then.every((item) => now.includes(item)),
        context,
      );
    assert.equal(now.length, then.length, context);
    for (const [at, item] of then.entries()) sameButMore(item, now[at], context);
    return;
  }
  if (typeof then !== 'object' || then === null) return assert.deepEqual(now, then, context);
  for (const [key, value] of Object.entries(then)) {
    const other = (now as Record<string, unknown> | undefined)?.[key];
    if (ANY.has(key)) assert.equal(typeof other, typeof value, `${key}: ${context}`);
    else sameButMore(value, other, `${key}: ${context}`);
  }
}

describe('a former and a present broker on one NATS', () => {
  let nats: NatsCluster;
  const brokers: RunningBroker[] = [];
  const clients: { close(): void }[] = [];

  before(async () => {
    nats = await NatsCluster.start(1);
    const config = (serverId: string) => ({
      node: { serverId },
      rooms: ROOMS,
      nats: { url: nats.urls, shards: 2, streamBytes: '64MiB' },
    });
    // As an upgrade goes: what the former has made is there already.
    brokers.push(await startBroker({ config: config('former'), program: formerBroker() }));
    brokers.push(await startBroker({ config: config('present') }));
  });
  after(async () => {
    for (const client of clients) client.close();
    await Promise.all(brokers.map((broker) => broker.stop()));
    await nats?.close();
  });

  async function client(at: number, sub: string) {
    const broker = brokers[at] as RunningBroker;
    const made = presentSdk.connect(broker.url, { token: await broker.token({ sub }), webSocket: WebSocket });
    clients.push(made);
    await made.whenOpen();
    return made;
  }

  for (const name of ['kept:1', 'live:1'])
    test(`${name}: everybody gets everything, whoever published it where`, async () => {
      const [ann, bob] = [await client(0, 'ann'), await client(1, 'bob')];
      assert.deepEqual([ann.info?.serverId, bob.info?.serverId], ['former', 'present']);
      const rooms = [ann.join(name), bob.join(name)] as const;
      await Promise.all(rooms.map((room) => room.whenJoined()));
      const heard = rooms.map((room) => record<RoomEvent>((listener) => room.on('event', listener)));
      for (const n of [1, 2, 3]) {
        await rooms[0].publish({ n, by: 'former' }, { key: 'k' });
        await rooms[1].publish({ n, by: 'present' }, { key: 'k' });
      }
      await rooms[0].publish('quiet', { echo: false });
      await rooms[1].publish('now', { ephemeral: true });
      await until(() => heard[0]?.length === 7 && heard[1]?.length === 8, 'all events on both');
      if (name.startsWith('live')) return;
      const durable = (events: readonly RoomEvent[] = []) =>
        events.flatMap(({ seq, payload, from, msgId }) =>
          seq === undefined ? [] : [{ seq, payload, from, msgId }],
        );
      const quiet = durable(heard[1]).filter(({ payload }) => payload !== 'quiet');
      assert.deepEqual(durable(heard[0]), quiet, 'the same events at the same positions');
      assert.deepEqual(rooms[0].position, rooms[1].position);
      const pages = await Promise.all(rooms.map((room) => room.history({ limit: 50 })));
      assert.deepEqual(pages[0]?.events, pages[1]?.events);
    });

  test('a position of the one is resumed from on the other, both ways; a msgId is stored once', async () => {
    for (const [from, to] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const name = `moved:${from}`;
      const [before, publisher, behind] = [
        await client(from, 'mover'),
        await client(to, 'pub'),
        await client(to, 'mover'),
      ];
      const room = before.join(name);
      await room.whenJoined();
      await publisher.publish(name, 1, { msgId: 'first' });
      await until(() => room.position?.seq !== undefined && room.position.seq > 0, 'the first');
      const { position } = room;
      assert.ok(position);
      await room.leave();
      await publisher.publish(name, 2, { msgId: 'second' });
      assert.equal((await publisher.publish(name, 2, { msgId: 'second' })).duplicate, true);
      const again = behind.join(name, { since: position });
      const got = record<RoomEvent>((listener) => again.on('event', listener));
      const { recovered } = await again.whenJoined();
      await until(() => got.length === 1, 'the second');
      assert.deepEqual([recovered, got[0]?.payload], ['full', 2]);
    }
  });
});
