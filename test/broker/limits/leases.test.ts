/** Several nodes' leases over one store: what they accept in all, and how fast a share goes where it is needed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Store } from '../../../src/broker/cluster.ts';
import { admitConnection } from '../../../src/broker/limits/admission.ts';
import { Leases } from '../../../src/broker/limits/leases.ts';
import { Policies, type PolicyOverride, UNLIMITED } from '../../../src/broker/limits/policy.ts';
import type { Tenant, TenantMember } from '../../../src/broker/limits/tenant.ts';
import { Tenants } from '../../../src/broker/limits/tenants.ts';
import { MemoryCluster } from '../../../src/bus/memory/cluster.ts';
import { QUIET } from '../../support/sim.ts';

const TIMES = { leaseMs: 10_000, skewMs: 1000 };
const MEMBER: TenantMember = { id: 'm', policyChanged: () => {}, end: () => {} };

class Clock {
  #time = Date.UTC(2030, 0, 1);
  #tasks: { readonly at: number; readonly task: () => void }[] = [];

  get time(): number {
    return this.#time;
  }

  /** Runs what has become due. */
  set time(time: number) {
    this.#time = time;
    const due = this.#tasks.filter(({ at }) => at <= time);
    this.#tasks = this.#tasks.filter(({ at }) => at > time);
    for (const { task } of due) task();
  }

  now(): number {
    return this.#time;
  }

  after(ms: number, task: () => void): void {
    this.#tasks.push({ at: this.#time + ms, task });
  }
}

class Node {
  readonly leases: Leases;
  readonly tenant: Tenant;
  readonly tenants: Tenants;
  readonly #clock: Clock;
  connections = 0;

  constructor(holder: string, store: Store, policy: PolicyOverride, clock: Clock) {
    this.#clock = clock;
    this.tenants = new Tenants(new Policies({ ...UNLIMITED, ...policy }), true, clock);
    this.leases = new Leases({
      store,
      holder,
      tenants: this.tenants,
      times: TIMES,
      waiting: 10,
      connected: () => true,
      nodes: () => 2,
      clock,
      after: (ms, task) => clock.after(ms, task),
      log: QUIET,
    });
    this.tenant = this.tenants.of('acme');
  }

