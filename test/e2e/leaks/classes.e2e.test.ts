/** What comes and goes leaves nothing behind: live objects by class, after many of each have come and gone. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import v8 from 'node:v8';
import type { JWTPayload } from 'jose';
import { WebSocket } from 'ws';
import { type App, createApp } from '../../../src/app.ts';
import { RoomEvent } from '../../../src/broker/event.ts';
import { Tenant } from '../../../src/broker/limits/tenant.ts';
import { Membership } from '../../../src/broker/membership.ts';
import { RoomPresence } from '../../../src/broker/presence/view.ts';
import { Room } from '../../../src/broker/room.ts';
import { Session } from '../../../src/broker/session.ts';
import { Feed } from '../../../src/bus/nats/feed.ts';
import { Ring } from '../../../src/bus/nats/ring.ts';
import { loadConfig } from '../../../src/config.ts';
import { createLog } from '../../../src/ops/log.ts';
import { UwsConnection } from '../../../src/transport/connection.ts';
import { token } from '../../support/broker.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

const SECRET = 'a key that only these tests use, 32 bytes or more';

type Class = abstract new (...args: never[]) => object;

/** Live objects of a class, after a collection of all garbage. */
function alive(of: Class): number {
  return v8.queryObjects(of as never, { format: 'count' }) as unknown as number;
}

async function settles(classes: Readonly<Record<string, readonly [Class, number]>>): Promise<void> {
  const counts = () =>
    Object.entries(classes)
      .map(([name, [of, most]]) => ({ name, count: alive(of), most }))
      .filter(({ count, most }) => count > most);
  for (let tries = 0; tries < 60 && counts().length > 0; tries++) await sleep(100);
  assert.deepEqual(counts(), []);
}

for (const bus of ['embedded', 'nats'])
  describe(`on the ${bus} bus`, () => {
    let app: App;
    let nats: NatsCluster | undefined;
    let url = '';

    before(async () => {
      if (bus === 'nats') nats = await NatsCluster.start(1);
      const settings = {
        listen: '127.0.0.1:0',
        admin: { listen: '127.0.0.1:0' },
        rooms: [{ match: 'live:**' }, { match: '**', history: { count: 10, age: '1s', bytes: '64KiB' } }],
        presence: { graceMs: 100, drainGraceMs: 100 },
        limits: { rates: false, address: { attemptsPerSecond: 0 } },
        ...(nats && { nats: { url: nats.urls, shards: 1, streamBytes: '64MiB', lingerMs: '1s' } }),
      };
      const loaded = loadConfig({ text: JSON.stringify(settings), env: { CARILLON_JWT_SECRET: SECRET } });
      assert.ok(loaded.ok, JSON.stringify(loaded));
      app = await createApp(loaded.config, createLog('silent'));
      url = (await app.listen()).listen;
    });

    after(async () => {
      await app.drain({ fast: true, reason: 'shutdown' });
      await app.close();
      await nats?.close();
    });

    async function open(claims: JWTPayload, ticket?: string): Promise<{ socket: WebSocket; ticket: string }> {
      const credential = ticket === undefined ? `bearer.${await token(claims)}` : `ticket.${ticket}`;
      const socket = new WebSocket(`ws://${url}/connect`, ['chat.v1', credential]);
      const info = await frame(socket, 'server_info');
      return { socket, ticket: String(info['ticket']) };
    }

    function frame(socket: WebSocket, type: string): Promise<Record<string, unknown>> {
      return new Promise((resolve, reject) => {
        socket.on('error', reject);
        socket.on('message', function hear(data) {
          for (const one of [JSON.parse(String(data))].flat())
            if (one.type === type) {
              socket.off('message', hear);
              resolve(one);
            }
        });
      });
    }

    async function ask(socket: WebSocket, request: object, answer: string) {
      const answered = frame(socket, answer);
      socket.send(JSON.stringify({ id: 1, ...request }));
      return answered;
    }

    async function closed(socket: WebSocket): Promise<void> {
      const done = new Promise((resolve) => socket.once('close', resolve));
      socket.close();
      await done;
    }

    /** So many times, some at once. */
    async function times(count: number, work: (n: number) => Promise<void>): Promise<void> {
      const lane = async (first: number) => {
        for (let n = first; n < count; n += 10) await work(n);
      };
      await Promise.all(Array.from({ length: 10 }, (_, first) => lane(first)));
    }

    test('rooms, their members, presence and events', async () => {
      await times(40, async (n) => {
        const { socket } = await open({ sub: `user-${n}`, info: { n } });
        for (const room of [`live:${n}`, `kept:${n}`]) {
          await ask(socket, { type: 'join', room, presence: true }, 'joined');
          await ask(socket, { type: 'pub', room, payload: n, msgId: `m${n}` }, 'ack');
        }
        if (n % 2 === 0) await ask(socket, { type: 'leave', room: `kept:${n}` }, 'left');
        await closed(socket);
      });
      await settles({
        Membership: [Membership, 0],
        Room: [Room, 0],
        RoomPresence: [RoomPresence, 0],
        Feed: [Feed, 0],
        Ring: [Ring, 0],
        RoomEvent: [RoomEvent, 0],
      });
    });

    // The rest is the same code on every bus.
    if (bus === 'nats') return;

    test('connections, while next to nothing is published', async () => {
      const { socket } = await open({ sub: 'stays' });
      await ask(socket, { type: 'join', room: 'live:one' }, 'joined');
      await times(300, async (n) => {
        const { socket: passing } = await open({ sub: `passes-${n % 50}` });
        if (n % 100 === 0) socket.send(JSON.stringify({ type: 'pub', room: 'live:one', payload: 'x' }));
        await closed(passing);
      });
      await settles({ Session: [Session, 1], UwsConnection: [UwsConnection, 1] });
      await closed(socket);
      await settles({ Session: [Session, 0], UwsConnection: [UwsConnection, 0] });
    });

    test('sessions that go on by a ticket', async () => {
      await times(30, async (n) => {
        let { socket, ticket } = await open({ sub: `goes-on-${n}` });
        for (let again = 0; again < 6; again++) {
          await closed(socket);
          ({ socket, ticket } = await open({}, ticket));
        }
        await closed(socket);
      });
      await settles({ Session: [Session, 0], UwsConnection: [UwsConnection, 0] });
    });

    test('tenants', async () => {
      await times(80, async (n) => {
        const { socket } = await open({ sub: 'user', tenant: `tenant-${n}` });
        await ask(socket, { type: 'pub', room: 'live:a', payload: n, id: n }, 'ack');
        await closed(socket);
      });
      await settles({ Tenant: [Tenant, 2] });
    });

    test('handshakes that are refused, and calls of the API', async () => {
      const before = alive(UwsConnection);
      const bearer = `Bearer ${await token({ sub: 'backend', scope: 'api' })}`;
      await times(100, async (n) => {
        const refused = new WebSocket(`ws://${url}/connect`, ['chat.v1', 'bearer.a.b.c']);
        await new Promise((resolve) => refused.once('error', resolve));
        const answer = await fetch(`http://${url}/api/v1/publish`, {
          method: 'POST',
          headers: { Authorization: bearer },
          body: JSON.stringify({ room: 'live:api', payload: n }),
        });
        assert.equal(answer.status, 200);
        await answer.arrayBuffer();
      });
      await settles({ UwsConnection: [UwsConnection, before], Session: [Session, 0], Room: [Room, 0] });
    });
  });
