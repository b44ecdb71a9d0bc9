import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type COUNTS, Ledger, MINUTE_MS, type MinuteCounts } from '../../src/broker/ledger.ts';
import { UsageBook, type UsageRecord } from '../../src/broker/usage.ts';
import { OwnUsage } from '../../src/bus/usage/own.ts';
import { USAGE } from '../contract/usage.ts';
import { QUIET, SimNode, type SimSocket } from '../support/sim.ts';

const START = 1_700_000_040_000; // The beginning of a minute.
const always = () => true;

function kept(): { ledger: Ledger; closed: MinuteCounts[] } {
  const ledger = new Ledger();
  const closed: MinuteCounts[] = [];
  ledger.whenClosed((counts) => closed.push(...counts));
  return { ledger, closed };
}

const sum = (counts: readonly MinuteCounts[], count: (typeof COUNTS)[number]) =>
  counts.reduce((total, each) => total + each[count], 0);

test('a minute ends with the first tick after it', () => {
  const { ledger, closed } = kept();
  ledger.tick(START + 500, always);
  const usage = ledger.usageOf('acme');
  usage.took(100, true);
  ledger.tick(START + MINUTE_MS - 1, always);
  assert.equal(closed.length, 0);
  ledger.tick(START + MINUTE_MS, always);
  usage.took(1, false);
  assert.deepEqual(
    closed.map(({ tenant, minute, messagesIn, payloadBytes, durableBytes }) => [
      tenant,
      minute,
      messagesIn,
      payloadBytes,
      durableBytes,
    ]),
    [['acme', START, 1, 100, 100]],
  );
  ledger.tick(START + 2 * MINUTE_MS, always);
  assert.deepEqual(
    [closed[1]?.minute, closed[1]?.payloadBytes, closed[1]?.durableBytes],
    [START + MINUTE_MS, 1, 0],
  );
});

test('connection time is cut exactly at the minute, however late the tick', () => {
  const { ledger, closed } = kept();
  ledger.tick(START, always);
  const usage = ledger.usageOf('acme');
  usage.connected(START + 10_000);
  usage.connected(START + 30_000);
  ledger.tick(START + MINUTE_MS + 900, always);
  assert.equal(closed[0]?.connectionMs, 50_000 + 30_000);
  usage.disconnected(START + MINUTE_MS + 5000);
  usage.disconnected(START + MINUTE_MS + 6000);
  ledger.tick(START + 3 * MINUTE_MS, always);
  assert.deepEqual(
    closed.map(({ connectionMs }) => connectionMs),
    [80_000, 11_000],
  );
});

test('a loop that stood still for minutes has counted connections in each', () => {
  const { ledger, closed } = kept();
  ledger.tick(START, always);
  ledger.usageOf('acme').connected(START);
  ledger.tick(START + 3 * MINUTE_MS + 1, always);
  assert.deepEqual(
    closed.map(({ minute, connectionMs }) => [minute, connectionMs]),
    [0, 1, 2].map((at) => [START + at * MINUTE_MS, MINUTE_MS]),
  );
});

test('a machine that slept has no connections for the night, and a clock that is set back repeats no minute', () => {
  const { ledger, closed } = kept();
  ledger.tick(START, always);
  const usage = ledger.usageOf('acme');
  usage.connected(START);
  const morning = START + 8 * 60 * MINUTE_MS;
  ledger.tick(morning, always);
  ledger.tick(morning + MINUTE_MS, always);
  assert.deepEqual(
    closed.map(({ minute, connectionMs }) => [minute, connectionMs]),
    [
      [START, MINUTE_MS],
      [morning, MINUTE_MS],
    ],
  );
  ledger.tick(START, always);
  usage.took(1, false);
  ledger.tick(morning + 2 * MINUTE_MS, always);
  assert.deepEqual([closed[2]?.minute, closed[2]?.messagesIn], [morning + MINUTE_MS, 1]);
});

