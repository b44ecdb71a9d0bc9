/** The share of each connection in a turn of the loop. The turns end when the test says so. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Limits } from '../../src/broker/settings.ts';
import { frame, OPCODE, RawSocket } from '../support/raw-socket.ts';
import { startTransport, type TestTransport } from './support/parts.ts';
import { pause } from './support/spawn.ts';

interface Turns extends TestTransport {
  /** Ends the turn: what was deferred runs. */
  endTurn(): void;
  nowMs: number;
  /** What a look at the clock costs. */
  stepMs: number;
}

async function start(t: TestContext, limits: Partial<Limits>): Promise<Turns> {
  let deferred: (() => void)[] = [];
  const node = await startTransport({
    limits: { turnMessages: 10, ...limits },
    defer: (task) => void deferred.push(task),
    nowMs: () => {
      turns.nowMs += turns.stepMs;
      return turns.nowMs;
    },
  });
  const turns: Turns = Object.assign(node, {
    nowMs: 0,
    stepMs: 0,
    endTurn: () => {
      const tasks = deferred;
      deferred = [];
      for (const task of tasks) task();
    },
  });
  t.after(() => node.transport.close());
  return turns;
}

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!done()) {
    if (performance.now() > deadline) assert.fail(`never: ${what}`);
    await pause(2);
  }
}

async function member(node: TestTransport) {
  const client = await RawSocket.upgraded(node.port);
  const guest = node.guest();
  return { client, guest, handled: () => guest.received.length };
}

const numbered = (count: number, from = 0) => Array.from({ length: count }, (_, at) => `text ${from + at}`);
const messages = (count: number, from = 0) =>
  Buffer.concat(numbered(count, from).map((text) => frame({ payload: text.slice(5) })));

test('beyond its share a connection waits for later turns, in order; others do not', async (t) => {
  const node = await start(t, {});
  const busy = await member(node);
  const other = await member(node);
  busy.client.send(messages(25));
  await until('deferred', () => node.tally.deferred === 15);
  assert.equal(busy.handled(), 10);
  other.client.send(messages(3));
  await until('the other', () => other.handled() === 3);
  node.endTurn();
  assert.equal(busy.handled(), 20);
  // What comes now stands behind what waits, although the turn has room again.
  busy.client.send(messages(2, 25));
  await until('deferred again', () => node.tally.deferred === 17);
  node.endTurn();
  assert.deepEqual(busy.guest.received, numbered(27));
  node.endTurn();
  busy.client.send(messages(1, 27));
  await until('at once again', () => busy.handled() === 28);
  assert.equal(node.tally.deferred, 17);
});

test('the bytes of a turn are limited as well', async (t) => {
  const node = await start(t, { turnMessages: 1000, turnBytes: 1000 });
  const { client, handled } = await member(node);
  const block = frame({ payload: 'x'.repeat(400) });
  client.send(Buffer.concat(Array.from({ length: 7 }, () => block)));
  await until('deferred', () => node.tally.deferred === 4);
  assert.equal(handled(), 3);
  node.endTurn();
  assert.equal(handled(), 6);
  node.endTurn();
  assert.equal(handled(), 7);
});

test('more waiting than inboundQueueBytes ends the connection with 4101, and nothing of it is handled', async (t) => {
  const node = await start(t, { inboundQueueBytes: 20 * 520 });
  const { client, guest, handled } = await member(node);
  client.send(messages(100));
  assert.equal((await client.closing())?.code, 4101);
  assert.equal(guest.closed, 4101);
  node.endTurn();
  assert.equal(handled(), 10);
});

test('a connection that goes takes along what waits', async (t) => {
  const node = await start(t, {});
  const { client, guest, handled } = await member(node);
  client.send(messages(50));
  await until('deferred', () => node.tally.deferred === 40);
  client.reset();
  await until('closed', () => guest.closed !== undefined);
  node.endTurn();
  assert.equal(handled(), 10);
});

test('without rate limits nothing waits', async (t) => {
  const node = await start(t, { rates: false });
  const { client, handled } = await member(node);
  client.send(messages(5000));
  await until('all', () => handled() === 5000);
  assert.equal(node.tally.deferred, 0);
});

test('what waits has 4 ms of a turn together, and the connections take turns at it', async (t) => {
  const node = await start(t, { turnMessages: 10 });
  const members = await Promise.all([1, 2, 3].map(() => member(node)));
  const byGuest = node.guests.map((guest) => () => guest.received.length);
  for (const { client } of members) client.send(messages(100));
  await until('deferred', () => node.tally.deferred === 3 * 90);
  node.stepMs = 0.2;
  let turns = 0;
  let widest = 0;
  while (byGuest.some((handled) => handled() < 100)) {
    const before = byGuest.reduce((sum, handled) => sum + handled(), 0);
    node.endTurn();
    const after = byGuest.map((handled) => handled());
    const now = after.reduce((sum, each) => sum + each, 0);
    assert.ok(now - before > 0 && now - before <= 20, `${now - before} in one turn`);
    widest = Math.max(widest, Math.max(...after) - Math.min(...after));
    turns++;
  }
  assert.ok(turns >= 14, `${turns} turns`);
  assert.ok(widest <= 20, `one was ${widest} ahead`);
  for (const guest of node.guests) assert.deepEqual(guest.received, numbered(100));
});

test('a message that fails in a later turn costs itself only', async (t) => {
  let deferred: (() => void) | undefined;
  const handled: string[] = [];
  const node = await startTransport(
    {
      limits: { turnMessages: 1 },
      defer: (task) => {
        deferred = task;
      },
    },
    () => ({
      receive: (bytes) => {
        handled.push(Buffer.from(bytes).toString());
        if (handled.length === 2) throw new Error('a bug');
      },
      drained: () => {},
      closed: () => {},
    }),
  );
  t.after(() => node.transport.close());
  const client = await RawSocket.upgraded(node.port);
  client.send(messages(3));
  await until('deferred', () => node.tally.deferred === 2);
  deferred?.();
  deferred?.();
  assert.deepEqual(handled, ['0', '1', '2']);
  assert.deepEqual(node.log.errors, ['message failed']);
  client.destroy();
});

for (const opcode of [OPCODE.ping, OPCODE.pong]) {
  test(`frames of opcode ${opcode} cannot wait: more than a share of them ends the connection`, async (t) => {
    const node = await start(t, {});
    const { client, guest } = await member(node);
    const control = (count: number) => Buffer.concat(Array.from({ length: count }, () => frame({ opcode })));
    client.send(Buffer.concat([control(10), messages(10)]));
    await until('messages', () => guest.received.length === 10);
    assert.equal(guest.closed, undefined);
    node.endTurn();
    client.send(control(11));
    assert.equal((await client.closing())?.code, 4101);
  });
}
