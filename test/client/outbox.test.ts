import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CarillonError } from '../../src/client/errors.ts';
import { Outbox, type OutboxLimits } from '../../src/client/outbox.ts';
import type { AckFrame, PubFrame } from '../../src/protocol/frames.ts';

/** An outbox, the wire that it writes to, and how each publish ended. */
class Bench {
  readonly outbox: Outbox;
  readonly wire: string[] = [];
  readonly taken: string[] = [];
  readonly ended = new Map<string, string>();
  maxFrame = 1000;

  constructor(limits: Partial<OutboxLimits> = {}) {
    this.outbox = new Outbox({ queue: 100, inFlight: 100, inFlightBytes: 10_000, ...limits });
  }

  add(msgId: string, payload: unknown = 1, deadline = 1000): CarillonError | undefined {
    const end = (how: string) => {
      assert.ok(!this.ended.has(msgId), `${msgId} ended twice`);
      this.ended.set(msgId, how);
    };
    return this.outbox.add(
      { type: 'pub', room: 'r', payload, msgId },
      deadline,
      () => end('acked'),
      (error) => end(error.code),
    );
  }

  pump(now = 0): string[] {
    const before = this.wire.length;
    const outlet = {
      maxFrame: this.maxFrame,
      encode: (frame: PubFrame) => {
        const data = JSON.stringify(frame);
        return { data, bytes: data.length };
      },
      send: (data: string | Uint8Array) => this.wire.push((JSON.parse(String(data)) as PubFrame).msgId ?? ''),
    };
    this.outbox.pump(outlet, now);
    return this.wire.slice(before);
  }

  ack(msgId: string): void {
    this.outbox.acked({ type: 'ack', room: 'r', msgId } satisfies AckFrame);
  }

  fail(msgId: string, code: 'rate_limited' | 'forbidden' | 'quota_exceeded', retryAfterMs?: number, now = 0) {
    return this.outbox.failed(msgId, new CarillonError(code, '', { retry: true, retryAfterMs }), now);
  }
}

test('sent in order, settled by the ack, once', () => {
  const bench = new Bench();
  for (const id of ['a', 'b', 'c']) bench.add(id);
  assert.deepEqual(bench.pump(), ['a', 'b', 'c']);
  assert.deepEqual(bench.pump(), []);
  bench.ack('b');
  bench.ack('b');
  assert.deepEqual([...bench.ended], [['b', 'acked']]);
  assert.equal(bench.outbox.size, 2);
});

test('after a loss all that has no ack goes out again, in order, with the same ids', () => {
  const bench = new Bench();
  for (const id of ['a', 'b', 'c']) bench.add(id);
  bench.pump();
  bench.ack('a');
  bench.outbox.detached();
  bench.add('d');
  assert.deepEqual(bench.pump(), ['b', 'c', 'd']);
});

test('the queue is bounded by a typed rejection, and a msgId is under way once', () => {
  const bench = new Bench({ queue: 2 });
  assert.equal(bench.add('a'), undefined);
  assert.equal(bench.add('a')?.code, 'bad_frame');
  assert.equal(bench.add('b'), undefined);
  const refused = bench.add('c');
  assert.equal(refused?.code, 'queue_full');
  assert.equal(refused?.retry, true);
  bench.pump();
  bench.ack('a');
  assert.equal(bench.add('c'), undefined);
});

test('the window bounds what is on its way, by messages and by bytes', () => {
  const bench = new Bench({ inFlight: 2, inFlightBytes: 200 });
  for (const id of ['a', 'b', 'c']) bench.add(id);
  assert.deepEqual(bench.pump(), ['a', 'b']);
  bench.ack('a');
  assert.deepEqual(bench.pump(), ['c']);
  bench.ack('b');
  bench.ack('c');
  bench.add('big', 'x'.repeat(300));
  bench.add('next');
  assert.deepEqual(bench.pump(), ['big'], 'alone, a message over the window still goes');
  bench.ack('big');
  assert.deepEqual(bench.pump(), ['next']);
});

