import assert from 'node:assert/strict';
import type { Accepted, Skip } from '../../../src/broker/ports.ts';
import { readMsgpack } from '../../../src/protocol/msgpack.ts';
import { durable, LIVE, roomRef } from '../../support/rooms.ts';
import { accepted, assertChain, fill, history, opened, publish, quiet, replay, seqsOf } from './probe.ts';
import type { Promised } from './subject.ts';

export function deliveryTests(promised: Promised): void {
  order(promised);
  content(promised);
  ephemeral(promised);
  nodes(promised);
}

function order(promised: Promised): void {
  promised('an event reaches the open room before its publish is settled', async ({ bus }) => {
    const room = roomRef('a');
    const probe = await opened(bus, room);
    for (let n = 0; n < 20; n++) {
      const seq = await accepted(bus, room, n);
      assert.equal(probe.events.at(-1)?.seq, seq);
    }
    assertChain(probe.events, probe.position.seq);
  });

  promised(
    'publishes that do not wait for each other arrive once, in one order, chained',
    async ({ bus }) => {
      const room = roomRef('a');
      const probe = await opened(bus, room);
      const froms = ['ann', 'bob', 'cem'];
      const outcomes = await Promise.all(
        Array.from({ length: 300 }, (_, n) => accepted(bus, room, n, { from: froms[n % 3] as string })),
      );
      assertChain(probe.events, probe.position.seq);
      assert.deepEqual(
        probe.seqs,
        [...outcomes].sort((a, b) => a - b),
      );
      for (const from of froms) {
        const own = probe.events.filter((event) => JSON.parse(event.json).from === from);
        assert.deepEqual(
          own.map((event) => Number(event.payload)),
          Array.from({ length: 100 }, (_, n) => 3 * n + froms.indexOf(from)),
          `${from}'s own order`,
        );
      }
      assert.deepEqual(probe.gaps, []);
    },
  );

  promised(
    'an event goes to its room alone: not to another name, not to the same name of another tenant',
    async ({ bus }) => {
      const rooms = [roomRef('a'), roomRef('b'), roomRef('a', undefined, 'other')];
      const probes = await Promise.all(rooms.map((room) => opened(bus, room)));
      for (const [n, room] of rooms.entries()) await accepted(bus, room, n);
      await quiet();
      assert.deepEqual(
        probes.map((probe) => probe.payloads),
        [[0], [1], [2]],
      );
      for (const [n, room] of rooms.entries())
        assert.deepEqual(seqsOf(await history(bus, room)), probes[n]?.seqs, 'nor is it stored elsewhere');
    },
  );

  promised('a sink that publishes is told of both events in order, each once', async ({ bus }) => {
    const room = roomRef('a');
    const probe = await opened(bus, room);
    const answers: Promise<unknown>[] = [];
    const busy: string[] = [];
    probe.onEvent = (event) => {
      busy.push(`in ${event.payload}`);
      if (Number(event.payload) < 3) answers.push(accepted(bus, room, Number(event.payload) + 1));
      busy.push(`out ${event.payload}`);
    };
    await accepted(bus, room, 0);
    await probe.count(4);
    await Promise.all(answers);
    assert.deepEqual(probe.payloads, [0, 1, 2, 3]);
    assert.deepEqual(
      busy,
      ['in 0', 'out 0', 'in 1', 'out 1', 'in 2', 'out 2', 'in 3', 'out 3'],
      'one at a time',
    );
    assertChain(probe.events, probe.position.seq);
  });

  promised('settles that publish go on for long without exhausting the stack', async ({ bus }) => {
    const room = roomRef('a');
    let left = 20_000;
    await new Promise<void>((resolve) => {
      const next = (outcome: Accepted | { readonly ok: false }): void => {
        assert.ok(outcome.ok);
        if (left-- > 0) bus.publish({ room, from: 'ann', payload: '1', ephemeral: true }, next);
        else resolve();
      };
      next({ ok: true, epoch: '', duplicate: false });
    });
  });
}

function content(promised: Promised): void {
  promised('an event says what was published, its payload to the letter', async ({ bus }) => {
    const room = roomRef('chat:a-1');
    const probe = await opened(bus, room);
    const text = '{"b":1.0,"a":[1e2,"\\u0041é好🙂","\\"\\\\"],"a2":null}';
    const publication = {
      room,
      from: 'a"nn\\ é',
      payload: text,
      msgId: 'm"1',
      key: 'k\n🙂',
      ephemeral: false,
    };
    const outcome = await new Promise<unknown>((resolve) => bus.publish(publication, resolve));
    const [event] = probe.events;
    assert.ok(event);
    assert.equal(event.payload, text);
    assert.ok(event.json.includes(text));
    assert.deepEqual(JSON.parse(event.json), {
      type: 'event',
      room: 'chat:a-1',
      seq: event.seq,
      prev: probe.position.seq,
      ts: event.ts,
      from: 'a"nn\\ é',
      msgId: 'm"1',
      key: 'k\n🙂',
      payload: JSON.parse(text),
    });
    assert.deepEqual(readMsgpack(event.msgpack), JSON.parse(event.json));
    assert.equal(event.key, 'k\n🙂');
    assert.ok(Number.isInteger(event.ts) && event.ts > 0);
    const { epoch } = probe.position;
    assert.deepEqual(outcome, { ok: true, epoch, seq: event.seq, duplicate: false });
    const [kept] = (await history(bus, room)).events;
    assert.equal(kept?.json, event.json, 'as delivered, so kept');
  });

  promised('large and empty payloads pass', async ({ bus }) => {
    const room = roomRef('a');
    const probe = await opened(bus, room);
    for (const payload of ['', 'x'.repeat(60_000), '好'.repeat(20_000), [], {}, null, false])
      await accepted(bus, room, payload);
    assert.deepEqual(probe.payloads, ['', 'x'.repeat(60_000), '好'.repeat(20_000), [], {}, null, false]);
  });

  promised('the publisher to skip comes back with the event', async ({ bus }) => {
    const room = roomRef('a');
    const probe = await opened(bus, room);
    const skip = token();
    await accepted(bus, room, 1, { skip });
    await accepted(bus, room, 2);
    assert.equal(probe.events[0]?.skip, skip);
    assert.equal(probe.events[1]?.skip, undefined);
  });
}

