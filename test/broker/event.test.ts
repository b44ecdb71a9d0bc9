import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { RoomEvent } from '../../src/broker/event.ts';
import { roomRef } from '../support/rooms.ts';
import { SimNode } from '../support/sim.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

function heapUsed(): number {
  gc();
  gc();
  const { heapUsed: heap, external } = process.memoryUsage();
  return heap + external;
}

/** Bytes per event of what `make` gives, kept: the middle of three, since the heap has other tenants. */
function cost(make: (n: number) => RoomEvent, count: number): { measured: number; charged: number } {
  const runs = [0, 1, 2].map(() => keep(make, count)).sort((a, b) => a.measured - b.measured);
  return runs[1] as (typeof runs)[0];
}

/** In a function of its own, so that nothing of one run is alive in the next. */
function keep(make: (n: number) => RoomEvent, count: number): { measured: number; charged: number } {
  const before = heapUsed();
  const events = Array.from({ length: count }, (_, n) => make(n));
  const measured = (heapUsed() - before) / count;
  return { measured, charged: events.reduce((sum, event) => sum + event.bytes, 0) / count };
}

/** As the decoder hands a payload over: a slice of the text of a frame, here of a batch of other publishes. */
function payloadIn(batch: number, text: string): string {
  const bytes = Buffer.from(`[{"payload":${text}},"${'y'.repeat(batch)}"]`);
  const frame = new TextDecoder().decode(bytes);
  return frame.slice(frame.indexOf(':') + 1, frame.indexOf('}'));
}

function eventOf(payload: string, seq = 1): RoomEvent {
  return new RoomEvent({
    room: 'chat:general',
    payload,
    seq,
    prev: seq - 1,
    ts: 1_760_000_000_000,
    from: 'ann',
  });
}

test('an event keeps its own text alone, not the frame that it came in', () => {
  const { measured } = cost((n) => eventOf(payloadIn(50_000, `"${'x'.repeat(100)}"`), n), 500);
  assert.ok(measured < 1000, `${measured} bytes per event of 100 out of a frame of 50,000`);
});

test('bytes are what an event costs in memory', () => {
  for (const text of ['x'.repeat(300), '好'.repeat(300)]) {
    const plain = cost((n) => eventOf(payloadIn(10, `"${text}"`), n), 4000);
    const ratio = plain.charged / plain.measured;
    assert.ok(
      ratio > 0.8 && ratio < 1.25,
      `${text.length} characters: ${plain.charged} for ${plain.measured}`,
    );
  }
  const packed = cost((n) => {
    const event = eventOf(payloadIn(10, `[${'0.5,'.repeat(300)}1]`), n);
    event.msgpack;
    return event;
  }, 4000);
  const ratio = packed.charged / packed.measured;
  assert.ok(ratio > 0.8 && ratio < 1.25, `with MessagePack: ${packed.charged} for ${packed.measured}`);
});

test('size is the length of the frame on the wire', () => {
  for (const text of ['"x"', '"é"', '"好🙂"'])
    assert.equal(eventOf(text).size, Buffer.from(eventOf(text).json).byteLength);
});

test('ids of any characters stand in the frame as JSON has them', () => {
  const unit = fc.constantFrom('a', '"', '\\', '\n', '\u0000', '\u007f', '\u2028', 'é', '好', '🙂', '\ud800');
  const text = fc.string({ unit, maxLength: 8 });
  fc.assert(
    fc.property(text, text, text, (from, msgId, key) => {
      const fields = { room: 'r', payload: '1', seq: 2, prev: 1, ts: 3, from, msgId, key };
      const { json } = new RoomEvent(fields);
      assert.deepEqual(JSON.parse(json), { type: 'event', ...fields, payload: 1 });
      assert.ok(json.includes(`"from":${JSON.stringify(from)},`));
    }),
    { numRuns: 100 },
  );
});

test('its keeper is told of the MessagePack form once, by the bytes that it adds', () => {
  const event = eventOf('"x"');
  const told: number[] = [];
  event.keeper = { grew: (bytes) => told.push(bytes) };
  const before = event.bytes;
  event.msgpack;
  event.msgpack;
  assert.deepEqual(told, [event.bytes - before]);
});

test('an event that has gone out does not keep the session of its publisher alive', () => {
  const node = new SimNode();
  const [ann, bob] = [node.connect('ann'), node.connect('bob')];
  for (const socket of [ann, bob]) socket.write({ type: 'join', room: 'r' });
  node.settle();
  for (const payload of [1, 2])
    ann.write({ type: 'pub', room: 'r', payload, echo: false, msgId: `m${payload}` });
  node.settle();
  node.bus.history(roomRef('r'), { limit: 10, maxBytes: 10_000 }, (page) => {
    assert.ok(page.ok);
    assert.deepEqual(
      page.events.map((event) => [event.payload, event.skip]),
      [
        ['1', undefined],
        ['2', undefined],
      ],
    );
  });
});
