/** Handshakes of the banned: refused at once, or held for a while, a bounded number of them. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Exclusion } from '../../src/broker/exclusion/exclusions.ts';
import { type Handshake, handshakeText, RawSocket } from '../support/raw-socket.ts';
import { buildTransport, startTransport } from './support/parts.ts';
import { pause } from './support/spawn.ts';

const BAN: Exclusion = {
  by: 'banned_address',
  code: 'forbidden',
  close: 'forbidden',
  reason: 'banned: spam',
};
const HOLD_MS = 150;

const from = (address: string, token = 'known.ann'): Handshake => ({
  headers: { 'X-Forwarded-For': address, Authorization: `Bearer ${token}` },
});

async function start(t: TestContext, holdMs: number, max = 2) {
  const excluded = (address: string) => (address === '6.6.6.6' ? BAN : undefined);
  const node = await startTransport({ proxyHops: 1, excluded, tarpit: { holdMs, max } });
  t.after(() => node.transport.close());
  return node;
}

async function asking(t: TestContext, port: number, handshake: Handshake) {
  const client = await RawSocket.open(port);
  t.after(() => client.destroy());
  const begun = performance.now();
  client.send(handshakeText(handshake));
  const answered = client.answer().then((answer) => ({ ...answer, ms: performance.now() - begun }));
  return { client, answered };
}

async function until(done: () => boolean): Promise<void> {
  for (const end = performance.now() + 3000; !done(); await pause(5))
    assert.ok(performance.now() < end, 'it never happened');
}

test('a banned address is refused before its token is looked at; others come in', async (t) => {
  const node = await start(t, 0);
  const { status, body } = await (await asking(t, node.port, from('6.6.6.6', 'new.ann'))).answered;
  assert.deepEqual([status, JSON.parse(body)], [403, { code: 'forbidden', reason: 'banned: spam' }]);
  assert.equal(node.verifier.verified, 0);
  assert.equal((await (await asking(t, node.port, from('1.2.3.4'))).answered).status, 101);
  assert.deepEqual([node.tally.refusals.get('banned_address'), node.tally.upgrades.get('forbidden')], [1, 1]);
});

test('held for the time set, as many as may be; further ones are answered at once', async (t) => {
  const node = await start(t, HOLD_MS);
  const asked = [];
  for (let n = 0; n < 3; n++) asked.push(await asking(t, node.port, from('6.6.6.6')));
  const answers = await Promise.all(asked.map(({ answered }) => answered));
  assert.deepEqual(
    answers.map(({ status }) => status),
    [403, 403, 403],
  );
  const [first, second, third] = answers.map(({ ms }) => ms);
  assert.ok((first ?? 0) >= HOLD_MS - 5 && (second ?? 0) >= HOLD_MS - 5, `${first} ${second}`);
  assert.ok((third ?? HOLD_MS) < HOLD_MS, `${third}`);
  assert.deepEqual([node.tally.tarpitHeld, node.tally.tarpitted], [0, 2]);
});

test('one that goes away while it is held is forgotten: its place is free, and nothing is written', async (t) => {
  const node = await start(t, HOLD_MS, 1);
  const gone = await asking(t, node.port, from('6.6.6.6'));
  gone.answered.catch(() => {});
  await until(() => node.tally.tarpitHeld === 1);
  gone.client.destroy();
  await until(() => node.tally.tarpitHeld === 0);
  assert.equal(node.tally.upgrades.get('aborted'), 1);
  await pause(HOLD_MS);
  assert.equal((await (await asking(t, node.port, from('6.6.6.6'))).answered).status, 403);
  assert.deepEqual([node.tally.tarpitted, node.log.errors], [2, []]);
});

test('a ban found after the check of a new token is held as well, and may go away as well', async (t) => {
  const ban: Exclusion = { ...BAN, by: 'banned_identity' };
  const { transport, tally, gate } = buildTransport({
    excluded: (_address, identity) => (identity === undefined ? undefined : ban),
    tarpit: { holdMs: HOLD_MS, max: 5 },
  });
  t.after(() => transport.close());
  const never = () => {
    throw new Error('nobody comes in here');
  };
  const address = await transport.listen(never, gate);
  const port = Number(address.slice(address.lastIndexOf(':') + 1));
  const kept = await asking(t, port, from('1.2.3.4', 'new.ann'));
  const gone = await asking(t, port, from('1.2.3.4', 'new.bob'));
  gone.answered.catch(() => {});
  await until(() => tally.tarpitHeld === 2);
  gone.client.destroy();
  const { status, ms } = await kept.answered;
  assert.equal(status, 403);
  assert.ok(ms >= HOLD_MS - 5, `${ms}`);
  await pause(HOLD_MS / 2);
  assert.deepEqual(
    [tally.tarpitHeld, tally.upgrades.get('aborted'), tally.upgrades.get('forbidden')],
    [0, 1, 1],
  );
});
