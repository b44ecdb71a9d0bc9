/** Revocations and bans over a store: what they refuse, for how long, and what of it a restart keeps. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BanTarget } from '../../../src/broker/exclusion/bans.ts';
import type { Identity } from '../../../src/broker/ports.ts';
import { exclusionsOf, memoryCluster } from '../../support/exclusions.ts';
import { QUIET } from '../../support/sim.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

function ann(more: Partial<Identity> = {}): Identity {
  return { user: 'ann', tenant: 'acme', rooms: [], issuedAt: 1_700_000_000, ...more };
}

async function node(dir?: string, time = { now: 1_700_000_100_000 }) {
  const clock = { now: () => time.now };
  const cluster = memoryCluster(clock, QUIET, dir);
  const { revocations, bans } = exclusionsOf(cluster, clock, QUIET);
  await cluster.start();
  return { cluster, revocations, bans, time };
}

test('a token by its jti, in one tenant or in all', async () => {
  const { revocations, cluster } = await node();
  assert.ok((await revocations.revoke({ kind: 'token', tokenId: 't1', tenant: 'acme' }, 'leaked')).ok);
  assert.equal(revocations.of(ann({ tokenId: 't1' })), 'revoked: leaked');
  assert.equal(revocations.of(ann({ tokenId: 't1', tenant: 'other' })), undefined);
  assert.equal(revocations.of(ann({ tokenId: 't2' })), undefined);
  assert.equal(revocations.of(ann()), undefined);
  await revocations.revoke({ kind: 'token', tokenId: 't1' }, '');
  assert.equal(revocations.of(ann({ tokenId: 't1', tenant: 'other' })), 'revoked');
  await cluster.close();
});

test('tokens of a user issued before a time: a later one is good, one that does not say when is not', async () => {
  const { revocations, cluster } = await node();
  await revocations.revoke({ kind: 'user', user: 'ann', tenant: 'acme', before: 1_700_000_050 }, 'r');
  const refused = (issuedAt: number | undefined, more = {}) =>
    revocations.of({ ...ann(more), ...(issuedAt === undefined ? {} : { issuedAt }) }) !== undefined;
  assert.deepEqual(
    [1_700_000_049, 1_700_000_050].map((at) => refused(at)),
    [true, false],
  );
  const { issuedAt: _issuedAt, ...timeless } = ann();
  assert.equal(revocations.of(timeless), 'revoked: r');
  assert.equal(refused(1, { tenant: 'other' }), false);
  assert.equal(refused(1, { user: 'bob' }), false);
  // An earlier time named afterwards takes nothing back.
  await revocations.revoke({ kind: 'user', user: 'ann', tenant: 'acme', before: 1_700_000_010 }, 'r');
  assert.equal(refused(1_700_000_049), true);
  // Without a time: up to now. Two texts that put together are the same are not the same.
  await revocations.revoke({ kind: 'user', user: 'cd', tenant: 'ab' }, 'r');
  assert.equal(refused(1_700_000_099, { user: 'cd', tenant: 'ab' }), true);
  assert.equal(refused(1_700_000_101, { user: 'cd', tenant: 'ab' }), false);
  assert.equal(refused(1, { user: 'd', tenant: 'abc' }), false);
  await cluster.close();
});

test('a time in the future is refused: that is what bans are for', async () => {
  const { revocations, cluster } = await node();
  const revoked = await revocations.revoke({ kind: 'user', user: 'ann', before: 1_700_000_200 }, 'r');
  assert.deepEqual(revoked, { ok: false, why: 'future' });
  assert.equal(revocations.size, 0);
  await cluster.close();
});

test('two that revoke the same user at once: the later time holds, whoever was first', async () => {
  const { revocations, cluster } = await node();
  const times = [30, 50, 10, 40].map((second) => 1_700_000_000 + second);
  const done = await Promise.all(
    times.map((before) => revocations.revoke({ kind: 'user', user: 'ann', before }, 'r')),
  );
  assert.ok(done.every(({ ok }) => ok));
  assert.equal(revocations.of(ann({ issuedAt: 1_700_000_049 })), 'revoked: r');
  await cluster.close();
});

test('a revocation is forgotten when nothing can come any more that it refuses', async () => {
  const { revocations, cluster, time } = await node();
  const begun = time.now;
  const until = async (target: Parameters<typeof revocations.revoke>[0]) => {
    const revoked = await revocations.revoke(target, 'r');
    assert.ok(revoked.ok);
    return revoked.until - begun;
  };
  const slack = 60 * SECOND;
  assert.equal(await until({ kind: 'token', tokenId: 'a' }), HOUR + slack);
  assert.equal(await until({ kind: 'token', tokenId: 'b', exp: begun / SECOND + 600 }), 600 * SECOND + slack);
  assert.equal(
    await until({ kind: 'user', user: 'ann', before: begun / SECOND - 600 }),
    HOUR - 600 * SECOND + slack,
  );
  assert.equal(await until({ kind: 'session', session: 's' }), 180 * SECOND + slack);
  assert.equal(revocations.ofSession('s', 'default'), 'revoked: r');
  time.now = begun + 241 * SECOND;
  // The store sweeps by a timer of its own; reading its size does so as well.
  assert.equal(revocations.size, 3);
  assert.equal(revocations.ofSession('s', 'default'), undefined);
  time.now = begun + HOUR + 61 * SECOND;
  assert.equal(revocations.size, 0);
  assert.equal(revocations.of(ann({ tokenId: 'a', issuedAt: 1 })), undefined);
  await cluster.close();
});

test('bans by user, address, network and tenant; lifted, they are over', async () => {
  const { bans, cluster } = await node();
  const ban = async (target: BanTarget) => {
    const banned = await bans.ban(target, 'spam', 'admin');
    assert.ok(banned.ok);
    return banned.id;
  };
  const user = await ban({ kind: 'user', user: 'ann', tenant: 'acme' });
  assert.equal(bans.of(ann())?.reason, 'spam');
  assert.equal(bans.of(ann({ tenant: 'other' })), undefined);
  const everywhere = await ban({ kind: 'user', user: 'ann' });
  assert.equal(bans.of(ann({ tenant: 'other' }))?.reason, 'spam');
  const tenant = await ban({ kind: 'tenant', tenant: 'acme' });
  assert.equal(bans.of(ann({ user: 'bob' }))?.kind, 'tenant');
  const network = await ban({ kind: 'network', network: '203.0.113.77/24' });
  await ban({ kind: 'network', network: '2001:db8::5' });
  const addresses = [
    '203.0.113.9',
    '::ffff:203.0.113.9',
    '203.0.112.9',
    '2001:db8:0::5',
    '2001:db8::6',
    'unknown',
  ];
  assert.deepEqual(
    addresses.map((address) => bans.ofAddress(address)?.kind === 'network'),
    [true, true, false, true, false, false],
  );
  assert.deepEqual(
    bans.list(10).map(({ id }) => id),
    [...new Set(bans.list(10).map(({ id }) => id))].sort(),
  );
  assert.equal(bans.list(10).length, 5);
  assert.deepEqual(bans.list(2, bans.list(2)[1]?.id), bans.list(10).slice(2, 4));
  for (const id of [user, everywhere, tenant, network])
    assert.deepEqual(await bans.unban(id), { ok: true, found: true });
  assert.deepEqual(await bans.unban(user), { ok: true, found: false });
  assert.equal(bans.of(ann()), undefined);
  assert.equal(bans.ofAddress('203.0.113.9'), undefined);
  await cluster.close();
});

test('a ban of the same target takes the place of the first; its time ends it', async () => {
  const { bans, cluster, time } = await node();
  const first = await bans.ban({ kind: 'network', network: '10.0.0.1' }, 'a', 'admin', 60);
  const second = await bans.ban({ kind: 'network', network: '::ffff:10.0.0.1/128' }, 'b', 'admin', 10);
  assert.ok(first.ok && second.ok);
  assert.deepEqual([first.id, second.until], [second.id, time.now + 10 * SECOND]);
  assert.equal(bans.ofAddress('10.0.0.1')?.reason, 'b');
  time.now += 9 * SECOND;
  assert.equal(bans.size, 1);
  time.now += SECOND;
  assert.equal(bans.size, 0);
  assert.equal(bans.ofAddress('10.0.0.1'), undefined);
  await cluster.close();
});

test('what is no network, and what would shut everybody out, cannot be banned', async () => {
  const { bans, cluster } = await node();
  for (const network of ['0.0.0.0/0', '10.0.0.0/7', '::/0', '2001::/15', 'example.com'])
    assert.deepEqual(await bans.ban({ kind: 'network', network }, 'r', 'admin'), {
      ok: false,
      why: 'bad_network',
    });
  await cluster.close();
});

test('both survive a restart where the stores have a folder', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'carillon-exclusion-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const before = await node(dir);
  await before.revocations.revoke({ kind: 'token', tokenId: 't1' }, 'leaked');
  await before.bans.ban({ kind: 'network', network: '10.0.0.0/8' }, 'spam', 'admin');
  await before.cluster.close();
  const { revocations, bans, cluster } = await node(dir, before.time);
  assert.equal(revocations.of(ann({ tokenId: 't1' })), 'revoked: leaked');
  assert.equal(bans.ofAddress('10.9.9.9')?.reason, 'spam');
  await cluster.close();
});

test('a full store and one that is not there yet are told', async () => {
  const time = { now: 1_700_000_000_000 };
  const clock = { now: () => time.now };
  const cluster = memoryCluster(clock, QUIET);
  const { revocations, bans } = exclusionsOf(cluster, clock, QUIET);
  assert.deepEqual(await revocations.revoke({ kind: 'session', session: 's' }, ''), {
    ok: false,
    why: 'unavailable',
  });
  await cluster.start();
  for (let n = 0; n < 1000; n++)
    assert.ok((await bans.ban({ kind: 'tenant', tenant: `t${n}` }, '', 'admin')).ok);
  assert.deepEqual(await bans.ban({ kind: 'tenant', tenant: 'more' }, '', 'admin'), {
    ok: false,
    why: 'full',
  });
  // Bans of the broker's own have a store of their own.
  assert.ok((await bans.ban({ kind: 'tenant', tenant: 'more' }, '', 'abuse')).ok);
  await cluster.close();
});
