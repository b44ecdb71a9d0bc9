/** What a person with `wscat` sees: text typed in, text printed, the credential in a subprotocol entry. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { withBroker } from '../../support/broker.ts';

type Frame = Readonly<Record<string, unknown>>;

/** Collects every frame, batches taken apart, and hands them out in order. */
class Terminal {
  readonly socket: WebSocket;
  readonly #frames: Frame[] = [];
  #wake: (() => void) | undefined;

  constructor(url: string, token: string) {
    this.socket = new WebSocket(url, ['chat.v1', `bearer.${token}`]);
    this.socket.on('message', (data, isBinary) => {
      assert.equal(isBinary, false);
      this.#frames.push(...[JSON.parse(data.toString())].flat());
      this.#wake?.();
    });
  }

  type(line: string): void {
    this.socket.send(line);
  }

  async next(type: string): Promise<Frame> {
    while (this.#frames.length === 0) {
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve;
        this.socket.once('close', (code) => reject(new Error(`closed with ${code}, waiting for ${type}`)));
      });
    }
    const frame = this.#frames.shift() as Frame;
    assert.equal(frame['type'], type, JSON.stringify(frame));
    return frame;
  }
}

test('two raw clients talk through a room with typed JSON', { timeout: 20_000 }, async () => {
  await withBroker({ env: { CARILLON_LOG_LEVEL: 'debug' } }, async (broker) => {
    const ada = new Terminal(broker.url, await broker.token({ sub: 'ada' }));
    const ben = new Terminal(broker.url, await broker.token({ sub: 'ben' }));
    const info = await ada.next('server_info');
    assert.equal(ada.socket.protocol, 'chat.v1', 'the credential is never echoed');
    assert.equal(info['user'], 'ada');
    await ben.next('server_info');

    ada.type('{"type":"join","room":"lobby"}');
    ben.type('{"type":"join","room":"lobby"}');
    const { seq, epoch } = await ada.next('joined');
    assert.equal((await ben.next('joined'))['epoch'], epoch);

    ada.type('{"type":"pub","room":"lobby","payload":"hello","msgId":"1"}');
    const own = await ada.next('event');
    const seen = await ben.next('event');
    assert.deepEqual(seen, own, 'receivers of one encoding get the same event');
    assert.deepEqual([seen['payload'], seen['from'], seen['prev']], ['hello', 'ada', seq]);
    assert.equal((await ada.next('ack'))['seq'], own['seq'], 'the ack follows the event');

    ben.type('not json');
    assert.equal((await ben.next('error'))['code'], 'bad_json');
    ben.type('{"type":"ping","ts":"still here"}');
    assert.equal((await ben.next('pong'))['ts'], 'still here');

    const closed = once(ben.socket, 'close');
    ben.socket.close(1000);
    assert.equal((await closed)[0], 1000);
  });
});
