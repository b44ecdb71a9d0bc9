/** Fan-out to topics, and the guards around a socket that is gone. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Connection } from '../../src/broker/ports.ts';
import { OPCODE, RawSocket } from '../support/raw-socket.ts';
import { type Guest, startTransport, type TestTransport } from './support/parts.ts';
import { pause } from './support/spawn.ts';

interface Pair {
  readonly client: RawSocket;
  readonly guest: Guest;
}

async function pairs(t: TestContext, node: TestTransport, ...protocols: string[]): Promise<Pair[]> {
  const made: Pair[] = [];
  for (const protocol of protocols) {
    const client = await RawSocket.upgraded(node.port, { headers: { 'Sec-WebSocket-Protocol': protocol } });
    t.after(() => client.destroy());
    made.push({ client, guest: node.guest() });
  }
  return made;
}

async function three(t: TestContext): Promise<{ node: TestTransport; all: readonly [Pair, Pair, Pair] }> {
  const node = await startTransport();
  t.after(() => node.transport.close());
  const all = (await pairs(t, node, 'chat.v1', 'chat.v1', 'chat.v1.msgpack')) as [Pair, Pair, Pair];
  for (const { guest } of all) guest.connection.subscribe(topicOf(guest.connection));
  return { node, all };
}

const topicOf = ({ encoding }: Connection) => (encoding === 'json' ? 'j' : 'm');

/** Everything that the client has got, after a moment: `text a`, `binary b`. */
async function got({ client, guest }: Pair): Promise<string[]> {
  guest.connection.send('end');
  const texts: string[] = [];
  for (;;) {
    const received = await client.frame();
    if (received === undefined || received.payload.toString() === 'end') return texts;
    texts.push(`${received.opcode === OPCODE.text ? 'text' : 'binary'} ${received.payload.toString()}`);
  }
}

test('each encoding has its own kind of frame, for topics and for single sends', async (t) => {
  const { node, all } = await three(t);
  node.transport.publish('j', 'one', 'json');
  node.transport.publish('m', Buffer.from('two'), 'msgpack');
  for (const { guest } of all) guest.connection.send('three');
  assert.deepEqual(await Promise.all(all.map(got)), [
    ['text one', 'text three'],
    ['text one', 'text three'],
    ['binary two', 'binary three'],
  ]);
});

test('publishExcept reaches everybody else, in both encodings, each in its own kind of frame', async (t) => {
  const { node, all } = await three(t);
  for (const skip of [all[0], all[2]]) {
    node.transport.publishExcept(skip.guest.connection, 'j', 'one', 'json');
    node.transport.publishExcept(skip.guest.connection, 'm', Buffer.from('two'), 'msgpack');
  }
  assert.deepEqual(await Promise.all(all.map(got)), [['text one'], ['text one', 'text one'], ['binary two']]);
});

test('publishExcept reaches the others when the publisher has just closed', async (t) => {
  const { node, all } = await three(t);
  const [publisher, other] = all;
  publisher.guest.connection.end(4009, 'kicked');
  node.transport.publishExcept(publisher.guest.connection, 'j', 'one', 'json');
  assert.deepEqual(await got(other), ['text one']);
});

test('publishExcept reaches the others when the publisher has left its last topic', async (t) => {
  const { node, all } = await three(t);
  const [publisher, other] = all;
  publisher.guest.connection.unsubscribe('j');
  node.transport.publishExcept(publisher.guest.connection, 'j', 'one', 'json');
  assert.deepEqual(await got(other), ['text one']);
  assert.deepEqual(await got(publisher), []);
});

test('a subscription is exact to the call, in the same turn', async (t) => {
  const { node, all } = await three(t);
  const { connection } = all[0].guest;
  const publish = (text: string) => node.transport.publish('t', text, 'json');
  publish('before');
  connection.subscribe('t');
  publish('within');
  connection.unsubscribe('t');
  publish('after');
  assert.deepEqual(await got(all[0]), ['text within']);
});

test('order holds between topics and single sends, whatever their sizes', async (t) => {
  const { node, all } = await three(t);
  const sent: string[] = [];
  for (let at = 0; at < 200; at++) {
    const text = `${at} ${'x'.repeat(at % 7 === 0 ? 20_000 : at)}`;
    sent.push(`text ${text}`);
    if (at % 3 === 0) all[1].guest.connection.send(text);
    else node.transport.publish('j', text, 'json');
  }
  assert.deepEqual(await got(all[1]), sent);
});

test('rule 13: after its end a connection takes every call, and does nothing', async (t) => {
  const { node, all } = await three(t);
  const { connection } = all[0].guest;
  connection.end(4009, 'first');
  assert.equal(all[0].guest.closed, 4009);
  connection.end(4001, 'second');
  connection.subscribe('j');
  connection.unsubscribe('j');
  assert.equal(connection.send('late'), false);
  assert.equal(connection.buffered(), 0);
  node.transport.publish('j', 'late', 'json');
  assert.deepEqual(await all[0].client.closing(), { code: 4009, reason: Buffer.from('first') });
});

test('rule 13: the same from within the callback that tells of the end', async (t) => {
  const failures: unknown[] = [];
  const node = await startTransport({}, (connection) => ({
    receive: () => {},
    drained: () => {},
    closed: () => {
      connection.subscribe('j');
      connection.unsubscribe('j');
      connection.end(4000, 'again');
      failures.push(connection.send('late'), connection.buffered());
      node.transport.publish('j', 'somebody left', 'json');
    },
  }));
  t.after(() => node.transport.close());
  const client = await RawSocket.upgraded(node.port);
  client.destroy();
  while (failures.length === 0) await pause(5);
  assert.deepEqual(failures, [false, 0]);
  assert.deepEqual(node.log.errors, []);
});

test('a session that throws costs its own message and nothing else', async (t) => {
  const node = await startTransport({}, (connection) => ({
    receive: (bytes) => {
      const text = Buffer.from(bytes).toString();
      if (text === 'bug') throw new Error('a bug');
      connection.send(text);
    },
    drained: () => {},
    closed: () => {
      throw new Error('a bug');
    },
  }));
  t.after(() => node.transport.close());
  const client = await RawSocket.upgraded(node.port);
  client.say('bug');
  client.say('fine');
  assert.equal(await client.text(), 'fine');
  client.destroy();
  while (node.log.errors.length < 2) await pause(5);
  assert.deepEqual(node.log.errors, ['message failed', 'socket callback failed']);
});
