import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Effect, Sequencer } from '../../src/client/sequencer.ts';
import type { EventFrame, HistoryPageFrame, JoinedFrame } from '../../src/protocol/frames.ts';

const ROOM = 'room';

function event(seq: number, prev: number): EventFrame {
  return { type: 'event', room: ROOM, payload: seq, seq, prev, ts: 0, from: 'u' };
}

function joined(seq: number, more: Partial<JoinedFrame> = {}): JoinedFrame {
  return {
    type: 'joined',
    room: ROOM,
    epoch: 'e',
    seq,
    durable: true,
    recovered: 'fresh',
    replay: 0,
    ...more,
  };
}

function page(events: readonly EventFrame[], more: Partial<HistoryPageFrame> = {}): HistoryPageFrame {
  return { type: 'history', room: ROOM, epoch: 'e', events, more: false, ...more };
}

/** Effects in short: d5 delivered, f3 fetch after 3, g3-5:lost, h3-5, c7 caught up. */
function brief(effects: readonly Effect[]): string {
  return effects
    .map((effect) => {
      if (effect.type === 'deliver') return `d${effect.event.seq ?? '~'}`;
      if (effect.type === 'fetch') return `f${effect.after}`;
      if (effect.type === 'caughtUp') return `c${effect.seq}`;
      if (effect.type === 'healed') return `h${effect.healed.from}-${effect.healed.to}`;
      return `g${effect.gap.from}-${effect.gap.to}:${effect.gap.reason}`;
    })
    .join(' ');
}

test('a fresh join starts at the position of joined', () => {
  const it = new Sequencer(ROOM);
  assert.equal(brief(it.joined(joined(7))), '');
  assert.deepEqual(it.position, { epoch: 'e', seq: 7 });
  assert.equal(brief(it.event(event(9, 7))), 'd9');
  assert.equal(brief(it.event(event(9, 7))), '', 'the same event twice');
  assert.equal(brief(it.event(event(8, 7))), '', 'an older event');
  assert.deepEqual(it.position, { epoch: 'e', seq: 9 });
});

test('ephemeral events pass and move nothing, even while a hole is being filled', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1));
  const ephemeral: EventFrame = { type: 'event', room: ROOM, payload: 0, ts: 0, from: 'u', ephemeral: true };
  assert.equal(brief(it.event(ephemeral)), 'd~');
  it.event(event(3, 2));
  assert.equal(brief(it.event(ephemeral)), 'd~');
  assert.deepEqual(it.position, { epoch: 'e', seq: 1 });
});

test('a hole in a durable room is filled from the history before anything later is delivered', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1));
  assert.equal(brief(it.event(event(5, 4))), 'f1');
  assert.equal(brief(it.event(event(6, 5))), '');
  assert.equal(brief(it.page(1, page([event(2, 1), event(3, 2)], { more: true }))), 'd2 d3 f3');
  assert.equal(brief(it.page(3, page([event(4, 3), event(5, 4)]))), 'd4 h1-4 d5 d6');
});

test('what the history does not have is a gap with its exact bounds', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1));
  it.event(event(9, 8));
  const answer = page([event(5, 4), event(8, 5)], { truncated: true });
  assert.equal(brief(it.page(1, answer)), 'g1-4:retention d5 d8 h1-8 d9');
});

test('a failed fetch gives the hole up and goes on', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1));
  it.event(event(5, 4));
  assert.equal(brief(it.pageFailed(1)), 'g1-4:lost d5');
  assert.equal(brief(it.page(1, page([event(2, 1)]))), '', 'a late answer counts for nothing');
});

test('an answer to an older fetch does not end the filling of a newer hole', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1));
  it.event(event(3, 2));
  it.pageFailed(1);
  assert.equal(brief(it.event(event(6, 5))), 'f3');
  assert.equal(brief(it.page(1, page([]))), '');
  assert.equal(brief(it.page(3, page([event(5, 3)]))), 'd5 h3-5 d6');
});

