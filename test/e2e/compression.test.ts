/** Compression of a whole broker: answers that a client library undoes, limits by inflated bytes, the guard. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { type RunningBroker, withBroker } from '../support/broker.ts';

type Frame = Readonly<Record<string, unknown>>;

/** Frames as they come, and one at a time. */
class Client {
  readonly socket: WebSocket;
  readonly #frames: Frame[] = [];

  constructor(url: string, token: string) {
    this.socket = new WebSocket(url, 'chat.v1', { headers: { Authorization: `Bearer ${token}` } });
    this.socket.on('message', (data) => this.#frames.push(...[JSON.parse(String(data))].flat()));
  }

  async next(type: string): Promise<Frame> {
    for (;;) {
      const at = this.#frames.findIndex((frame) => frame['type'] === type);
      const [found] = at < 0 ? [] : this.#frames.splice(0, at + 1).slice(-1);
      if (found !== undefined) return found;
      await once(this.socket, 'message');
    }
  }

  say(frame: Frame): void {
    this.socket.send(JSON.stringify(frame), { compress: true });
  }

  get bytesRead(): number {
    return (Reflect.get(this.socket, '_socket') as { readonly bytesRead: number }).bytesRead;
  }
}

async function figure({ adminUrl }: RunningBroker, name: string): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  return Number(new RegExp(`^carillon_${name} (.*)$`, 'm').exec(text)?.[1]);
}

const config = { compression: { mode: 'unicast', loopLagMs: 5000 } };

test('C1.10 history and replay come compressed to a client that offers it; live events do not', async () => {
  await withBroker({ config }, async (broker) => {
    const client = new Client(broker.url, await broker.token());
    await client.next('server_info');
    for (let n = 0; n < 100; n++)
      client.say({ type: 'pub', room: 'r', payload: `the same words ${n}`, id: n });
    for (let n = 0; n < 100; n++) await client.next('ack');
    const before = client.bytesRead;
    const compressed = await figure(broker, 'compressed_total');
    client.say({ type: 'history', room: 'r' });
    const { events } = await client.next('history');
    assert.equal((events as Frame[]).length, 100);
    assert.ok(client.bytesRead - before < JSON.stringify(events).length / 4, `${client.bytesRead - before}`);
    assert.equal(await figure(broker, 'compressed_total'), compressed + 1);
    client.say({ type: 'join', room: 'r', since: { last: 100 } });
    await client.next('caught_up');
    const replayed = await figure(broker, 'compressed_total');
    assert.ok(replayed > compressed + 1, `${replayed} with the replay`);
    client.say({ type: 'pub', room: 'r', payload: 'x'.repeat(5000) });
    await client.next('event');
    await client.next('ack');
    assert.equal(await figure(broker, 'compressed_total'), replayed);
    client.socket.terminate();
  });
});

test('C3.4 a frame is measured by what it inflates to', async () => {
  await withBroker(
    { config: { ...config, limits: { frameBytes: 4096, payloadBytes: 2048 } } },
    async (broker) => {
      const client = new Client(broker.url, await broker.token());
      await client.next('server_info');
      client.say({ type: 'pub', room: 'r', payload: 'x'.repeat(5000) });
      const { code, limit } = await client.next('error');
      assert.deepEqual([code, limit], ['frame_too_large', 4096]);
      client.say({ type: 'pub', room: 'r', payload: 'x'.repeat(9000) });
      const [closed] = await once(client.socket, 'close');
      assert.equal(closed, 1006);
    },
  );
});

test('a loop that is late switches compression off', async () => {
  await withBroker({ config: { compression: { mode: 'unicast', loopLagMs: 40 } } }, async (broker) => {
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    // Stopped for so much of its life, a tenth and more of the samples are late.
    for (let times = 0; times < 20; times++) {
      process.kill(broker.pid, 'SIGSTOP');
      await pause(80);
      process.kill(broker.pid, 'SIGCONT');
      await pause(20);
    }
    for (let tries = 0; (await figure(broker, 'compression')) !== 0; tries++) {
      assert.ok(tries < 50, 'still on');
      await pause(100);
    }
    assert.ok(broker.logs.some((line) => line.includes('compression is off: the loop is late')));
  });
});
