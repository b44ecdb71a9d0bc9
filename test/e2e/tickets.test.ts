import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import type { ServerInfoFrame } from '../../src/protocol/frames.ts';
import { withBroker } from '../support/broker.ts';

interface Visit {
  readonly info: ServerInfoFrame;
  readonly socket: WebSocket;
}

/** The first frame, or the HTTP status and body of a refusal. */
function visit(url: string, credential: string): Promise<Visit> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, ['chat.v1', credential]);
    socket.once('message', (data) => resolve({ info: JSON.parse(String(data)), socket }));
    socket.once('unexpected-response', (_request, response) => {
      response.once('data', (body) => reject(new Error(`${response.statusCode} ${body}`)));
    });
    socket.once('error', reject);
  });
}

function closed(socket: WebSocket): Promise<number> {
  return new Promise((resolve) => socket.once('close', resolve));
}

test('C1.3 C4.1 a ticket continues the session in the place of a token, once', async () => {
  await withBroker({}, async (broker) => {
    const first = await visit(broker.url, `bearer.${await broker.token({ sub: 'ann' })}`);
    assert.equal(first.info.resumed, false);
    assert.ok(first.info.ticket && first.info.ticketTtl);
    first.socket.terminate();
    await closed(first.socket);
    const ticket = `ticket.${first.info.ticket}`;
    const second = await visit(broker.url, ticket);
    assert.equal(second.info.session, first.info.session);
    assert.equal(second.info.user, 'ann');
    assert.equal(second.info.resumed, true);
    assert.equal(second.info.last?.code, 1006);
    await assert.rejects(visit(broker.url, ticket), /401 .*used already/);
    await assert.rejects(visit(broker.url, `${ticket}x`), /401 .*not genuine/);
    const replaced = closed(second.socket);
    const third = await visit(broker.url, `ticket.${second.info.ticket}`);
    assert.equal(await replaced, 4008, 'the old connection of the session');
    third.socket.close();
  });
});

test('C1.3 nodes that share the token secret take each other’s tickets', async () => {
  await withBroker({}, async (one) => {
    await withBroker({}, async (other) => {
      const first = await visit(one.url, `bearer.${await one.token({ sub: 'ann' })}`);
      first.socket.close();
      const second = await visit(other.url, `ticket.${first.info.ticket}`);
      assert.equal(second.info.session, first.info.session);
      second.socket.close();
    });
  });
});
