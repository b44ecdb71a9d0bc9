import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import { type NoAnswer, Requests } from '../../../src/bus/nats/acks.ts';
import { environment } from '../../../src/bus/nats/env.ts';
import { VOICE } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

const cluster = await NatsCluster.start(1);
const connection = await connect({ servers: cluster.urls, noEcho: true });
const requests = new Requests(connection, '_INBOX_test.n1', environment({ now: Date.now }, VOICE));
after(async () => {
  requests.close();
  await connection.close();
  await cluster.close();
});

function ask(subject: string, payload = '', timeoutMs = 1000): Promise<Msg | NoAnswer> {
  return new Promise((answered) => requests.send(subject, payload, undefined, timeoutMs, answered));
}

test('an answer finds its request among thousands', async () => {
  const other = await connect({ servers: cluster.urls });
  other.subscribe('echo', { callback: (_error, msg) => void msg.respond(msg.data) });
  await other.flush();
  const answers = await Promise.all(Array.from({ length: 5000 }, (_, n) => ask('echo', `${n}`, 5000)));
  const texts = answers.map((answer) => (typeof answer === 'string' ? answer : answer.string()));
  assert.deepEqual(
    texts,
    texts.map((_, n) => `${n}`),
  );
  assert.equal(requests.pending, 0);
  await other.close();
});

test('nobody there is told at once, silence after its time, a broken line at once', async () => {
  assert.equal(await ask('nobody.listens'), 'nobody');
  const other = await connect({ servers: cluster.urls });
  other.subscribe('silent', { callback: () => undefined });
  await other.flush();
  const began = performance.now();
  assert.equal(await ask('silent', '', 300), 'timeout');
  const took = performance.now() - began;
  assert.ok(took >= 295 && took < 800, `${took}`);
  const broken = ask('silent', '', 60_000);
  requests.lost();
  assert.equal(await broken, 'lost');
  await other.close();
});

test('an answer that comes too late, or twice, changes nothing', async () => {
  const other = await connect({ servers: cluster.urls });
  other.subscribe('slow', {
    callback: (_error, msg) => {
      setTimeout(() => {
        msg.respond('late');
        msg.respond('later');
      }, 400);
    },
  });
  await other.flush();
  let count = 0;
  requests.send('slow', '', undefined, 100, () => count++);
  await sleep(700);
  assert.equal(count, 1);
  await other.close();
});

test('what is over the limit of the server is refused before it is sent, and leaves nothing behind', async () => {
  const unexpected = () => assert.fail('it was answered');
  const error = await new Promise((refused) =>
    requests.send('echo', 'x'.repeat(2 ** 20 + 1), undefined, 100, unexpected, refused),
  );
  assert.match(String(error), /max_payload/);
  assert.equal(requests.pending, 0);
});

test('several answers come in order until one is called the last, or there is silence', async () => {
  const other = await connect({ servers: cluster.urls });
  other.subscribe('many', {
    callback: (_error, msg) => {
      for (const part of ['a', 'b', 'c', 'd']) msg.respond(part);
    },
  });
  await other.flush();
  const collect = (last: string) =>
    new Promise<string[]>((done) => {
      const parts: string[] = [];
      requests.collect('many', '', 200, (answer) => {
        const part = typeof answer === 'string' ? answer : answer.string();
        parts.push(part);
        const ends = typeof answer === 'string' || part === last;
        if (ends) done(parts);
        return ends;
      });
    });
  assert.deepEqual(await collect('c'), ['a', 'b', 'c']);
  assert.deepEqual(await collect('none'), ['a', 'b', 'c', 'd', 'timeout']);
  assert.equal(requests.pending, 0);
  await other.close();
});

test('what one turn of the loop publishes leaves in one write', async () => {
  const socket = (connection as unknown as { protocol: { transport: { socket: import('node:net').Socket } } })
    .protocol.transport.socket;
  const other = await connect({ servers: cluster.urls });
  other.subscribe('burst', { callback: (_error, msg) => void msg.respond('') });
  await other.flush();
  let writes = 0;
  const write = socket.write;
  socket.write = ((...args: Parameters<typeof write>) => {
    writes++;
    return write.apply(socket, args);
  }) as typeof write;
  const answers: Promise<unknown>[] = [];
  // A microtask between two publishes, as between two messages of uWebSockets.js.
  for (let n = 0; n < 100; n++) {
    answers.push(ask('burst'));
    await Promise.resolve();
  }
  await Promise.all(answers);
  socket.write = write;
  assert.equal(writes, 1);
  await other.close();
});

test('a stream acknowledges through it', async () => {
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: 'acks', subjects: ['acked'] });
  const answer = await ask('acked', 'x');
  assert.deepEqual(typeof answer === 'string' ? answer : answer.json(), { stream: 'acks', seq: 1 });
});