test('whatever happens when: the minutes add up to what was counted', () => {
  const step = fc.record({
    ms: fc.integer({ min: 0, max: 100_000 }),
    tenant: fc.constantFrom('a', 'b', 'c'),
    bytes: fc.integer({ min: 0, max: 2 ** 40 }),
    what: fc.constantFrom('publish', 'connect', 'disconnect', 'tick', 'look'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { ledger, closed } = kept();
      let now = START;
      ledger.tick(now, always);
      const connections = new Map<string, number>();
      let [messages, bytes, connectionMs] = [0, 0, 0];
      for (const { ms, tenant, what, bytes: size } of steps) {
        now += ms;
        for (const count of connections.values()) connectionMs += count * ms;
        const usage = ledger.usageOf(tenant);
        const here = connections.get(tenant) ?? 0;
        const happens: Record<string, () => void> = {
          publish: () => {
            usage.took(size, size % 2 === 0);
            messages++;
            bytes += size;
          },
          connect: () => {
            connections.set(tenant, here + 1);
            usage.connected(now);
          },
          disconnect: () => {
            if (here === 0) return;
            connections.set(tenant, here - 1);
            usage.disconnected(now);
          },
          look: () => void ledger.present(now),
        };
        happens[what]?.();
        // As in a node: it ticks each second, and here at least before each step.
        ledger.tick(now, (name) => (connections.get(name) ?? 0) > 0);
      }
      ledger.finish(now);
      assert.equal(sum(closed, 'messagesIn'), messages);
      assert.equal(sum(closed, 'payloadBytes'), bytes);
      assert.equal(sum(closed, 'connectionMs'), connectionMs);
      const ids = closed.map(({ tenant, minute }) => `${tenant} ${minute}`);
      assert.equal(new Set(ids).size, ids.length, 'no minute is told twice');
    }),
  );
});

test('a tenant nobody knows any more is forgotten after two empty minutes, one that somebody knows is not', () => {
  const { ledger } = kept();
  const usage = ledger.usageOf('acme');
  usage.took(1, false);
  ledger.tick(START, always);
  const nobody = () => false;
  ledger.tick(START + MINUTE_MS, nobody);
  ledger.tick(START + 2 * MINUTE_MS, nobody);
  assert.equal(ledger.usageOf('acme'), usage);
  ledger.tick(START + 3 * MINUTE_MS, always);
  assert.equal(ledger.usageOf('acme'), usage);
  ledger.tick(START + 4 * MINUTE_MS, nobody);
  assert.notEqual(ledger.usageOf('acme'), usage);
});

// ------------------------------------------------------------------------------------ the node that counts

function received(sockets: readonly SimSocket[]): { bytes: number; events: number; ephemeral: number } {
  const events = sockets.flatMap((socket) => socket.received.filter((frame) => frame.type === 'event'));
  return {
    bytes: sockets.reduce((total, { bytes }) => total + bytes, 0),
    events: events.length,
    ephemeral: events.filter(({ ephemeral }) => ephemeral).length,
  };
}

test('what a node counts is what its clients have sent and received', () => {
  for (const batchMs of [0, 20]) {
    const node = new SimNode({ batching: { batchMs }, roomBatchMs: batchMs });
    const sent = new Map<SimSocket, number>();
    const write = (socket: SimSocket, frame: object) => {
      sent.set(socket, (sent.get(socket) ?? 0) + Buffer.byteLength(JSON.stringify(frame)));
      socket.write(frame);
      node.settle();
    };
    node.hub.tick();
    const sockets = ['ann', 'bob', 'cat'].map((user) => node.connect(user));
    const [ann, bob, cat] = sockets as [SimSocket, SimSocket, SimSocket];
    for (const socket of [ann, bob]) write(socket, { type: 'join', room: 'a', presence: true });
    write(ann, { type: 'join', room: 'live:1' });
    for (let at = 0; at < 7; at++)
      write(bob, { type: 'pub', room: 'a', payload: `é€😀${at}`, msgId: `m${at}` });
    write(bob, { type: 'pub', room: 'a', payload: 'again', msgId: 'm0' });
    write(bob, { type: 'pub', room: 'a', payload: 1, echo: false });
    write(bob, { type: 'pub', room: 'live:1', payload: 'x' });
    write(ann, { type: 'pub', room: 'a', payload: 2, ephemeral: true });
    // A replay, a history answer, an error, and somebody who goes.
    write(cat, { type: 'join', room: 'a', since: { last: 5 }, presence: true });
    write(cat, { type: 'history', room: 'a', limit: 3 });
    write(cat, { type: 'pub', room: 'a' });
    write(bob, { type: 'leave', room: 'a' });
    node.settle();

    const [counts] = node.tenants.ledger.present(node.now);
    const got = received(sockets);
    assert.ok(counts);
    assert.equal(counts.messagesIn, 9);
    assert.equal(counts.ephemeralIn, 1);
    assert.ok(counts.ephemeralDeliveries === got.ephemeral && got.ephemeral > 1);
    assert.equal(counts.deliveries, got.events - got.ephemeral);
    assert.equal(counts.bytesOut, got.bytes);
    assert.equal(
      counts.bytesIn,
      [...sent.values()].reduce((total, bytes) => total + bytes, 0),
    );
    const payload = 7 * Buffer.byteLength('"é€😀0"') + 1 + 3;
    assert.equal(counts.payloadBytes, payload);
    assert.equal(counts.durableBytes, payload - 3, 'without the live room');
  }
});

