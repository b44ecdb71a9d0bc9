/** A flood of forged tokens, by counts: none gets in, everyone good does, and the limits of the address hold. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { withBroker } from '../../support/broker.ts';
import { claims, forge, hmac, knock, type Sign } from './attacker.ts';

const key = generateKeyPairSync('ed25519');
const other = generateKeyPairSync('ed25519');
const by =
  ({ privateKey }: typeof key): Sign =>
  (input) =>
    signed(input, privateKey);
const signed = (input: string, privateKey: typeof key.privateKey) =>
  sign(null, Buffer.from(input), privateKey);
const ED = { alg: 'EdDSA', kid: 'ed' };
const auth = { keys: [{ kid: 'ed', alg: 'EdDSA', jwk: key.publicKey.export({ format: 'jwk' }) }] };

/** Never the same twice, so that no memory of refusals helps. */
const forgeries: readonly ((at: number) => string)[] = [
  (at) => forge({ alg: 'HS256' }, claims({ at }), hmac('guess')),
  (at) => forge({ alg: 'EdDSA', kid: `k${at}` }, claims({ at }), by(other)),
  (at) => forge(ED, claims({ at }), by(other)),
];

/** `count` at a time until all are done. */
async function inParallel(total: number, count: number, work: (at: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: count }, async () => {
      while (next < total) await work(next++);
    }),
  );
}

test('thousands of forged tokens: all refused, and good clients connect and hear every message', async () => {
  // Every forged one comes from a network of its own: no limit of an address helps.
  const config = { auth, trustedProxies: 1, limits: { pendingUpgrades: 200 } };
  await withBroker({ config }, async (broker) => {
    const good = (at: number) => forge(ED, { ...claims(), sub: `good-${at}` }, by(key));
    const reader = new WebSocket(broker.url, ['chat.v1', `bearer.${good(-1)}`]);
    const heard = new Set<number>();
    reader.on('message', (data) => {
      for (const frame of [JSON.parse(String(data))].flat())
        if (frame.type === 'event') heard.add(frame.payload);
    });
    await once(reader, 'message');
    reader.send(JSON.stringify({ type: 'join', room: 'live:a' }));
    await once(reader, 'message');
    const statuses = new Map<number, number>();
    let done = false;
    const flood = inParallel(2400, 60, async (at) => {
      const token = forgeries[at % forgeries.length]?.(at) ?? '';
      const { status } = await knock(broker.url, {
        headers: { authorization: `Bearer ${token}`, 'x-forwarded-for': `10.0.${at >> 8}.${at & 255}` },
      });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }).then(() => {
      done = true;
    });
    let came = 0;
    for (; !done || came < 10; came++) {
      assert.equal((await knock(broker.url, { protocols: ['chat.v1', `bearer.${good(came)}`] })).status, 101);
      reader.send(JSON.stringify({ type: 'pub', room: 'live:a', payload: came }));
    }
    await flood;
    reader.send(JSON.stringify({ type: 'leave', room: 'live:a' }));
    await once(reader, 'message').then(async () => {
      for (let tries = 0; heard.size < came && tries < 100; tries++)
        await new Promise((resolve) => setTimeout(resolve, 20));
    });
    assert.equal(heard.size, came);
    // 503: as many handshakes as limits.pendingUpgrades were being checked.
    assert.deepEqual(
      [...statuses.keys()].filter((status) => status !== 401 && status !== 503),
      [],
    );
    assert.ok((statuses.get(401) ?? 0) >= 1600, 'what needs no signature check is always refused at once');
    reader.terminate();
  });
});

test('from one address no more than its attempts are looked at, whatever header it sends', async () => {
  const address = { attemptsPerSecond: 1, attemptsBurst: 50 };
  await withBroker({ config: { auth, trustedProxies: 1, limits: { address } } }, async (broker) => {
    let looked = 0;
    const begun = performance.now();
    await inParallel(300, 20, async (at) => {
      const token = forgeries[2]?.(at) ?? '';
      const forwarded = `127.0.0.1, 192.0.2.${at % 250}, 198.51.100.7`;
      const headers = { authorization: `Bearer ${token}`, 'x-forwarded-for': forwarded };
      const { status } = await knock(broker.url, { headers });
      if (status === 401) looked++;
      else assert.equal(status, 429);
    });
    const most = 50 + Math.ceil((performance.now() - begun) / 1000);
    assert.ok(looked <= most, `${looked} of 300 looked at, ${most} allowed`);
    const elsewhere = {
      authorization: `Bearer ${forge(ED, claims(), by(key))}`,
      'x-forwarded-for': '192.0.2.1',
    };
    assert.equal((await knock(broker.url, { headers: elsewhere })).status, 101);
  });
});

test('an address with too many refused credentials has its tokens checked one at a time by the API', async () => {
  await withBroker({ config: { auth, api: { failuresPerMinute: 5 } } }, async (broker) => {
    const call = async (token: string) => {
      const headers = { authorization: `Bearer ${token}` };
      const answer = await fetch(`${broker.httpUrl}/api/v1/rooms/a/history`, { headers });
      await answer.text();
      return answer.status;
    };
    for (let at = 0; at < 10; at++) await call(forgeries[0]?.(at) ?? '');
    const statuses: number[] = [];
    await inParallel(200, 50, async (at) => {
      statuses.push(await call(forgeries[2]?.(at + 10) ?? ''));
    });
    assert.ok(statuses.filter((status) => status === 429).length > 190, `${statuses}`);
    const metrics = await (await fetch(`${broker.adminUrl}/metrics`)).text();
    const checked = Number(/^carillon_token_refusals_total\{[^}]*signature[^}]*\} (\d+)/m.exec(metrics)?.[1]);
    assert.ok(checked < 150, `${checked} of 210 forged tokens were checked`);
    assert.equal(await call(forge(ED, claims(), by(key))), 200, 'a good one from the same address');
  });
});

test('behind a trusted proxy the API counts refused credentials for each client, not for the proxy', async () => {
  const config = { auth, trustedProxies: 1, api: { failuresPerMinute: 5 } };
  await withBroker({ config }, async (broker) => {
    const call = async (client: string, at: number) => {
      const headers = { authorization: `Bearer ${forgeries[0]?.(at)}`, 'x-forwarded-for': client };
      const answer = await fetch(`${broker.httpUrl}/api/v1/rooms/a/history`, { headers });
      await answer.text();
      return answer.status;
    };
    const statuses: number[] = [];
    for (let at = 0; at < 10; at++) statuses.push(await call('203.0.113.9, 192.0.2.1', at));
    assert.equal(statuses.at(-1), 429);
    assert.equal(await call('192.0.2.1, 192.0.2.2', 10), 401);
    const sixes: number[] = [];
    for (let at = 0; at < 10; at++) sixes.push(await call(`2001:db8:0:1::${at}`, 20 + at));
    assert.equal(sixes.at(-1), 429, 'addresses of one IPv6 network are one client');
    assert.equal(await call('2001:db8:0:2::1', 30), 401);
  });
});
