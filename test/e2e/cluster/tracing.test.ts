/** Clause 3.9.7: a publish is followed from the node that takes it to those that deliver it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { type Collector, startCollector } from '../../support/collector.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { Client, type Encoding } from '../conformance/client.ts';

const PARENT = '00f067aa0ba902b7';
const PUBLISH = 4;
const DELIVER = 5;

describe('the traces of two brokers', () => {
  const clients: Client[] = [];
  const brokers: RunningBroker[] = [];
  let nats: NatsCluster;
  let collector: Collector;
  let count = 0;

  before(async () => {
    [nats, collector] = await Promise.all([NatsCluster.start(1), startCollector()]);
    const start = (serverId: string) =>
      startBroker({
        config: {
          node: { serverId },
          nats: { url: nats.urls, shards: 2, streamBytes: '64MiB' },
          tracing: { endpoint: collector.endpoint, sample: 0, exportMs: '100ms' },
        },
      });
    brokers.push(...(await Promise.all(['pod-1', 'pod-2'].map(start))));
  });

  after(async () => {
    for (const { socket } of clients) socket.terminate();
    await Promise.all(brokers.map((broker) => broker.stop()));
    await Promise.all([nats?.close(), collector?.close()]);
  });

  async function client(pod: number, sub: string, encoding?: Encoding): Promise<Client> {
    const broker = brokers[pod] as RunningBroker;
    const made = await Client.connect(broker.url, { token: await broker.token({ sub }) }, encoding);
    clients.push(made);
    return made;
  }

  /** A trace of its own. */
  function traced(flags = '01'): { readonly id: string; readonly traceparent: string } {
    const id = (++count).toString(16).padStart(32, 'a');
    return { id, traceparent: `00-${id}-${PARENT}-${flags}` };
  }

  const durable = { type: 'pub', room: 'r' } as const;
  const kinds: readonly [
    string,
    { readonly type: 'pub'; readonly room: string; readonly ephemeral?: true },
  ][] = [
    ['durable', durable],
    ['live', { type: 'pub', room: 'live:r' }],
    ['ephemeral', { ...durable, room: 'e', ephemeral: true }],
  ];

  for (const [kind, frame] of kinds) {
    test(`C3.9.7 ${kind}: the publish follows the publisher, both deliveries follow the publish`, async () => {
      const { id, traceparent } = traced();
      const readers = await Promise.all([client(0, 'ann'), client(1, 'bob'), client(1, 'cat', 'msgpack')]);
      for (const reader of readers) await reader.join(frame.room);
      await (readers[0] as Client).ask({ ...frame, payload: 1, traceparent, id: 1 }, 'ack');
      const spans = await collector.trace(id, 3);
      const [publish] = spans.filter(({ name }) => name === 'publish');
      assert.equal(publish?.kind, PUBLISH);
      assert.equal(publish?.parentSpanId, PARENT);
      assert.equal(publish?.node, 'pod-1');
      const deliveries = spans.filter(({ name }) => name === 'deliver');
      assert.deepEqual(
        deliveries.map(({ node, parentSpanId, kind, attributes }) => [
          node,
          parentSpanId,
          kind,
          attributes['carillon.receivers'],
        ]),
        deliveries.map(({ node }) => [node, publish?.spanId, DELIVER, node === 'pod-1' ? 1 : 2]),
      );
      assert.deepEqual(deliveries.map(({ node }) => node).sort(), ['pod-1', 'pod-2']);
      for (const reader of readers) {
        const event = (await reader.until('event')).at(-1);
        assert.equal(event?.traceparent, `00-${id}-${publish?.spanId}-01`);
      }
    });
  }

  test('C3.9.7 it is told by replays and history, and by the server API out of its header', async () => {
    const { id, traceparent } = traced();
    const [broker] = brokers as [RunningBroker];
    const answer = await fetch(`${broker.httpUrl}/api/v1/publish`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await broker.token({ scope: 'api' })}`, traceparent },
      body: JSON.stringify({ room: 'kept', payload: 1 }),
    });
    assert.equal(answer.status, 200);
    const [publish] = await collector.trace(id, 1);
    assert.equal(publish?.parentSpanId, PARENT);
    const onward = `00-${id}-${publish?.spanId}-01`;
    const reader = await client(1, 'dan');
    await reader.join('kept', { since: { last: 1 } });
    assert.equal((await reader.expect('event', { payload: 1 })).traceparent, onward);
    const page = await reader.ask({ type: 'history', room: 'kept', id: 'h' }, 'history');
    assert.equal(page.events[0]?.traceparent, onward);
  });

  test('C3.9.7 one that is not sampled goes on as it came; one that is none is refused', async () => {
    const { id, traceparent } = traced('00');
    const reader = await client(1, 'eve');
    await reader.join('r');
    const sender = await client(0, 'fay');
    await sender.ask({ ...durable, payload: 2, traceparent, id: 1 }, 'ack');
    assert.equal((await reader.until('event')).at(-1)?.traceparent, traceparent);
    const none = `00-${'0'.repeat(32)}-${PARENT}-01`;
    for (const wrong of ['', 7, `${traceparent}0`, traceparent.toUpperCase(), none])
      await sender.refused({ ...durable, payload: 3, traceparent: wrong, id: 2 }, 'bad_frame');
    await sender.ask({ ...durable, payload: 4, id: 3 }, 'ack');
    assert.equal((await reader.until('event')).at(-1)?.traceparent, undefined);
    assert.ok(collector.spans.every((span) => span.traceId !== id));
  });
});
