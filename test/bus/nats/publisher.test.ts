import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Fault } from '../../../src/broker/ports.ts';
import { type Attempt, type Outgoing, Publisher, type Stored } from '../../../src/bus/nats/publisher.ts';
import { HandTime } from '../../support/nats/time.ts';

/** A store that answers when the test says so. */
class Desk {
  readonly time = new HandTime();
  readonly tried: string[] = [];
  readonly outcomes = new Map<string, Stored | Fault>();
  readonly gates: string[] = [];
  readonly #open = new Map<string, (attempt: Attempt) => void>();
  readonly publisher: Publisher;
  #seq = 0;

  constructor(limits = { window: 4, queue: 10, queueBytes: 10_000 }) {
    this.publisher = new Publisher(
      2,
      limits,
      (outgoing, answered) => {
        this.tried.push(outgoing.payload);
        this.#open.set(outgoing.payload, answered);
      },
      {
        closed: (shard, why) => this.gates.push(`${shard} closed: ${why}`),
        opened: (shard) => this.gates.push(`${shard} opened`),
      },
      this.time.env,
    );
  }

  get inflight(): string[] {
    return [...this.#open.keys()];
  }

  publish(names: string, shard = 0): void {
    for (const payload of names.split(' ')) {
      const outgoing: Outgoing = {
        shard,
        subject: 's',
        payload,
        headers: new Uint8Array(10),
        until: this.time.time + 15_000,
        done: (outcome) => this.outcomes.set(payload, outcome),
      };
      this.publisher.publish(outgoing);
    }
  }

  answer(names: string, attempt?: Attempt): void {
    for (const name of names.split(' ')) {
      const answered = this.#open.get(name);
      assert.ok(answered, `${name} is not in flight`);
      this.#open.delete(name);
      answered(attempt ?? { ok: true, seq: ++this.#seq, duplicate: false });
    }
  }
}

test('as many as the window in flight, the others wait in order', () => {
  const desk = new Desk();
  desk.publish('a b c d e f');
  assert.deepEqual(desk.inflight, ['a', 'b', 'c', 'd']);
  desk.answer('b');
  assert.deepEqual(desk.inflight, ['a', 'c', 'd', 'e']);
  desk.publish('x', 1);
  assert.ok(desk.inflight.includes('x'), 'the other stream has its own window');
  assert.deepEqual(desk.publisher.lanes, [
    { unanswered: 5, until: 15_000 },
    { unanswered: 1, until: undefined },
  ]);
  desk.answer('a c d e f');
  assert.equal(desk.outcomes.size, 6);
  assert.equal(desk.publisher.queued, 0);
  assert.equal(desk.publisher.queuedBytes, 0);
});

test('after a failure nothing overtakes: all in flight are answered first, then the oldest is tried alone', () => {
  const desk = new Desk();
  desk.publish('a b c');
  desk.answer('b', 'nobody');
  desk.publish('d');
  assert.deepEqual(desk.inflight, ['a', 'c']);
  desk.answer('c', 'timeout');
  desk.answer('a', 'nobody');
  assert.deepEqual(desk.gates, ['0 closed: nobody']);
  assert.deepEqual(desk.inflight, [], 'a pause before the next attempt');
  desk.time.advance(1000);
  assert.deepEqual(desk.inflight, ['a'], 'one at a time');
  desk.answer('a', 'nobody');
  desk.time.advance(2000);
  desk.answer('a');
  assert.deepEqual(desk.inflight, ['b', 'c', 'd'], 'in the order they were published');
  assert.deepEqual(desk.gates, ['0 closed: nobody', '0 opened']);
  desk.answer('b c d');
  assert.deepEqual(desk.tried, ['a', 'b', 'c', 'a', 'a', 'b', 'c', 'd']);
});

test('a lost ack alone costs one repetition', () => {
  const desk = new Desk();
  desk.publish('a b');
  desk.answer('a', 'timeout');
  desk.answer('b');
  assert.deepEqual(desk.inflight, ['a']);
  desk.answer('a', { ok: true, seq: 1, duplicate: true });
  assert.deepEqual(desk.outcomes.get('a'), { ok: true, seq: 1, duplicate: true });
});

test('attempts grow rarer while the stream is down: an election costs a handful, not thousands', () => {
  const desk = new Desk();
  desk.publish('a b c d');
  desk.answer('a b c d', 'nobody');
  let attempts = 0;
  for (let ms = 0; ms < 6000; ms += 10) {
    desk.time.advance(10);
    if (desk.inflight.length === 0) continue;
    attempts++;
    desk.answer(desk.inflight[0] as string, 'nobody');
  }
  assert.ok(attempts >= 6 && attempts <= 20, `${attempts}`);
});

test('a kick ends the pause: a leader has been elected', () => {
  const desk = new Desk();
  desk.publish('a');
  for (let n = 0; n < 8; n++) {
    desk.answer('a', 'nobody');
    desk.time.advance(1000);
  }
  desk.answer('a', 'nobody');
  assert.deepEqual(desk.inflight, []);
  desk.publisher.kick(0);
  assert.deepEqual(desk.inflight, ['a']);
});

test('a full queue is overload while the stream takes publishes, and unavailable while it does not', () => {
  const desk = new Desk({ window: 1, queue: 2, queueBytes: 10_000 });
  desk.publish('a b c d');
  assert.deepEqual([...desk.outcomes.keys()], ['d']);
  assert.deepEqual(pick(desk.outcomes.get('d')), ['overloaded', 1000]);
  desk.answer('a', 'nobody');
  desk.publish('e');
  assert.deepEqual(pick(desk.outcomes.get('e')), ['unavailable', 2000]);
});

test('bytes count as well', () => {
  const desk = new Desk({ window: 1, queue: 100, queueBytes: 25 });
  desk.publish('a b c d');
  assert.deepEqual(pick(desk.outcomes.get('d')), ['overloaded', 1000]);
  assert.equal(desk.publisher.queuedBytes, 22);
});

test('what has waited too long is given up as unavailable, its outcome unknown', () => {
  const desk = new Desk({ window: 1, queue: 10, queueBytes: 10_000 });
  desk.publish('a b');
  desk.answer('a', 'lost');
  desk.time.advance(10_000);
  desk.publisher.sweep();
  assert.equal(desk.outcomes.size, 0);
  desk.answer('a', 'lost');
  desk.time.advance(5001);
  desk.publisher.sweep();
  desk.answer('a', 'lost');
  assert.deepEqual(pick(desk.outcomes.get('a')), ['unavailable', 2000]);
  assert.deepEqual(pick(desk.outcomes.get('b')), ['unavailable', 2000]);
  assert.ok(desk.publisher.idle);
});

test('a refusal is final, and says that the stream is there', () => {
  const desk = new Desk();
  desk.publish('a b');
  const fault: Fault = { ok: false, code: 'payload_too_large', reason: 'r' };
  desk.answer('a', fault);
  desk.answer('b');
  assert.equal(desk.outcomes.get('a'), fault);
  assert.deepEqual(desk.gates, []);
});

function pick(outcome: Stored | Fault | undefined): unknown[] {
  return outcome?.ok === false ? [outcome.code, outcome.retryAfterMs] : ['no fault'];
}
