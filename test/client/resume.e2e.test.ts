/** Tickets and refreshes of the SDK against the real broker. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { type ClientEvents, connect, type RoomEvent } from '../../src/client/index.ts';
import { withBroker } from '../support/broker.ts';
import { record, until } from './scripted.ts';

/** The socket of the newest connection, so that a test can pull the plug. */
class Plug extends WebSocket {
  static newest: Plug | undefined;

  constructor(url: string | URL, protocols?: string | string[]) {
    super(url, protocols);
    Plug.newest = this;
  }
}

test('a lost connection comes back by ticket: same session, rooms whole, no token asked for', async () => {
  await withBroker({}, async (broker) => {
    let asked = 0;
    const token = () => {
      asked++;
      return broker.token({ sub: 'ann' });
    };
    const ann = connect(broker.url, { token, webSocket: Plug, reconnect: { minMs: 20, maxMs: 100 } });
    const room = ann.join<number>('r');
    const heard = record<RoomEvent<number>>((listener) => room.on('event', listener));
    const resumed = record<ClientEvents['resumed']>((listener) => ann.on('resumed', listener));
    await room.whenJoined();
    const { session } = ann;
    assert.ok(session);
    // Heard, not polled: it may be back within a few milliseconds.
    let losses = 0;
    ann.on('state', ({ name }) => {
      if (name === 'waiting') losses++;
    });
    for (const n of [1, 2, 3]) {
      Plug.newest?.terminate();
      await until(() => losses === n, 'the loss');
      await ann.publish('r', n);
      await until(() => heard.length === n, 'the event');
      assert.equal(ann.session, session);
      assert.equal(resumed.length, n);
    }
    ann.close();
    assert.equal(asked, 1);
    assert.equal(resumed[0]?.last?.code, 1006);
    assert.deepEqual(
      heard.map(({ payload }) => payload),
      [1, 2, 3],
    );
  });
});

test('a token of 3 s is renewed in time: the connection outlives it', async () => {
  await withBroker({}, async (broker) => {
    let asked = 0;
    const token = () => {
      asked++;
      return broker.token({ sub: 'ann', exp: Math.ceil(Date.now() / 1000) + 3 });
    };
    const ann = connect(broker.url, { token, webSocket: WebSocket });
    const states = record<{ name: string }>((listener) => ann.on('state', listener));
    await ann.whenOpen();
    await sleep(6500);
    await ann.publish('r', 1);
    ann.close();
    assert.deepEqual(
      states.map(({ name }) => name),
      ['connecting', 'open', 'closed'],
    );
    assert.ok(asked >= 3, `${asked} tokens`);
  });
});
