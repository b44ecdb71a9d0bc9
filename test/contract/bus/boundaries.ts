import assert from 'node:assert/strict';
import { roomRef } from '../../support/rooms.ts';
import { accepted, assertChain, fill, history, opened, publish, quiet, replay, seqsOf } from './probe.ts';
import type { Promised } from './subject.ts';

export function boundaryTests(promised: Promised): void {
  openTests(promised);
  shutTests(promised);
  endTests(promised);
}

function openTests(promised: Promised): void {
  promised('the position of an open room is the prev of its first event', async ({ bus }) => {
    await fill(bus, roomRef('other'), 5);
    const room = roomRef('a');
    const probe = await opened(bus, room);
    assert.ok(probe.position.epoch.length > 0);
    await accepted(bus, room, 1);
    assertChain(probe.events, probe.position.seq);
  });

  promised(
    'what was published before the room was opened is in its position, not in its feed',
    async ({ bus }) => {
      const room = roomRef('a');
      const seqs = await fill(bus, room, 3);
      const probe = await opened(bus, room);
      await quiet();
      assert.deepEqual(probe.events, []);
      assert.equal(probe.position.seq, seqs[2]);
      const next = await accepted(bus, room, 3);
      assert.deepEqual(probe.seqs, [next]);
      assertChain(probe.events, probe.position.seq);
    },
  );

  promised('a room opened amid publishes: position and feed meet exactly', async ({ bus }) => {
    const room = roomRef('a');
    const publishes: Promise<number>[] = [];
    const some = (count: number): void => {
      for (let n = 0; n < count; n++) publishes.push(accepted(bus, room, n));
    };
    some(100);
    const opening = opened(bus, room);
    some(100);
    const probe = await opening;
    some(100);
    const seqs = (await Promise.all(publishes)).sort((a, b) => a - b);
    const after = seqs.filter((seq) => seq > probe.position.seq);
    await probe.count(after.length);
    assert.deepEqual(probe.seqs, after);
    assertChain(probe.events, probe.position.seq);
  });

  promised('a feed may be opened from within another feed', async ({ bus }) => {
    const a = roomRef('a');
    const b = roomRef('b');
    const probe = await opened(bus, a);
    let inner: ReturnType<typeof opened> | undefined;
    probe.onEvent = () => {
      inner ??= opened(bus, b);
    };
    await accepted(bus, a, 1);
    assert.ok(inner);
    const other = await inner;
    await accepted(bus, b, 2);
    await other.count(1);
    assert.deepEqual(other.payloads, [2]);
  });
}

function shutTests(promised: Promised): void {
  promised('after shut nothing arrives, and what is published meanwhile is stored', async ({ bus }) => {
    const room = roomRef('a');
    const first = await opened(bus, room);
    await accepted(bus, room, 0);
    bus.shut(room);
    const missed = await fill(bus, room, 3);
    await publish(bus, room, 'passing', { ephemeral: true });
    await quiet();
    assert.equal(first.events.length, 1);
    const second = await opened(bus, room);
    assert.equal(second.position.seq, missed[2]);
    const page = await replay(bus, room, { epoch: first.position.epoch, seq: first.seqs[0] as number });
    assert.deepEqual(seqsOf(page), missed);
    assert.equal(page.recovered, 'full');
    const next = await accepted(bus, room, 4);
    assert.deepEqual(second.seqs, [next]);
    assert.equal(first.events.length, 1, 'the first feed is over for good');
  });

  promised('a sink may shut its room: the event at hand is its last', async ({ bus }) => {
    const room = roomRef('a');
    const probe = await opened(bus, room);
    probe.onEvent = (event) => {
      if (event.payload === '1') bus.shut(room);
    };
    const seqs = await Promise.all([0, 1, 2, 3].map((n) => accepted(bus, room, n)));
    await quiet();
    assert.deepEqual(probe.payloads, [0, 1]);
    assert.deepEqual(seqsOf(await history(bus, room)), seqs);
  });

  promised('a room shut and opened at once goes on', async ({ bus }) => {
    const room = roomRef('a');
    const first = await opened(bus, room);
    await accepted(bus, room, 0);
    bus.shut(room);
    const second = await opened(bus, room);
    await accepted(bus, room, 1);
    await second.count(1);
    assert.deepEqual(first.payloads, [0]);
    assert.deepEqual(second.payloads, [1]);
    assert.equal(second.position.seq, first.seqs[0]);
    assertChain(second.events, second.position.seq);
  });
}

function endTests(promised: Promised): void {
  promised('drain settles what was accepted and refuses the rest as unavailable', async ({ bus }) => {
    const room = roomRef('a');
    const probe = await opened(bus, room);
    // Counted in the callback: a promise would hear of it after the drain.
    const settled: (number | undefined)[] = [];
    for (let n = 0; n < 20; n++)
      bus.publish({ room, from: 'ann', payload: `${n}`, ephemeral: false }, (outcome) =>
        settled.push(outcome.ok ? outcome.seq : undefined),
      );
    await bus.drain(5000);
    assert.equal(settled.length, 20);
    assert.deepEqual(probe.seqs, settled);
    for (const ephemeral of [false, true]) {
      const refused = await publish(bus, room, 'late', { ephemeral });
      assert.equal(refused.ok, false);
      assert.equal(!refused.ok && refused.code, 'unavailable');
    }
    assert.equal(probe.events.length, 20);
  });

  promised('a closed bus refuses publishes as unavailable', async ({ bus }) => {
    const room = roomRef('a');
    await accepted(bus, room, 0);
    await bus.close();
    const refused = await publish(bus, room, 'late');
    assert.equal(!refused.ok && refused.code, 'unavailable');
  });

  promised('health is up, with numbers for figures', async ({ bus }) => {
    await opened(bus, roomRef('a'));
    const { state, detail, figures } = bus.health();
    assert.equal(state, 'up');
    assert.equal(detail, '');
    assert.ok(Object.keys(figures).length > 0);
    for (const [name, value] of Object.entries(figures)) {
      assert.match(name, /^[a-z][a-z0-9_]*$/);
      assert.ok(Number.isFinite(value), name);
    }
  });
}