test('tenants are counted apart', () => {
  const node = new SimNode();
  node.hub.tick();
  for (const tenant of ['one', 'other', 'other']) {
    const socket = node.connect('ann', { tenant });
    socket.write({ type: 'pub', room: 'a', payload: 1 });
  }
  node.settle();
  assert.deepEqual(
    node.tenants.ledger.present(node.now).map(({ tenant, messagesIn }) => [tenant, messagesIn]),
    [
      ['one', 1],
      ['other', 2],
    ],
  );
});

test("what earlier runs took of the day counts against bytesPerDay, until the day's end", () => {
  const node = new SimNode({ tenants: { bytesPerDay: 10 } });
  const day = Math.floor(node.now / 86_400_000);
  node.tenants.resumeDay({ day, bytes: new Map([['default', 8]]) });
  const ann = node.connect('ann');
  const publish = (payload: unknown) => {
    ann.write({ type: 'pub', room: 'a', payload });
    node.settle();
    return ann.take().find(({ type }) => type === 'ack' || type === 'error');
  };
  const refused = publish(123);
  assert.ok(refused?.type === 'error');
  assert.deepEqual([refused.code, refused.used, refused.limit], ['quota_exceeded', 8, 10]);
  assert.equal(publish(12)?.type, 'ack');
  node.now = (day + 1) * 86_400_000;
  assert.equal(publish(123)?.type, 'ack');
});

// -------------------------------------------------------------------------------------------- the way out

/** A store that is away when it is told to be. */
class Shaky extends OwnUsage {
  away = false;
  override async keep(records: readonly UsageRecord[]): Promise<boolean> {
    return !this.away && super.keep(records);
  }
}

test('records wait while the store is away, the oldest go when too many do, and all of it is counted', async () => {
  const clock = { time: START, now: () => clock.time };
  const store = new Shaky(1000);
  const ledger = new Ledger();
  const settings = { ...USAGE, records: 3 };
  const book = new UsageBook({ ledger, store, node: 'n', incarnation: 'i', settings, clock, log: QUIET });
  ledger.tick(clock.time, always);
  store.away = true;
  for (let minute = 0; minute < 5; minute++) {
    ledger.usageOf('acme').took(minute, false);
    clock.time += MINUTE_MS;
    ledger.tick(clock.time, always);
    assert.equal(await book.flush(), false);
  }
  assert.deepEqual(book.figures(), { stored: 0, failures: 5, dropped: 2, waiting: 3 });
  store.away = false;
  assert.equal(await book.flush(), true);
  assert.deepEqual(book.figures(), { stored: 3, failures: 5, dropped: 2, waiting: 0 });
  const report = await book.report({ from: START, to: clock.time }, 'minute');
  assert.deepEqual(report.ok && report.rows.map(({ payloadBytes }) => payloadBytes), [2, 3, 4]);
});

test('hours and days are sums of minutes', async () => {
  const store = new OwnUsage(1000);
  const ledger = new Ledger();
  const clock = { now: () => START };
  const book = new UsageBook({
    ledger,
    store,
    node: 'n',
    incarnation: 'i',
    settings: USAGE,
    clock,
    log: QUIET,
  });
  for (let minute = 0; minute < 150; minute++) {
    ledger.tick(START + minute * MINUTE_MS, always);
    ledger.usageOf('acme').took(1, false);
  }
  ledger.finish(START + 150 * MINUTE_MS);
  await book.flush();
  const query = { from: START, to: START + 200 * MINUTE_MS };
  const hours = await book.report(query, 'hour');
  assert.ok(hours.ok);
  assert.ok(hours.rows.length >= 3 && hours.rows.every(({ at }) => at % 3_600_000 === 0));
  assert.equal(
    hours.rows.reduce((total, { messagesIn }) => total + messagesIn, 0),
    150,
  );
});