test('a live room has no history: the hole is a gap at once', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1, { durable: false }));
  assert.equal(brief(it.event(event(5, 4))), 'g1-4:lost d5');
});

test('a second hole among what was held is filled in turn', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1));
  it.event(event(3, 2));
  it.event(event(7, 6));
  assert.equal(brief(it.page(1, page([event(2, 1)]))), 'd2 h1-2 d3 f3');
  assert.equal(brief(it.page(3, page([event(5, 3), event(6, 5)]))), 'd5 d6 h3-6 d7');
});

test('too many events held while a hole is being filled: the hole is given up', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1));
  let effects = it.event(event(3, 2));
  let seq = 3;
  while (seq < 20_000 && !brief(effects).includes('g')) effects = it.event(event(++seq, seq - 1));
  assert.equal(effects.filter(({ type }) => type === 'deliver').length, 10_001);
  assert.match(brief(effects), /^g1-2:lost d3 d4 /);
});

test('a gap of the server is told and moves the position', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(1));
  const gap = { type: 'gap', room: ROOM, from: 1, to: 6, reason: 'backpressure', action: 'skip' } as const;
  assert.equal(brief(it.gap(gap)), 'g1-6:backpressure');
  assert.equal(brief(it.event(event(7, 6))), 'd7');
  it.gap({ ...gap, from: 2, to: 3 });
  assert.deepEqual(it.position, { epoch: 'e', seq: 7 }, 'never backwards');
});

test('a resume with nothing missed is full, and caught_up ends it', () => {
  const it = new Sequencer(ROOM, { epoch: 'e', seq: 4 });
  assert.equal(brief(it.joined(joined(6, { recovered: 'full', replay: 2 }))), '');
  assert.deepEqual(it.position, { epoch: 'e', seq: 4 }, 'what has not been replayed is not had');
  assert.equal(brief(it.event(event(5, 4))), 'd5');
  assert.equal(brief(it.event(event(6, 5))), 'd6');
  assert.equal(brief(it.caughtUp({ type: 'caught_up', room: ROOM, seq: 6 })), 'c6');
});

test('caught_up beyond the last event replayed shows a hole', () => {
  const it = new Sequencer(ROOM, { epoch: 'e', seq: 4 });
  it.joined(joined(6, { recovered: 'full', replay: 2 }));
  it.event(event(5, 4));
  assert.equal(brief(it.caughtUp({ type: 'caught_up', room: ROOM, seq: 6 })), 'f5');
  assert.equal(brief(it.page(5, page([event(6, 5)]))), 'd6 h5-6 c6');
});

test('the last n: the first event replayed says where it begins', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(90, { replay: 2 }));
  assert.equal(brief(it.event(event(85, 80))), 'd85');
  assert.equal(brief(it.event(event(90, 85))), 'd90');
});

test('another epoch: the gap of the server, then what the new epoch has from its begin', () => {
  const it = new Sequencer(ROOM, { epoch: 'old', seq: 400 });
  it.joined(joined(3, { recovered: 'none', replay: 3 }));
  assert.deepEqual(it.position, { epoch: 'old', seq: 400 }, 'until something of the new epoch is had');
  const gap = { type: 'gap', room: ROOM, from: 400, to: 0, reason: 'epoch', action: 'backfill' } as const;
  assert.equal(brief(it.gap(gap)), 'g400-0:epoch');
  assert.equal(brief(it.event(event(1, 0))), 'd1');
  assert.deepEqual(it.position, { epoch: 'e', seq: 1 });
});

test('an epoch that changes under us is told once: by the join that follows', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(5));
  const gap = { type: 'gap', room: ROOM, from: 5, to: 0, reason: 'epoch', action: 'rejoin' } as const;
  assert.equal(brief(it.gap(gap)), '');
  assert.deepEqual(it.position, { epoch: 'e', seq: 5 });
});

test('positions that the server voids (4203): what was missed meanwhile is a gap', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(5));
  it.detached();
  it.invalidated();
  assert.equal(it.position, undefined);
  assert.equal(brief(it.joined(joined(9))), 'g5-9:epoch');
});

