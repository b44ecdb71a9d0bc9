/** Which publishes are followed, what their spans say, and what becomes of them; against a real OTLP receiver. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RoomEvent } from '../../src/broker/event.ts';
import type { Accepted, Fault } from '../../src/broker/ports.ts';
import type { TracingSettings } from '../../src/broker/tracing.ts';
import type { SpanCounts } from '../../src/ops/spans.ts';
import { OtlpTracing } from '../../src/ops/tracing.ts';
import { type Collector, startCollector } from '../support/collector.ts';
import { QUIET } from '../support/log.ts';
import { roomRef } from '../support/rooms.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SAMPLED = `00-${TRACE}-00f067aa0ba902b7-01`;
const TAKEN: Accepted = { ok: true, epoch: 'e', seq: 7, duplicate: false };

interface Subject {
  readonly tracing: OtlpTracing;
  readonly counts: SpanCounts;
  at: number;
  chance: number;
}

function subject(endpoint: string, settings: Partial<TracingSettings> = {}): Subject {
  const counts = { ended: 0, exported: 0, failed: 0, limited: 0 };
  const made = { counts, at: 0, chance: 0 } as Subject;
  const defaults = { sample: 0, perSecond: 1000, queue: 512, exportMs: 100, timeoutMs: 500 };
  const tracing = new OtlpTracing({
    settings: { endpoint, ...defaults, ...settings },
    serverId: 'n1',
    version: '1.2.3',
    log: QUIET,
    counts,
    nowMs: () => made.at,
    random: () => made.chance,
  });
  return Object.assign(made, { tracing });
}

async function withCollector(body: (collector: Collector) => Promise<void>, status?: number): Promise<void> {
  const collector = await startCollector(status);
  try {
    await body(collector);
  } finally {
    await collector.close();
  }
}

function publish({ tracing }: Subject, traceparent?: string, outcome: Accepted | Fault = TAKEN) {
  const span = tracing.publish(roomRef('r'), '"é"', traceparent);
  span?.end(outcome);
  return span?.traceparent;
}

test('a sampled traceparent is followed whatever the sample; any other never is', () =>
  withCollector(async ({ endpoint, spans, authorizations }) => {
    const node = subject(endpoint, { authorization: 'Bearer collect' });
    const onward = publish(node, SAMPLED);
    assert.equal(publish(node, SAMPLED.replace(/01$/, '00')), undefined);
    assert.equal(publish(node, SAMPLED.replace(/01$/, 'fe')), undefined);
    assert.equal(publish(node), undefined);
    await node.tracing.close();
    assert.equal(spans.length, 1);
    const [span] = spans;
    assert.equal(onward, `00-${TRACE}-${span?.spanId}-01`);
    assert.equal(span?.parentSpanId, '00f067aa0ba902b7');
    assert.equal(span?.node, 'n1');
    assert.deepEqual(
      { ...span?.attributes },
      {
        'messaging.system': 'carillon',
        'messaging.operation.name': 'publish',
        'messaging.destination.name': 'r',
        'carillon.tenant': 'default',
        'messaging.message.body.size': 4,
        'carillon.seq': 7,
      },
    );
    assert.deepEqual([...authorizations], ['Bearer collect']);
    assert.deepEqual(node.counts, { ended: 1, exported: 1, failed: 0, limited: 0 });
  }));

test('of the publishes without one the sample is followed', () =>
  withCollector(async ({ endpoint, spans }) => {
    const node = subject(endpoint, { sample: 0.25 });
    node.chance = 0.25;
    assert.equal(publish(node), undefined);
    node.chance = 0.249;
    assert.match(publish(node) ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    await node.tracing.close();
    assert.deepEqual(
      spans.map(({ parentSpanId }) => parentSpanId),
      [''],
    );
  }));

test('no more spans begin in a second than perSecond, and those left out are counted', () =>
  withCollector(async ({ endpoint, spans }) => {
    const node = subject(endpoint, { perSecond: 3 });
    for (let at = 0; at < 5; at++) publish(node, SAMPLED);
    node.at = 1000;
    publish(node, SAMPLED);
    await node.tracing.close();
    assert.equal(spans.length, 4);
    assert.equal(node.counts.limited, 2);
  }));

test('a refused publish is an error with its code', () =>
  withCollector(async ({ endpoint, spans }) => {
    const node = subject(endpoint);
    publish(node, SAMPLED, { ok: false, code: 'unavailable', reason: 'NATS is away' });
    await node.tracing.close();
    assert.equal(spans[0]?.status, 2);
    assert.equal(spans[0]?.attributes['error.type'], 'unavailable');
  }));

test('a delivery ends once, and what never arrived or has no traceparent makes none', () =>
  withCollector(async ({ endpoint, spans }) => {
    const node = subject(endpoint);
    const fields = { room: 'r', payload: '1', seq: 3, prev: 2, ts: 1, from: 'ann' };
    const event = new RoomEvent({ ...fields, traceparent: SAMPLED });
    node.tracing.arrived(roomRef('r'), event);
    assert.equal(node.tracing.arriving, 1);
    for (const each of [event, event, new RoomEvent(fields)]) node.tracing.delivered(each, 5);
    assert.equal(node.tracing.arriving, 0);
    await node.tracing.close();
    assert.deepEqual(
      spans.map(({ name, attributes }) => [
        name,
        attributes['carillon.seq'],
        attributes['carillon.receivers'],
      ]),
      [['deliver', 3, 5]],
    );
  }));

test('a collector that refuses costs spans, which are counted, and holds nobody up', () =>
  withCollector(async ({ endpoint }) => {
    const node = subject(endpoint);
    publish(node, SAMPLED);
    const start = performance.now();
    await node.tracing.close();
    assert.ok(performance.now() - start < 4000);
    assert.deepEqual(node.counts, { ended: 1, exported: 0, failed: 1, limited: 0 });
  }, 400));
