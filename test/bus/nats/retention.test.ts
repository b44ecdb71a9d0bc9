/** What a stream may have dropped of a room: against a model of a stream, and against the server itself. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { jetstreamManager } from '@nats-io/jetstream';
import { nanos } from '@nats-io/nats-core';
import { connect } from '@nats-io/transport-node';
import fc from 'fast-check';
import { droppedUpTo, isBeyond, isForeign } from '../../../src/bus/nats/retention.ts';
import { newPrefix } from '../../support/nats/bus.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';

interface Limits {
  /** 0: none. */
  readonly perSubject: number;
  /** Messages, 0: none. */
  readonly size: number;
  /** Ticks, 0: none. */
  readonly age: number;
}

/** A stream that drops old messages. */
class ModelStream {
  #limits: Limits;
  grownAt = 0;
  #kept: { readonly seq: number; readonly room: string; readonly at: number }[] = [];
  #now = 0;
  last = 0;
  readonly all: { readonly seq: number; readonly room: string }[] = [];

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  publish(room: string): void {
    const message = { seq: ++this.last, room, at: this.#now };
    this.all.push(message);
    this.#kept.push(message);
    const { perSubject, size } = this.#limits;
    const own = this.of(room);
    if (perSubject > 0 && own.length > perSubject) this.#keep(({ seq }) => seq !== own[0]);
    if (size > 0 && this.#kept.length > size) this.#kept.shift();
  }

  tick(): void {
    this.#now++;
    const { age } = this.#limits;
    if (age > 0) this.#keep(({ at }) => at + age >= this.#now);
  }

  purge(): void {
    this.#kept.splice(0, 3);
  }

  /** The limit per subject is raised. */
  grow(): void {
    const { perSubject } = this.#limits;
    if (perSubject === 0) return;
    this.#limits = { ...this.#limits, perSubject: perSubject + 2 };
    this.grownAt = this.last;
  }

  get perSubject(): number {
    return this.#limits.perSubject;
  }

  /** Of one room, by hand. */
  purgeRoom(room: string, keep: number): void {
    const own = this.of(room);
    const gone = new Set(own.slice(0, Math.max(0, own.length - keep)));
    this.#keep(({ seq }) => !gone.has(seq));
  }

  /** Empty places after the first one. */
  get deleted(): number {
    return this.last - this.firstSeq + 1 - this.#kept.length;
  }

  get firstSeq(): number {
    return this.#kept[0]?.seq ?? this.last + 1;
  }

  of(room: string): number[] {
    return this.#kept.filter((message) => message.room === room).map(({ seq }) => seq);
  }

  #keep(wanted: (message: { seq: number; at: number }) => boolean): void {
    this.#kept = this.#kept.filter(wanted);
  }
}

const limits = fc.record({
  perSubject: fc.integer({ min: 0, max: 5 }),
  size: fc.constantFrom(0, 4, 9, 15),
  age: fc.constantFrom(0, 2, 5),
});
const step = fc.constantFrom('a', 'a', 'a', 'b', 'b', 'tick', 'purge');
const operated = fc.oneof({ weight: 12, arbitrary: step }, { weight: 1, arbitrary: fc.constant('grow') });
const hostile = fc.oneof({ weight: 6, arbitrary: step }, { weight: 1, arbitrary: fc.constant('purge room') });

function play(stream: ModelStream, what: string): void {
  if (what === 'tick') stream.tick();
  else if (what === 'purge') stream.purge();
  else if (what === 'grow') stream.grow();
  else if (what === 'purge room') stream.purgeRoom('a', stream.last % 3);
  else stream.publish(what);
}

/** The events of room `a` in (from, to], one message after the other, as a server reads them; things happen between. */
function readMeanwhile(stream: ModelStream, from: number, to: number, during: readonly string[][]): number[] {
  const read: number[] = [];
  const next = () => stream.of('a').find((seq) => seq > (read.at(-1) ?? from) && seq <= to);
  for (const meanwhile of during) {
    const seq = next();
    if (seq !== undefined) read.push(seq);
    for (const what of meanwhile) play(stream, what);
  }
  fc.pre(next() === undefined);
  return read;
}

/** `counts`: whether the limit per subject is asked, which says nothing where somebody purges one room. */
function isWhole(steps: fc.Arbitrary<string>, counts: boolean): void {
  const before = fc.array(steps, { maxLength: 25 });
  const during = fc.array(fc.array(steps, { maxLength: 4 }), { minLength: 1, maxLength: 30 });
  const property = fc.property(limits, before, during, fc.nat(), (bounds, earlier, meanwhile, place) => {
    const stream = new ModelStream(bounds);
    for (const what of earlier) play(stream, what);
    const to = stream.last;
    const from = place % (to + 1);
    const read = readMeanwhile(stream, from, to, meanwhile);
    const own = stream.of('a');
    const atMost = counts ? own.length : Number.POSITIVE_INFINITY;
    // The questions come one after the other.
    for (const what of meanwhile[0] ?? []) play(stream, what);
    const { firstSeq, deleted, last, grownAt } = stream;
    const perSubject = counts ? stream.perSubject : 1;
    const seen = counts ? read.length + last - to : atMost;
    const missing = stream.all
      .filter(({ seq, room }) => room === 'a' && seq > from && seq <= to && !read.includes(seq))
      .map(({ seq }) => seq);
    for (const remains of [
      { firstSeq, deleted, perSubject, grownAt, atMost: seen },
      { firstSeq, deleted, perSubject, grownAt, atMost, oldest: own[0] ?? 0 },
    ])
      assert.ok(Math.max(0, ...missing) <= droppedUpTo(remains), `${missing}: ${droppedUpTo(remains)}`);
  });
  fc.assert(property, { numRuns: 5000 });
}

test('a read of a room is whole but for what is said to be lost, whatever happens while it is read', () => {
  isWhole(operated, true);
});

test('the same where somebody purges the room, as far as the limit per subject is not asked', () => {
  isWhole(hostile, false);
});

test('a stream that has no empty place behind its first one has dropped nothing but its front', () => {
  const remains = { firstSeq: 3, deleted: 0, perSubject: 5, grownAt: 0, atMost: 5, oldest: 9, absent: 7 };
  assert.equal(droppedUpTo(remains), 2);
  assert.equal(droppedUpTo({ ...remains, deleted: 1 }), 8);
});

test('an event that should be behind the first place and is not: the room was purged by itself', () => {
  const remains = { firstSeq: 3, deleted: 9, perSubject: 5, grownAt: 0, atMost: 2, oldest: 20, absent: 10 };
  assert.equal(droppedUpTo(remains), 19);
  assert.equal(droppedUpTo({ ...remains, absent: 2 }), 2, 'it has grown too old');
  assert.equal(droppedUpTo({ ...remains, oldest: 0 }), Number.POSITIVE_INFINITY);
});

test('positions that a stream cannot have given out', () => {
  assert.deepEqual(
    [undefined, 8, 5].map((oldest) => isForeign(7, oldest)),
    [false, false, true],
  );
  assert.deepEqual([isBeyond(7, 5, 10), isBeyond(7, 0, 10), isBeyond(11, 0, 10)], [true, false, true]);
});

test('where nothing was dropped, nothing is said to be lost', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.nat(), (steps, place) => {
      const stream = new ModelStream({ perSubject: 5, size: 0, age: 0 });
      for (const what of steps) if (what === 'a' || what === 'b') play(stream, what);
      const own = stream.of('a');
      const whole = stream.all.filter(({ room }) => room === 'a').length === own.length;
      // Whose the places are that are gone nobody knows.
      fc.pre(whole && own.length > 0 && stream.firstSeq === 1);
      const from = place % (stream.last + 1);
      const dropped = droppedUpTo({
        firstSeq: stream.firstSeq,
        deleted: stream.deleted,
        grownAt: 0,
        perSubject: 5,
        atMost: own.length,
        oldest: own[0],
      });
      // With as many as the stream keeps, there may have been one before the oldest.
      assert.ok(dropped <= (own.length < 5 ? from : Math.max(from, (own[0] as number) - 1)));
    }),
  );
});