test('the ack of an echo:false publish stands where its event would have stood', () => {
  const it = new Sequencer(ROOM);
  it.joined(joined(5));
  it.acked({ type: 'ack', room: ROOM, msgId: 'm', seq: 6, epoch: 'e' });
  assert.deepEqual(it.position, { epoch: 'e', seq: 6 });
  assert.equal(brief(it.event(event(7, 6))), 'd7');
  it.acked({ type: 'ack', room: ROOM, msgId: 'n', seq: 9, epoch: 'other' });
  it.acked({ type: 'ack', room: ROOM, msgId: 'o', seq: 9, epoch: 'e', duplicate: true });
  assert.deepEqual(it.position, { epoch: 'e', seq: 7 });
});

test('such an ack during a replay may not hide the events that are still to come', () => {
  const it = new Sequencer(ROOM, { epoch: 'e', seq: 4 });
  it.joined(joined(6, { recovered: 'full', replay: 2 }));
  it.acked({ type: 'ack', room: ROOM, msgId: 'm', seq: 7, epoch: 'e' });
  assert.equal(brief(it.event(event(5, 4))), 'd5');
  assert.equal(brief(it.event(event(6, 5))), 'd6');
  assert.equal(brief(it.event(event(8, 7))), 'd8', 'its prev is our own event');
});

test('nothing is taken in while not joined', () => {
  const it = new Sequencer(ROOM);
  assert.equal(brief(it.event(event(1, 0))), '');
  it.joined(joined(1));
  it.detached();
  assert.equal(brief(it.event(event(2, 1))), '');
});

// ------------------------------------------------------------------------------------- whatever happens

type Op = 'send' | 'lose' | 'repeat' | 'swap' | 'own' | 'answer' | 'refuse' | 'cut';

/** A server with a log, a lossy way to the sequencer, and an account of all that came out. */
class World {
  readonly log: EventFrame[] = [];
  readonly delivered: number[] = [];
  readonly told: { from: number; to: number }[] = [];
  readonly own = new Set<number>();
  readonly sequencer = new Sequencer(ROOM);
  /** Oldest event that the history has; the rest was removed. */
  floor = 0;
  failures = 0;
  #fetches: number[] = [];
  #late: EventFrame | undefined;

  constructor(readonly durable: boolean) {
    this.take(this.sequencer.joined(joined(0, { durable })));
  }

  get head(): number {
    return this.log.at(-1)?.seq ?? 0;
  }

  make(step: number): EventFrame {
    const made = event(this.head + step, this.head);
    this.log.push(made);
    return made;
  }

