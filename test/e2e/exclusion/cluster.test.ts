/** Revocations and bans over two brokers on NATS: everywhere within a second, and through restarts of all. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Pod, startPods } from '../../../loadtest/chaos/pods.ts';
import { NatsCluster } from '../../support/nats/cluster.ts';
import { ADMIN, admin, type Visit, visit } from './visitor.ts';

const WITHIN_MS = 1000;
const ROUNDS = 10;

let nats: NatsCluster;
let pods: readonly [Pod, Pod];

before(async () => {
  nats = await NatsCluster.start(3);
  const config = { nats: { url: nats.urls, shards: 1, streamBytes: '64MiB' }, admin: { token: ADMIN } };
  pods = (await startPods({ count: 2, natsUrls: nats.urls, config })) as [Pod, Pod];
});

after(async () => {
  await Promise.all((pods ?? []).map((pod) => pod.close()));
  await nats?.close();
});

const now = () => Math.floor(Date.now() / 1000);
const bearer = async (claims: object) => `bearer.${await pods[0].broker.token({ iat: now(), ...claims })}`;
const onBoth = (credential: string) => Promise.all(pods.map((pod) => visit(pod.url, credential)));
const statuses = async (credential: string) => (await onBoth(credential)).map(({ status }) => status);

/** Milliseconds from before the call to the last close. */
async function endedBy(
  visits: readonly Visit[],
  code: number,
  change: () => Promise<unknown>,
): Promise<number> {
  const begun = performance.now();
  await change();
  const closes = await Promise.all(visits.map(({ closed }) => closed));
  for (const close of closes) assert.equal(close.code, code);
  return Math.max(...closes.map(({ at }) => at)) - begun;
}

test('C1.11 C1.12 a revocation and a ban on one broker end the sessions on both within a second', async (t) => {
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const [sub, jti] = [`ann-${round}`, `t-${round}`];
    const credential = await bearer({ sub, jti });
    const pod = pods[round % 2] as Pod;
    const visits = await onBoth(credential);
    const banning = round % 3 === 2;
    const body = banning ? { user: sub } : round % 3 === 1 ? { user: sub, before: now() + 1 } : { jti };
    const code = banning ? 4003 : 4001;
    took.push(
      await endedBy(visits, code, () => admin(pod.broker, 'POST', banning ? 'bans' : 'revoke', body)),
    );
    const refused = banning ? 403 : 401;
    assert.deepEqual(await statuses(credential), [refused, refused]);
    for (const { ticket } of visits) assert.deepEqual(await statuses(ticket), [refused, refused]);
  }
  took.sort((one, other) => one - other);
  t.diagnostic(`median ${took[ROUNDS / 2]?.toFixed(0)} ms, longest ${took.at(-1)?.toFixed(0)} ms`);
  assert.ok((took.at(-1) ?? 0) < WITHIN_MS, `${took.map(Math.round)}`);
});

test('C1.11 C1.12 both survive restarts of all brokers; a ban lifted on one is lifted on both', async () => {
  const [revoked, banned] = [await bearer({ sub: 'bob', jti: 'kept' }), await bearer({ sub: 'cid' })];
  const [a, b] = pods;
  const { ticket } = await visit(a.url, revoked);
  await admin(a.broker, 'POST', 'revoke', { jti: 'kept' });
  const { body } = await admin(b.broker, 'POST', 'bans', { user: 'cid', seconds: 600 });
  await Promise.all(pods.map((pod) => pod.kill()));
  await Promise.all(pods.map((pod) => pod.start()));
  assert.deepEqual(await statuses(revoked), [401, 401]);
  assert.deepEqual(await statuses(ticket), [401, 401]);
  assert.deepEqual(await statuses(banned), [403, 403]);
  assert.equal((await admin(a.broker, 'DELETE', `bans/${body['id']}`)).status, 200);
  const until = performance.now() + WITHIN_MS;
  while ((await visit(b.url, banned)).status === 403) assert.ok(performance.now() < until, 'still banned');
  assert.deepEqual(await statuses(banned), [101, 101]);
});

test('C1.12 a ban ends by itself on both', async () => {
  const credential = await bearer({ sub: 'dan' });
  await admin(pods[0].broker, 'POST', 'bans', { user: 'dan', seconds: 2 });
  const begun = performance.now();
  assert.equal((await visit(pods[0].url, credential)).status, 403);
  while ((await statuses(credential)).some((status) => status === 403))
    assert.ok(performance.now() - begun < 4000, 'still banned');
  assert.ok(performance.now() - begun > 1500, 'ended before its time');
});
