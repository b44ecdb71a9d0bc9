/** What revocations and bans do to those who are connected, come back, or refresh; and how the broker bans by itself. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { BannedBy, BanTarget } from '../../../src/broker/exclusion/bans.ts';
import { Sweep } from '../../../src/broker/exclusion/sweep.ts';
import type { Identity, TokenVerifier } from '../../../src/broker/ports.ts';
import { exclusionsOf, memoryCluster } from '../../support/exclusions.ts';
import { QUIET, SimNode, type SimOptions, type SimSocket } from '../../support/sim.ts';

const ADDRESS = '127.0.0.1';

async function started(t: TestContext, options: SimOptions = {}): Promise<SimNode> {
  const node = new SimNode(options);
  await node.stores.start();
  t.after(() => node.stores.close());
  return node;
}

function identity(user: string, more: Partial<Identity> = {}): Identity {
  return { user, tenant: 'default', rooms: [], ...more };
}

function ticketOf(socket: SimSocket): string {
  const info = socket.received.find(({ type }) => type === 'server_info');
  assert.ok(info?.type === 'server_info' && info.ticket !== undefined);
  return info.ticket;
}

async function banned(node: SimNode, target: BanTarget): Promise<string> {
  const ban = await node.exclusions.bans.ban(target, 'spam', 'admin', 60);
  assert.ok(ban.ok);
  node.settle();
  return ban.id;
}

test('who is revoked is closed with 4001, and nobody else', async (t) => {
  const node = await started(t);
  const { revocations } = node.exclusions;
  const byToken = node.connect('ann', { tokenId: 't1' });
  const byUser = node.connect('bob', { issuedAt: 1 });
  const later = node.connect('bob', { issuedAt: 20 });
  const bySession = node.connect('cid');
  const same = node.connect('cid');
  await revocations.revoke({ kind: 'token', tokenId: 't1' }, 'leaked');
  await revocations.revoke({ kind: 'user', user: 'bob', before: 10 }, '');
  const [info] = bySession.received;
  assert.ok(info?.type === 'server_info');
  await revocations.revoke({ kind: 'session', session: info.session }, '');
  node.settle();
  const closed = [byToken, byUser, later, bySession, same].map(({ closedWith }) => closedWith);
  assert.deepEqual(closed, [4001, 4001, undefined, 4001, undefined]);
});

test('tickets of the revoked and of the banned are refused; other tickets are not', async (t) => {
  const node = await started(t);
  const sockets = ['ann', 'bob', 'cid', 'dan'].map((user) => node.connect(user, { tokenId: `t-${user}` }));
  const tickets = sockets.map(ticketOf);
  for (const socket of sockets) socket.end(1006);
  const [, , cid] = tickets.map((ticket) => node.hub.openTicket(ticket));
  assert.ok(cid?.ok);
  await node.exclusions.revocations.revoke({ kind: 'token', tokenId: 't-ann' }, '');
  await banned(node, { kind: 'user', user: 'bob' });
  await node.exclusions.revocations.revoke({ kind: 'session', session: cid.resumes.session }, '');
  const refused = tickets.map((ticket) => {
    const verdict = node.hub.openTicket(ticket);
    assert.ok(verdict.ok);
    return node.exclusions.of(verdict.identity, ADDRESS, verdict.resumes.session);
  });
  assert.deepEqual(
    refused.map((refusal) => refusal && [refusal.code, refusal.by]),
    [['unauthorized', 'revoked'], ['forbidden', 'banned_identity'], ['unauthorized', 'revoked'], undefined],
  );
  // With the token behind a revoked session another one can begin.
  assert.equal(node.exclusions.of(identity('cid'), ADDRESS), undefined);
});

test('who is banned is closed with 4003 and kept out until the ban is lifted', async (t) => {
  const node = await started(t);
  const targets: readonly BanTarget[] = [
    { kind: 'user', user: 'ann' },
    { kind: 'tenant', tenant: 'default' },
    { kind: 'network', network: '127.0.0.0/8' },
  ];
  for (const target of targets) {
    const ann = node.connect('ann');
    const other = node.connect('bob', { tenant: 'other' });
    const id = await banned(node, target);
    assert.equal(ann.closedWith, 4003, target.kind);
    assert.equal(other.closedWith, target.kind === 'network' ? 4003 : undefined, target.kind);
    assert.equal(node.exclusions.of(identity('ann'), ADDRESS)?.reason, 'banned: spam');
    await node.exclusions.bans.unban(id);
    assert.equal(node.exclusions.of(identity('ann'), ADDRESS), undefined);
  }
});

test('a refresh with a revoked token is refused, though the verifier knows the token as good', async (t) => {
  const good: TokenVerifier = {
    known: (token) => ({ ok: true, identity: identity('ann', { tokenId: token }) }),
    verify: async (token) => ({ ok: true, identity: identity('ann', { tokenId: token }) }),
  };
  const node = await started(t, { verifier: good });
  await node.exclusions.revocations.revoke({ kind: 'token', tokenId: 't1' }, 'leaked');
  for (const passage of [node.hub.gate.known('t1', {}), await node.hub.gate.verify('t1', {})])
    assert.deepEqual(passage?.ok === false && [passage.code, passage.reason], [
      'unauthorized',
      'revoked: leaked',
    ]);
  assert.equal((await node.hub.gate.verify('t2', {})).ok, true);
  const ann = node.connect('ann');
  ann.take();
  ann.write({ type: 'refresh', id: 1, token: 't1' });
  node.settle();
  const [error] = ann.take();
  assert.ok(error?.type === 'error');
  assert.deepEqual([error.code, error.id, ann.closedWith], ['unauthorized', 1, undefined]);
});

test('many sessions are looked at over several turns; changes in a burst share a round', () => {
  const ended = new Set<number>();
  const sessions = new Map(
    Array.from({ length: 1000 }, (_, n) => [`s${n}`, { n, end: () => void ended.add(n) }] as const),
  );
  let tasks: (() => void)[] = [];
  let timers: number[] = [];
  const looks: string[] = [];
  let now = 0;
  const sweep = new Sweep({
    sessions,
    excluded: ({ n }, causes: ReadonlySet<string>) => {
      looks.push([...causes].join('+'));
      return n % 400 === 0 ? { close: 'forbidden', reason: '' } : undefined;
    },
    defer: (task) => void tasks.push(task),
    after: (ms, task) => {
      timers.push(ms);
      tasks.push(task);
    },
    // Each look at the time is half of what a turn may take: 100 sessions.
    ticks: () => (now += 0.5),
  });
  const turn = () => {
    const before = looks.length;
    const due = tasks;
    tasks = [];
    for (const task of due) task();
    return looks.length - before;
  };
  sweep.changed('a');
  sweep.changed('b');
  sweep.changed('a');
  assert.equal(tasks.length, 1);
  const turns = Array.from({ length: 11 }, turn);
  assert.deepEqual(turns, [...new Array<number>(10).fill(100), 0]);
  assert.deepEqual([...ended], [0, 400, 800]);
  assert.deepEqual([...new Set(looks)], ['a+b']);
  // Soon after: not at once. What comes during a round brings another one.
  now += 50;
  sweep.changed('c');
  assert.ok((timers[0] ?? 0) > 140 && (timers[0] ?? 0) <= 150, `${timers}`);
  timers = [];
  turn();
  sweep.changed('d');
  for (let n = 0; n < 9; n++) assert.equal(turn(), 100);
  assert.equal(timers.length, 1);
  assert.equal(turn(), 100);
  assert.equal(looks.at(-1), 'd');
});

test('who connects too often within the window is banned, for a time', async (t) => {
  const node = await started(t, { abuse: { userConnects: 5, windowMs: 10_000, banMs: 30_000 } });
  const connects = async (count: number) => {
    for (let n = 0; n < count; n++) node.connect('ann').end(1000);
    await new Promise((resolve) => setImmediate(resolve));
    node.settle();
    return node.exclusions.of(identity('ann'), ADDRESS)?.reason;
  };
  assert.equal(await connects(5), undefined);
  assert.equal(await connects(1), 'banned: too many connects');
  assert.equal(node.exclusions.of(identity('bob'), ADDRESS), undefined);
  assert.deepEqual(
    node.exclusions.bans.list(10).map(({ by, until = 0 }) => [by, until - node.now] as const),
    [['flapping' satisfies BannedBy, 30_000]],
  );
  node.pass(30_001);
  assert.equal(node.exclusions.bans.size, 0);
  assert.equal(node.exclusions.of(identity('ann'), ADDRESS), undefined);
  // The window has passed as well: five more are free.
  assert.equal(await connects(5), undefined);
});

test('who breaks the protocol again and again is banned; who is closed for other reasons is not', async (t) => {
  const node = await started(t, { abuse: { offences: 3 }, limits: { protocolErrors: 1 } });
  const offend = () => {
    const socket = node.connect('eve');
    for (let n = 0; n < 3; n++) socket.write({ type: 'nonsense' });
    assert.equal(socket.closedWith, 4002);
  };
  for (let n = 0; n < 10; n++) node.connect('ann').end(4102);
  for (let n = 0; n < 3; n++) offend();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(node.exclusions.of(identity('eve'), ADDRESS), undefined);
  offend();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(node.exclusions.of(identity('eve'), ADDRESS)?.code, 'forbidden');
  assert.equal(node.exclusions.of(identity('ann'), ADDRESS), undefined);
});

test('addresses are banned as limits count them, this machine never; no more bans than bansMax', async (t) => {
  const clock = { now: () => 1_700_000_000_000 };
  const cluster = memoryCluster(clock, QUIET);
  const { abuse, bans } = exclusionsOf(cluster, clock, QUIET, { addressConnects: 1, bansMax: 3 });
  await cluster.start();
  t.after(() => cluster.close());
  const addresses = [
    '127.0.0.1',
    '::1',
    'unknown',
    'a:b',
    '203.0.113.1',
    '2001:db8::1',
    '10.0.0.1',
    '10.0.0.2',
  ];
  for (const address of addresses) {
    for (let n = 0; n < 3; n++) abuse.connected(identity('ann'), address);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const networks = bans.list(10).map((ban) => (ban.kind === 'network' ? ban.network : ban.kind));
  assert.deepEqual(networks.sort(), ['10.0.0.1', '2001:db8::/64', '203.0.113.1']);
  assert.ok(bans.ofAddress('2001:db8::ffff'));
});
