import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TicketKeys } from '../../src/auth/ticket-keys.ts';
import { createTickets } from '../../src/auth/tickets.ts';
import type { Store } from '../../src/broker/cluster.ts';
import { MemoryCluster } from '../../src/bus/memory/cluster.ts';
import { SETTINGS, STATE, STATUS } from '../contract/cluster/subject.ts';
import { QUIET } from '../support/log.ts';

const IDENTITY = { user: 'ann', tenant: 'default', rooms: [] };
const PLACE = { session: 's', generation: 1 };
const TTL = 180;
const ROTATE = 3600;

function world() {
  const clock = { time: 1_700_000_000_000, now: () => clock.time };
  const cluster = new MemoryCluster({
    node: 'n1',
    incarnation: 'i1',
    status: () => STATUS,
    settings: SETTINGS,
    limits: STATE,
    dir: undefined,
    clock,
    log: QUIET,
  });
  const store = cluster.store('ticket-keys');
  let nodes = 0;
  const node = async () => {
    const fallback = new Uint8Array(32).fill(++nodes);
    const keys = new TicketKeys({
      store,
      ttlSeconds: TTL,
      rotateSeconds: ROTATE,
      fallback,
      clock,
      log: QUIET,
    });
    await keys.start();
    return { keys, tickets: createTickets({ secrets: keys.secrets, ttlSeconds: TTL }, clock) };
  };
  return { clock, cluster, store, node };
}

const keysIn = (store: Store) => [...store.entries()].length;

test('nodes that share a store take each other’s tickets, from the first one on', async () => {
  const { cluster, store, node } = world();
  await cluster.start();
  const [one, other] = [await node(), await node()];
  assert.equal(keysIn(store), 1, 'one key, whoever came first');
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const)
    assert.equal(to.tickets.open(from.tickets.issue(IDENTITY, PLACE) as string).ok, true);
  await cluster.close();
});

test('a new stretch gets a new key, which signs once all have it; the old one opens its tickets to their end', async () => {
  const { clock, cluster, store, node } = world();
  await cluster.start();
  const { keys, tickets } = await node();
  const [first] = keys.secrets();
  clock.time += ROTATE * 1000;
  const old = tickets.issue(IDENTITY, PLACE) as string;
  keys.tick();
  await new Promise(setImmediate);
  assert.equal(keysIn(store), 2);
  assert.equal(keys.secrets()[0], first, 'others may not have heard of the new one yet');
  clock.time += 5000;
  keys.tick();
  const [second] = keys.secrets();
  assert.notDeepEqual(second, first);
  assert.equal(tickets.open(old).ok, true);
  const later = await node();
  assert.equal(later.tickets.open(tickets.issue(IDENTITY, PLACE) as string).ok, true);
  await cluster.close();
});

test('without a store that takes a key tickets are the node’s own, and those go on when it has one', async () => {
  const { cluster, store, node } = world();
  await cluster.start();
  const away: Store = {
    name: store.name,
    ready: false,
    size: 0,
    get: () => undefined,
    entries: () => [],
    watch: (heard) => store.watch(heard),
    put: async () => ({ ok: false, why: 'unavailable' }),
    delete: async () => ({ ok: false, why: 'unavailable' }),
  };
  const clock = { now: () => 1_700_000_000_000 };
  const fallback = new Uint8Array(32).fill(9);
  const keys = new TicketKeys({
    store: away,
    ttlSeconds: TTL,
    rotateSeconds: ROTATE,
    fallback,
    clock,
    log: QUIET,
  });
  await keys.start();
  const tickets = createTickets({ secrets: keys.secrets, ttlSeconds: TTL }, clock);
  const own = tickets.issue(IDENTITY, PLACE) as string;
  assert.equal(tickets.open(own).ok, true);
  const other = await node();
  assert.equal(
    tickets.open(other.tickets.issue(IDENTITY, PLACE) as string).ok,
    true,
    'the key came by the watch',
  );
  assert.equal(tickets.open(own).ok, true);
  await cluster.close();
});