  offer(times: number, payload = '1'): number {
    let accepted = 0;
    for (let at = 0; at < times; at++)
      if (this.tenant.admitPublish(payload, this.#clock) === undefined) accepted++;
    return accepted;
  }

  connect(): boolean {
    const user = `u${this.connections}`;
    if (admitConnection(this.tenant, { user }, 0, 0) !== undefined) return false;
    this.tenant.arrived(user, MEMBER);
    this.connections++;
    return true;
  }
}

async function cluster(count: number, policy: PolicyOverride) {
  const clock = new Clock();
  const store = new MemoryCluster({
    node: 'a',
    incarnation: '1',
    status: () => ({ connections: 0, acceptsPerSecond: 0, loopLagMs: 0, draining: false }),
    settings: {
      heartbeatMs: 2000,
      missed: 3,
      messageBytes: 65_536,
      leaseMs: 10_000,
      askMs: 500,
      skewMs: 1000,
      skewWarnMs: 1000,
    },
    limits: { entries: 1000, bytes: 1_000_000, valueBytes: 65_536 },
    clock,
    log: QUIET,
  });
  await store.start();
  const nodes = Array.from(
    { length: count },
    (_, at) => new Node(`n${at}`, store.store('leases'), policy, clock),
  );
  /** A quarter of a second: every node looks at its leases once. */
  const quarter = async (live: readonly Node[] = nodes) => {
    clock.time += 250;
    for (const node of live) {
      node.leases.tick();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { clock, nodes, quarter, store: store.store('leases'), close: () => store.close() };
}

test('four nodes offered ten times the rate of a tenant accept the rate, and no more than the bound', async () => {
  const { nodes, quarter, close } = await cluster(4, { publish: { perSecond: 1000, burst: 1000 } });
  for (const node of nodes) for (let at = 0; at < 3; at++) node.connect();
  let accepted = 0;
  const seconds = 20;
  for (let at = 0; at < seconds * 4; at++) {
    await quarter();
    for (const node of nodes) accepted += node.offer(625);
  }
  const bound = (1000 + 4 * 10) * seconds + 1000;
  assert.ok(accepted <= bound, `${accepted} of ${bound}`);
  assert.ok(accepted >= 1000 * seconds * 0.9, `only ${accepted}`);
  await close();
});

test('the share goes where the publishes are, within a second', async () => {
  const { nodes, quarter, close } = await cluster(4, { publish: { perSecond: 1000, burst: 1000 } });
  for (const node of nodes) node.connect();
  for (let at = 0; at < 40; at++) {
    await quarter();
    nodes[0]?.offer(300);
  }
  for (let at = 0; at < 4; at++) {
    await quarter();
    nodes[3]?.offer(300);
  }
  const share = nodes[3]?.tenant.share.publish.perSecond ?? 0;
  assert.ok(share > 400, `${share}`);
  await close();
});

test('five hundred connections over four nodes, however many try; a dead node gives its own back in time', async () => {
  const { nodes, quarter, clock, close } = await cluster(4, { connections: 500 });
  const [first] = nodes as [Node, ...Node[]];
  for (let at = 0; at < 40; at++) {
    await quarter();
    for (const node of nodes) for (let tries = 0; tries < 40; tries++) node.connect();
  }
  const total = nodes.reduce((sum, node) => sum + node.connections, 0);
  assert.ok(total <= 500 + 4 * 5, `${total}`);
  assert.ok(total >= 490, `only ${total}`);
  const live = nodes.slice(1);
  const before = live.reduce((sum, node) => sum + node.connections, 0);
  const diedAt = clock.time;
  while (clock.time < diedAt + TIMES.leaseMs + TIMES.skewMs + 1500) {
    await quarter(live);
    for (const node of live) for (let tries = 0; tries < 40; tries++) node.connect();
  }
  const after = live.reduce((sum, node) => sum + node.connections, 0);
  assert.ok(after >= before + first.connections - 10, `${before} and ${first.connections}, now ${after}`);
  assert.ok(after <= 500 + 3 * 5, `${after}`);
  await close();
});

test('bytes of a day over all nodes; what a closed node has not used goes back', async () => {
  const { nodes, quarter, close } = await cluster(2, { bytesPerDay: 10_000 });
  const [one, two] = nodes as [Node, Node];
  one.connect();
  two.connect();
  let accepted = 0;
  for (let at = 0; at < 400; at++) {
    await quarter();
    accepted += one.offer(3, '"12345678"');
  }
  assert.ok(accepted <= 1000 + 20 && accepted >= 900, `${accepted}`);
  await one.leases.close();
  for (let at = 0; at < 40; at++) {
    await quarter([two]);
    accepted += two.offer(3, '"12345678"');
  }
  assert.ok(accepted <= 1000 + 20 && accepted >= 980, `${accepted}`);
  const refused = two.tenant.admitPublish('"12345678"', { now: () => Date.UTC(2030, 0, 1, 1) });
  assert.equal(refused?.code, 'quota_exceeded');
  await close();
});

for (const count of [1, 3])
  test(`a tenant that is over its limits for long on ${count} node(s) costs few writes`, async () => {
    const { clock, nodes, quarter, store, close } = await cluster(count, {
      connections: 6,
      publish: { perSecond: 10, burst: 10 },
    });
    for (const node of nodes) node.connect();
    let writes = 0;
    store.watch(() => writes++);
    for (let at = 0; at < 240; at++) {
      await quarter();
      for (const node of nodes) {
        node.offer(100);
        if (!node.connect()) node.leases.awaitPlace(node.tenant, 500);
        clock.time += 10;
      }
    }
    assert.ok(writes <= 60 * count, `${writes} in a minute`);
    await close();
  });

test('a node whose tenant has gone leaves nothing in the store', async () => {
  const { nodes, quarter, store, close } = await cluster(1, { publish: { perSecond: 10, burst: 10 } });
  const [node] = nodes as [Node];
  await quarter();
  assert.equal(store.size, 1);
  node.tenants.tick(Date.UTC(2031, 0, 1));
  await quarter();
  await quarter();
  assert.equal(store.size, 0);
  await close();
});

/** Everything that the nodes write and answer at once, without a tick. */
async function settled(clock: Clock): Promise<void> {
  for (let turn = 0; turn < 20; turn++) {
    clock.time += 10;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('what does not fit is asked for at once: a handshake waits, and gets what another node has to spare', async () => {
  const { nodes, clock, close } = await cluster(2, { connections: 20 });
  const [one, two] = nodes as [Node, Node];
  await settled(clock);
  for (let at = 0; at < 5; at++) assert.ok(one.connect());
  for (let at = 0; at < 8; at++) {
    if (two.connect()) continue;
    const wait = two.leases.awaitPlace(two.tenant, 500);
    assert.ok(wait !== undefined, `${at}`);
    const begun = clock.time;
    await Promise.all([wait.over, settled(clock)]);
    assert.ok(clock.time - begun < 500);
    assert.ok(two.connect(), `${at}`);
  }
  await close();
});

test('a handshake of a full tenant waits in vain once; then who comes is refused at once, until somebody leaves', async () => {
  const { nodes, clock, quarter, close } = await cluster(2, { connections: 4 });
  const [one, two] = nodes as [Node, Node];
  await settled(clock);
  while (one.connect()) await settled(clock);
  const wait = two.leases.awaitPlace(two.tenant, 500);
  while (two.connect());
  assert.equal(one.connections + two.connections <= 5, true);
  const again = two.leases.awaitPlace(two.tenant, 500) ?? wait;
  assert.ok(again !== undefined);
  for (let at = 0; at < 3; at++) await settled(clock);
  await again.over;
  assert.equal(two.leases.awaitPlace(two.tenant, 500), undefined);
  const refused = admitConnection(two.tenant, { user: 'x' }, 0, 0);
  assert.deepEqual([refused?.limit, refused?.reason], [4, 'the tenant may have 4 connections']);
  assert.equal(refused?.used, one.connections + two.connections);
  const before = two.tenant.share.connections;
  for (const user of ['u0', 'u1']) one.tenant.departed(user, MEMBER);
  for (let at = 0; at < 4; at++) await quarter();
  assert.ok(two.tenant.share.connections > before, `${two.tenant.share.connections}`);
  await close();
});

test('no more handshakes of a tenant wait than may', async () => {
  const { nodes, clock, close } = await cluster(2, { connections: 4 });
  const [one, two] = nodes as [Node, Node];
  await settled(clock);
  while (one.connect()) await settled(clock);
  while (two.connect());
  const waits = Array.from({ length: 12 }, () => two.leases.awaitPlace(two.tenant, 500));
  assert.equal(waits.filter((wait) => wait !== undefined).length, 10);
  waits[0]?.cancel();
  assert.ok(two.leases.awaitPlace(two.tenant, 500) !== undefined);
  await close();
});

test('a publish that does not fit is fitted in after some milliseconds, not after a sample', async () => {
  const { nodes, clock, close } = await cluster(2, {
    publish: { perSecond: 1000, burst: 1000 },
    bytesPerDay: 1_000_000,
  });
  const [one, two] = nodes as [Node, Node];
  for (const node of nodes) node.connect();
  await settled(clock);
  assert.equal(one.offer(100), 100);
  for (let tries = 0; tries < 20 && two.offer(1) === 0; tries++) await settled(clock);
  await settled(clock);
  assert.equal(two.offer(100), 100);
  const large = 'x'.repeat(100_000);
  const first = two.tenant.admitPublish(large, clock);
  if (first !== undefined) {
    assert.deepEqual([first.limit, first.reason], [1_000_000, 'the tenant may publish 1000000 bytes a day']);
    assert.ok((first.retryAfterMs ?? 0) <= 250);
    await settled(clock);
    assert.equal(two.tenant.admitPublish(large, clock), undefined);
  }
  await close();
});