test('a refusal that passes is waited out, then sent again in its old place', () => {
  const bench = new Bench({ inFlight: 2 });
  for (const id of ['a', 'b', 'c']) bench.add(id);
  bench.pump();
  assert.equal(bench.fail('a', 'rate_limited', 300), true);
  assert.deepEqual(bench.pump(299), []);
  assert.deepEqual(bench.pump(300), ['a']);
  bench.ack('a');
  assert.deepEqual(bench.pump(300), ['c']);
});

test('a refusal that stays, or that passes after the deadline only, rejects', () => {
  const bench = new Bench();
  for (const id of ['a', 'b', 'c']) bench.add(id);
  bench.pump();
  bench.fail('a', 'forbidden');
  bench.fail('b', 'rate_limited', 5000);
  bench.fail('c', 'quota_exceeded', 10);
  assert.deepEqual(Object.fromEntries(bench.ended), {
    a: 'forbidden',
    b: 'rate_limited',
    c: 'quota_exceeded',
  });
  assert.equal(bench.fail('a', 'forbidden'), false, 'not ours any more');
});

test('deadlines reject what waits and what is on its way', () => {
  const bench = new Bench({ inFlight: 1 });
  bench.add('a', 1, 50);
  bench.add('b', 1, 50);
  bench.add('c', 1, 90);
  bench.pump();
  bench.outbox.expire(49);
  assert.equal(bench.ended.size, 0);
  bench.outbox.expire(50);
  assert.deepEqual(Object.fromEntries(bench.ended), { a: 'timeout', b: 'timeout' });
  assert.deepEqual(bench.pump(60), ['c'], 'its place in the window is free');
});

test('what cannot be encoded or is over maxFrame is refused here and holds nothing up', () => {
  const bench = new Bench();
  bench.add('cycle', 1n);
  bench.add('huge', 'x'.repeat(2000));
  bench.add('fine');
  assert.deepEqual(bench.pump(), ['fine']);
  assert.deepEqual(Object.fromEntries(bench.ended), { cycle: 'bad_frame', huge: 'frame_too_large' });
});

interface Step {
  readonly op: 'add' | 'pump' | 'cut' | 'expire' | 'ack' | 'deny' | 'limit';
  readonly which: number;
}

/** One step of a run; answers come only to what is on the wire and unsettled. */
function run(bench: Bench, { op, which }: Step, at: number): void {
  const now = at * 10;
  const id = `m${which}`;
  const answerable = bench.wire.includes(id) && !bench.ended.has(id);
  const steps: Record<Step['op'], () => void> = {
    add: () => {
      if (bench.add(`m${at}`, 1, now + 300) === undefined) bench.taken.push(`m${at}`);
    },
    pump: () => void bench.pump(now),
    cut: () => bench.outbox.detached(),
    expire: () => bench.outbox.expire(now),
    ack: () => answerable && bench.ack(id),
    deny: () => answerable && void bench.fail(id, 'forbidden', undefined, now),
    limit: () => answerable && void bench.fail(id, 'rate_limited', 20, now),
  };
  steps[op]();
}

test('whatever happens: each publish ends once, and what is unsettled goes out in order after a loss', () => {
  const op = fc.constantFrom<Step['op'][]>(
    'add',
    'add',
    'pump',
    'cut',
    'expire',
    'ack',
    'ack',
    'deny',
    'limit',
  );
  const steps = fc.array(fc.record({ op, which: fc.nat(60) }), { maxLength: 60 });
  const property = fc.property(steps, fc.integer({ min: 1, max: 4 }), (ops, inFlight) => {
    const bench = new Bench({ inFlight, queue: 15 });
    for (const [at, step] of ops.entries()) run(bench, step, at);
    bench.outbox.detached();
    const resent: string[] = [];
    for (let round = 0; bench.outbox.size > 0 && round < 50; round++) {
      const out = bench.pump();
      resent.push(...out);
      for (const id of out) bench.ack(id);
    }
    const numbers = resent.map((id) => Number(id.slice(1)));
    assert.deepEqual(
      numbers,
      [...numbers].sort((a, b) => a - b),
    );
    assert.deepEqual([...bench.ended.keys()].sort(), [...bench.taken].sort());
    for (const id of resent) assert.equal(bench.ended.get(id), 'acked');
  });
  fc.assert(property, { numRuns: 1000 });
});
