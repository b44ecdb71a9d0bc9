/** What handshakes may take of a turn of the loop. The turns end when the test says so, and each step takes 1 ms. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Limits } from '../../src/broker/settings.ts';
import { type Handshake, handshakeText, RawSocket } from '../support/raw-socket.ts';
import { startTransport, type TestTransport } from './support/parts.ts';
import { pause } from './support/spawn.ts';

interface Turns extends TestTransport {
  /** Ends the turn: what was deferred runs, not what that defers. */
  endTurn(): void;
  users(): string[];
}

async function start(t: TestContext, limits: Partial<Limits>): Promise<Turns> {
  let deferred: (() => void)[] = [];
  let now = 0;
  const node = await startTransport({
    limits,
    defer: (task) => void deferred.push(task),
    nowMs: () => now++,
  });
  t.after(() => node.transport.close());
  return Object.assign(node, {
    endTurn: () => {
      const tasks = deferred;
      deferred = [];
      for (const task of tasks) task();
    },
    users: () => node.guests.map(({ identity }) => identity.user),
  });
}

const as = (token: string): Handshake => ({ headers: { Authorization: `Bearer ${token}` } });

async function until(what: string, done: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!done()) {
    if (performance.now() > deadline) assert.fail(`never: ${what}`);
    await pause(5);
  }
}

/** Clients who have sent their handshakes one after the other; each is open or waits. */
async function come(t: TestContext, node: Turns, tokens: readonly string[]): Promise<RawSocket[]> {
  const clients: RawSocket[] = [];
  for (const token of tokens) {
    const before = node.guests.length + node.tally.upgradesDeferred;
    const client = await RawSocket.open(node.port);
    t.after(() => client.destroy());
    client.send(handshakeText(as(token)));
    await until(`${token} has come`, () => node.guests.length + node.tally.upgradesDeferred > before);
    clients.push(client);
  }
  return clients;
}

const FIVE = ['known.a', 'known.b', 'known.c', 'known.d', 'known.e'];

test('handshakes beyond what a turn has for them wait in their order, and none is refused', async (t) => {
  const node = await start(t, { upgradeTurnMs: 2 });
  const clients = await come(t, node, FIVE);
  assert.deepEqual(node.users(), ['a', 'b']);
  assert.equal(node.tally.upgradesDeferred, 3);
  node.endTurn();
  assert.deepEqual(node.users(), ['a', 'b', 'c', 'd']);
  node.endTurn();
  assert.deepEqual(node.users(), ['a', 'b', 'c', 'd', 'e']);
  for (const client of clients) assert.equal((await client.answer()).status, 101);
  assert.equal(node.tally.upgrades.get('accepted'), 5);
});

test('a turn in which nothing waits any more has its whole share again', async (t) => {
  const node = await start(t, { upgradeTurnMs: 1 });
  await come(t, node, ['known.a', 'known.b']);
  node.endTurn();
  node.endTurn();
  await come(t, node, ['known.c']);
  assert.deepEqual(node.users(), ['a', 'b', 'c']);
  assert.equal(node.tally.upgradesDeferred, 1);
});

test('whoever comes while others wait does not overtake them', async (t) => {
  const node = await start(t, { upgradeTurnMs: 1 });
  await come(t, node, ['known.a', 'known.b', 'known.c']);
  node.endTurn();
  await come(t, node, ['known.d']);
  node.endTurn();
  node.endTurn();
  assert.deepEqual(node.users(), ['a', 'b', 'c', 'd']);
});

test('a client that leaves while it waits is forgotten', async (t) => {
  const node = await start(t, { upgradeTurnMs: 1 });
  const [, second] = await come(t, node, ['known.a', 'known.b', 'known.c']);
  second?.reset();
  await until('aborted', () => node.tally.upgrades.get('aborted') === 1);
  node.endTurn();
  node.endTurn();
  assert.deepEqual(node.users(), ['a', 'c']);
  assert.deepEqual(node.log.errors, []);
});

test('what limits.waitingUpgrades has no place for is handled at once', async (t) => {
  const node = await start(t, { upgradeTurnMs: 1, waitingUpgrades: 1 });
  await come(t, node, ['known.a', 'known.b', 'known.c']);
  assert.deepEqual(node.users(), ['a', 'c']);
  node.endTurn();
  assert.deepEqual(node.users(), ['a', 'c', 'b']);
});

test('a node that begins to drain refuses those who wait', async (t) => {
  const node = await start(t, { upgradeTurnMs: 1 });
  const [, second] = await come(t, node, ['known.a', 'known.b']);
  node.transport.stopAccepting();
  node.endTurn();
  assert.equal((await second?.answer())?.status, 503);
});

test('one that fails when its turn has come is answered, and the next one has its turn', async (t) => {
  const node = await start(t, { upgradeTurnMs: 1 });
  const [, second] = await come(t, node, ['known.a', 'break.b', 'known.c']);
  node.endTurn();
  node.endTurn();
  assert.equal((await second?.answer())?.status, 500);
  assert.deepEqual(node.users(), ['a', 'c']);
});

test('a token that was checked aside takes its place in the turns with the others', async (t) => {
  const node = await start(t, { upgradeTurnMs: 2 });
  const client = await RawSocket.open(node.port);
  t.after(() => client.destroy());
  client.send(handshakeText(as('slow.a')));
  await until('checked', () => node.verifier.verified === 1);
  await come(t, node, ['known.b', 'known.c']);
  await until('the check is over', () => node.tally.upgradesDeferred === 2);
  assert.deepEqual(node.users(), ['b']);
  node.endTurn();
  assert.deepEqual(node.users(), ['b', 'c', 'a']);
  assert.equal((await client.answer()).status, 101);
});