function ephemeral(promised: Promised): void {
  promised(
    'an ephemeral event is delivered, has no place in the order and is kept nowhere',
    async ({ bus }) => {
      const room = roomRef('a');
      const probe = await opened(bus, room);
      const before = await accepted(bus, room, 'before');
      const outcome = await publish(bus, room, 'passing', { ephemeral: true, msgId: 'm' });
      assert.ok(outcome.ok);
      assert.equal(outcome.seq, undefined);
      assert.equal(outcome.duplicate, false);
      await probe.count(2);
      await accepted(bus, room, 'after');
      const [, passing, after] = probe.events;
      assert.ok(passing?.ephemeral);
      assert.deepEqual(Object.keys(JSON.parse(passing.json)).sort(), [
        'ephemeral',
        'from',
        'msgId',
        'payload',
        'room',
        'ts',
        'type',
      ]);
      assert.equal(after?.prev, before, 'the order does not know of it');
      assert.deepEqual(seqsOf(await history(bus, room)), [before, after?.seq]);
      const missed = await replay(bus, room, probe.position);
      assert.deepEqual(seqsOf(missed), [before, after?.seq]);
    },
  );

  for (const policy of [durable(), LIVE])
    promised(
      `in a ${policy.history ? 'durable' : 'live'} room, an ephemeral event says how long it holds, if it was told`,
      async ({ bus }) => {
        const room = roomRef('a', policy);
        const probe = await opened(bus, room);
        await publish(bus, room, 1, { ephemeral: true, key: 'k', expireMs: 7000 });
        await publish(bus, room, 2, { ephemeral: true, key: 'k' });
        await accepted(bus, room, 3, { key: 'k' });
        await probe.count(3);
        const told = probe.events.map(({ json }) => (JSON.parse(json) as { expireMs?: number }).expireMs);
        assert.deepEqual(told, [7000, undefined, undefined]);
      },
    );

  promised('an ephemeral event in a room that nobody is in is accepted and gone', async ({ bus }) => {
    const room = roomRef('a');
    const outcome = await publish(bus, room, 'passing', { ephemeral: true });
    assert.ok(outcome.ok);
    const probe = await opened(bus, room);
    await quiet();
    assert.deepEqual(probe.events, []);
  });
}

function nodes(promised: Promised): void {
  promised(
    'every node sees the same order, whoever publishes where',
    async ({ bus, peer }) => {
      assert.ok(peer);
      const room = roomRef('a');
      const [here, there] = await Promise.all([opened(bus, room), opened(peer, room)]);
      await Promise.all(
        Array.from({ length: 200 }, (_, n) =>
          accepted(n % 2 === 0 ? bus : peer, room, n, { from: `u${n % 5}` }),
        ),
      );
      await Promise.all([here.count(200), there.count(200)]);
      assert.deepEqual(here.seqs, there.seqs);
      assertChain(here.events, here.position.seq);
      assertChain(there.events, there.position.seq);
      assert.deepEqual(
        here.events.map((event) => event.json),
        there.events.map((event) => event.json),
      );
      assert.deepEqual(seqsOf(await history(peer, room)), here.seqs);
    },
    { nodes: 2 },
  );

  promised(
    'a retry at another node is a duplicate',
    async ({ bus, peer }) => {
      assert.ok(peer);
      const room = roomRef('a');
      const first = await accepted(bus, room, 'first', { msgId: 'm' });
      const again = await publish(peer, room, 'first', { msgId: 'm' });
      assert.deepEqual(again, { ok: true, epoch: again.ok && again.epoch, seq: first, duplicate: true });
      assert.deepEqual(seqsOf(await history(peer, room)), [first]);
    },
    { nodes: 2 },
  );

  promised(
    'the publisher to skip is known at its own node only; ephemeral events reach every node',
    async ({ bus, peer }) => {
      assert.ok(peer);
      const room = roomRef('a');
      const [here, there] = await Promise.all([opened(bus, room), opened(peer, room)]);
      const skip = token();
      await accepted(bus, room, 1, { skip });
      await publish(bus, room, 2, { ephemeral: true, expireMs: 5000 });
      await Promise.all([here.count(2), there.count(2)]);
      for (const { events } of [here, there]) assert.match(events[1]?.json ?? '', /"expireMs":5000,/);
      assert.equal(here.events[0]?.skip, skip);
      assert.equal(there.events[0]?.skip, undefined);
      assert.deepEqual(there.payloads, [1, 2]);
      const seqs = await fill(peer, room, 3);
      await here.count(5);
      assert.deepEqual(here.seqs.slice(2), seqs);
    },
    { nodes: 2 },
  );
}

/** The bus carries it and looks at nothing of it. */
function token(): Skip {
  return { connection: Object.create(null), stamp: 0, placed: () => {} };
}
