/** What a close is put down to. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import WebSocket from 'ws';
import { closedBy, isFinal } from '../../src/broker/tally.ts';
import { CLOSE_CODES } from '../../src/protocol/codes.ts';
import { startTransport } from './support/parts.ts';
import { pause } from './support/spawn.ts';

test('the codes of the server are its own: a client that closes with one is not kicked, slow or banned for it', async (t) => {
  const node = await startTransport({});
  t.after(() => node.transport.close());
  const connected = async (): Promise<WebSocket> => {
    const headers = { Authorization: 'Bearer known.user' };
    const socket = new WebSocket(`ws://127.0.0.1:${node.port}/connect`, 'chat.v1', { headers });
    await once(socket, 'open');
    return socket;
  };
  const closed = async (): Promise<number> => {
    const guest = node.guest();
    while (guest.closed === undefined) await pause(5);
    return guest.closed;
  };
  for (const [reason, { code }] of Object.entries(CLOSE_CODES)) {
    (await connected()).close(code, 'says the client');
    const seen = await closed();
    assert.equal(closedBy(seen), 'other', reason);
    // The SDK closes with 4104 a server that fell silent, and comes back.
    assert.equal(isFinal(seen), false, reason);
  }
  (await connected()).close(1000);
  assert.equal(closedBy(await closed()), 'normal');
  await connected();
  node.guest().connection.end(CLOSE_CODES.kicked.code, 'says the server');
  assert.equal(closedBy(await closed()), 'kicked');
});