const cluster = await NatsCluster.start(1);
after(() => cluster.close());

type Manager = Awaited<ReturnType<typeof jetstreamManager>>;

/** Of the server: 22 bytes and 8 for each message without headers. */
const bytesOf = (stream: string, payload: number) => 30 + stream.length + 2 + payload;
const PAYLOAD = 50;

const ONE_BY_ONE = fc.sample(fc.array(hostile, { minLength: 60, maxLength: 60 }), { numRuns: 4, seed: 12 });

for (const [at, { perSubject, size }] of [
  { perSubject: 5, size: 0 },
  { perSubject: 0, size: 12 },
  { perSubject: 4, size: 15 },
  { perSubject: 2, size: 30 },
].entries())
  test(`the model is the server: ${perSubject} of a room, ${size} in all`, async (context) => {
    const connection = await connect({ servers: cluster.urls });
    context.after(() => connection.close());
    const manager = await jetstreamManager(connection);
    const name = newPrefix();
    const bounds = {
      ...(perSubject > 0 && { max_msgs_per_subject: perSubject }),
      ...(size > 0 && { max_bytes: size * bytesOf(name, PAYLOAD) }),
    };
    await manager.streams.add({ name, subjects: [`${name}.>`], storage: 'file', ...bounds } as never);
    const model = new ModelStream({ perSubject, size, age: 0 });
    for (const what of ONE_BY_ONE[at] as string[]) {
      if (what === 'tick') continue;
      if (what === 'purge') await manager.streams.purge(name, { seq: purgeTo(model) });
      else if (what === 'purge room')
        await manager.streams.purge(name, { filter: `${name}.a`, ...keeping(model.last % 3) });
      else await connection.request(`${name}.${what}`, 'x'.repeat(PAYLOAD));
      play(model, what);
      const { state } = await manager.streams.info(name, { subjects_filter: `${name}.a` });
      assert.deepEqual(
        {
          first: state.messages === 0 ? model.firstSeq : state.first_seq,
          last: state.last_seq,
          deleted: state.num_deleted ?? 0,
          own: state.subjects?.[`${name}.a`] ?? 0,
        },
        { first: model.firstSeq, last: model.last, deleted: model.deleted, own: model.of('a').length },
        what,
      );
    }
  });