  take(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.type === 'deliver') this.delivered.push(effect.event.seq ?? -1);
      if (effect.type === 'gap') this.told.push(effect.gap);
      if (effect.type === 'fetch') this.#fetches.push(effect.after);
    }
  }

  /** The history as a server pages it, two events at a time. */
  answer(): void {
    const after = this.#fetches.shift();
    if (after === undefined) return;
    const kept = this.log.filter(({ seq = 0 }) => seq > after && seq > this.floor);
    const truncated = this.log.some(({ seq = 0 }) => seq > after && seq <= this.floor);
    const more: Partial<HistoryPageFrame> = { more: kept.length > 2, ...(truncated && { truncated }) };
    this.take(this.sequencer.page(after, page(kept.slice(0, 2), more)));
  }

  get fetching(): boolean {
    return this.#fetches.length > 0;
  }

  run(op: Op, step: number): void {
    if (op === 'send') this.take(this.sequencer.event(this.make(step)));
    if (op === 'lose') this.make(step);
    if (op === 'repeat') for (const old of this.log.slice(-3)) this.take(this.sequencer.event(old));
    if (op === 'swap') this.#swap(step);
    if (op === 'own') this.#publish(step);
    if (op === 'answer') this.answer();
    if (op === 'refuse') this.#refuse();
    if (op === 'cut') this.resume();
  }

  #swap(step: number): void {
    if (this.#late !== undefined) this.take(this.sequencer.event(this.#late));
    this.#late = this.make(step);
  }

  /** An own publish without echo, faithfully: nothing before it is lost or late on this connection. */
  #publish(step: number): void {
    if (this.fetching || this.sequencer.position?.seq !== this.head) return;
    const { seq = 0 } = this.make(step);
    this.own.add(seq);
    this.take(this.sequencer.acked({ type: 'ack', room: ROOM, msgId: `m${seq}`, seq, epoch: 'e' }));
  }

  #refuse(): void {
    const after = this.#fetches.shift();
    if (after === undefined) return;
    this.failures++;
    this.take(this.sequencer.pageFailed(after));
  }

  /** The connection is lost and resumed, as the server does it. */
  resume(): void {
    this.sequencer.detached();
    this.#fetches = [];
    const from = this.sequencer.position?.seq ?? 0;
    const kept = this.log.filter(({ seq = 0 }) => seq > from && seq > this.floor);
    const cut = this.log.filter(({ seq = 0 }) => seq > from && seq <= this.floor).at(-1)?.seq;
    const recovered = cut === undefined ? 'full' : 'partial';
    const { durable } = this;
    this.take(this.sequencer.joined(joined(this.head, { recovered, replay: kept.length, durable })));
    if (cut !== undefined)
      this.take(
        this.sequencer.gap({ type: 'gap', room: ROOM, from, to: cut, reason: 'retention', action: 'skip' }),
      );
    for (const each of kept) this.take(this.sequencer.event(each));
    this.take(this.sequencer.caughtUp({ type: 'caught_up', room: ROOM, seq: this.head }));
  }

  /** Neither delivered nor told as a gap nor our own. */
  silent(): number[] {
    const had = new Set(this.delivered);
    const covered = (seq: number) => this.told.some(({ from, to }) => from < seq && seq <= to);
    return this.log
      .map(({ seq = 0 }) => seq)
      .filter((seq) => !had.has(seq) && !this.own.has(seq) && !covered(seq));
  }
}

const steps = (...ops: Op[]) =>
  fc.array(fc.record({ op: fc.constantFrom(...ops), step: fc.integer({ min: 1, max: 3 }) }), {
    maxLength: 80,
  });

function finish(world: World): void {
  for (let round = 0; world.fetching && round < 1000; round++) world.answer();
  world.resume();
  for (let round = 0; world.fetching && round < 1000; round++) world.answer();
}

function assertAscending(seqs: readonly number[]): void {
  for (const [at, seq] of seqs.entries()) assert.ok(at === 0 || seq > (seqs[at - 1] ?? 0), `order: ${seqs}`);
}

test('loss, repetition, reordering and reconnects: every event once, in order, none told as a gap', () => {
  const property = fc.property(
    steps('send', 'send', 'lose', 'repeat', 'swap', 'own', 'answer', 'cut'),
    (ops) => {
      const world = new World(true);
      for (const { op, step } of ops) world.run(op, step);
      finish(world);
      assertAscending(world.delivered);
      assert.deepEqual(world.told, []);
      const expected = world.log.map(({ seq = 0 }) => seq).filter((seq) => !world.own.has(seq));
      assert.deepEqual(world.delivered, expected);
    },
  );
  fc.assert(property, { numRuns: 2000 });
});

test('failing fetches and retention: never a silent loss, never a repetition', () => {
  const all: Op[] = ['send', 'send', 'lose', 'repeat', 'swap', 'own', 'answer', 'refuse', 'cut'];
  const property = fc.property(steps(...all), fc.nat(120), fc.boolean(), (ops, floor, durable) => {
    const world = new World(durable);
    for (const [at, { op, step }] of ops.entries()) {
      if (at === ops.length >> 1) world.floor = Math.min(floor, world.head);
      world.run(op, step);
    }
    finish(world);
    assertAscending(world.delivered);
    assert.deepEqual(world.silent(), []);
    for (const { from, to } of world.told) assert.ok(to > from, `an empty gap ${from}-${to}`);
  });
  fc.assert(property, { numRuns: 2000 });
});