/** The place of the fourth message, which is the first that a purge of three leaves. */
function purgeTo(model: ModelStream): number {
  const places = [...model.of('a'), ...model.of('b')].sort((one, other) => one - other);
  return places[3] ?? model.last + 1;
}

const keeping = (keep: number) => (keep === 0 ? {} : { keep });

for (const [kind, config] of Object.entries({
  count: { max_msgs_per_subject: 5 },
  size: { max_bytes: 4000 },
  both: { max_msgs_per_subject: 7, max_bytes: 3000 },
  age: { max_age: nanos(400), max_msgs_per_subject: 50 },
}))
  test(`what is said of a room of the server holds: ${kind}`, async (context) => {
    const connection = await connect({ servers: cluster.urls });
    context.after(() => connection.close());
    const manager = await jetstreamManager(connection);
    const name = newPrefix();
    await manager.streams.add({ name, subjects: [`${name}.>`], storage: 'file', ...config } as never);
    const published: number[] = [];
    for (let round = 0; round < 12; round++) {
      for (let n = 0; n < 10; n++) {
        const room = (n * 7 + round) % 3 === 0 ? 'a' : 'b';
        const ack = (await connection.request(`${name}.${room}`, 'x'.repeat(50))).json<{ seq: number }>();
        if (room === 'a') published.push(ack.seq);
      }
      if (kind === 'age') await new Promise((resolve) => setTimeout(resolve, 60));
      const { dropped, oldest } = await said(manager, name);
      const kept = await everyOf(manager, name);
      const gone = published.filter((seq) => seq > dropped && !kept.includes(seq));
      // Age takes some while this looks, the oldest first.
      for (const seq of gone) assert.ok(kind === 'age' && seq >= oldest, `${seq} is gone after ${dropped}`);
    }
  });

/** What is said of room `a`, by what the server says of it. */
async function said(manager: Manager, stream: string): Promise<{ dropped: number; oldest: number }> {
  // First: what goes by its age after this is later than it.
  const oldest = (await everyOf(manager, stream))[0] ?? 0;
  const subject = `${stream}.a`;
  const { state, config } = await manager.streams.info(stream, { subjects_filter: subject });
  const atMost = state.subjects?.[subject] ?? 0;
  const perSubject = config.max_msgs_per_subject;
  const { first_seq: firstSeq, num_deleted: deleted = 0 } = state;
  return { oldest, dropped: droppedUpTo({ firstSeq, deleted, perSubject, grownAt: 0, atMost, oldest }) };
}

/** Places of room `a`. */
async function everyOf(manager: Manager, stream: string): Promise<number[]> {
  const { state } = await manager.streams.info(stream);
  const found: number[] = [];
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const message = await manager.streams.getMessage(stream, { seq }).catch(() => null);
    if (message?.subject === `${stream}.a`) found.push(seq);
  }
  return found;
}
