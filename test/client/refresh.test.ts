/** The token is renewed before it ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { lifeMs } from '../../src/client/credentials.ts';
import type { CarillonError } from '../../src/client/index.ts';
import { refreshInMs } from '../../src/client/refresher.ts';
import { record, scripted } from './scripted.ts';

function jwt(claims: unknown): string {
  const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `eyJhbGciOiJIUzI1NiJ9.${payload}.c2lnbmF0dXJl`;
}

/** A token with so many seconds left; the scripted server does not mind fractions. */
function lasting(seconds: number): string {
  return jwt({ sub: 'me', exp: Date.now() / 1000 + seconds });
}

test('what a token says of its life', () => {
  const now = 1_000_000_000;
  const at = now / 1000;
  assert.equal(lifeMs(jwt({ exp: at + 60 }), now), 60_000);
  assert.equal(lifeMs(jwt({ exp: at + 60, name: '姓名 ÿ>?~' }), now), 60_000, 'base64url, beyond ASCII');
  assert.equal(lifeMs(jwt({ exp: at + 7200, iat: at + 3600 }), now), 3_600_000, 'our clock is slow');
  assert.equal(lifeMs(jwt({ exp: at - 60, iat: at - 3660 }), now), 3_600_000, 'our clock is fast');
  assert.equal(lifeMs(jwt({ exp: at - 60 }), now), undefined);
  for (const odd of ['opaque', '', 'a.b.c', 'a.%%.c', jwt(null), jwt(1), jwt({}), jwt({ exp: 'soon' })])
    assert.equal(lifeMs(odd, now), undefined, odd);
});

test('when: 10 s or a tenth before the end, up to half as much earlier, never at once', () => {
  const [late, early] = [() => 0, () => 1];
  assert.equal(refreshInMs(3_600_000, late), 3_240_000);
  assert.equal(refreshInMs(3_600_000, early), 3_060_000);
  assert.equal(refreshInMs(60_000, late), 50_000);
  assert.equal(refreshInMs(60_000, early), 45_000);
  assert.equal(Math.round(refreshInMs(3000, late)), 2000);
  assert.equal(refreshInMs(3000, early), 1500);
  assert.equal(refreshInMs(100, early), 500);
});

test('a refresh comes by itself before the end, and again before the end of the next token', async (t) => {
  const server = await scripted(t);
  const tokens: string[] = [];
  const token = () => {
    tokens.push(lasting(3));
    return tokens.at(-1) ?? '';
  };
  const client = server.client({ token, random: () => 1 });
  const errors = record<CarillonError>((listener) => client.on('error', listener));
  const peer = (await server.peer()).info();
  const openedAt = performance.now();
  for (const n of [1, 2]) {
    const frame = await peer.expect('refresh');
    const tookMs = performance.now() - openedAt;
    assert.ok(tookMs > n * 1400 && tookMs < n * 3000, `refresh ${n} after ${tookMs} ms`);
    assert.equal(frame.token, tokens[n]);
    peer.send({ type: 'refreshed', ...(frame.id !== undefined && { id: frame.id }) });
  }
  assert.deepEqual(errors, []);
});

test('a failed refresh is tried again: the provider threw, the server refused', async (t) => {
  const server = await scripted(t);
  let asked = 0;
  const token = () => {
    asked++;
    if (asked === 2) throw new Error('login is down');
    return lasting(asked === 1 ? 6 : 60);
  };
  const client = server.client({ token, random: () => 0 });
  const errors = record<CarillonError>((listener) => client.on('error', listener));
  const peer = (await server.peer()).info();
  await sleep(3000);
  assert.equal(asked, 1);
  const refused = await peer.expect('refresh');
  peer.send({ type: 'error', code: 'unauthorized', reason: 'no', retry: false, id: refused.id ?? 0 });
  const again = await peer.expect('refresh');
  peer.send({ type: 'refreshed', id: again.id ?? 0 });
  assert.deepEqual(
    errors.map(({ code }) => code),
    ['token_failed', 'unauthorized'],
  );
  assert.equal(client.state.name, 'open');
});

test('a reconnect by ticket keeps the refresh of the token behind it', async (t) => {
  const server = await scripted(t);
  let asked = 0;
  const token = () => {
    asked++;
    return lasting(3);
  };
  server.client({ token });
  (await server.peer()).info({ ticket: 'one', ticketTtl: 60 }).socket.terminate();
  const second = await server.peer();
  assert.equal(second.offered[1], 'ticket.one');
  second.info();
  await second.expect('refresh');
  assert.equal(asked, 2);
});

test('no refresh of a fixed token, of an opaque one, or after close', async (t) => {
  const server = await scripted(t);
  const fixed = server.client({ token: lasting(1) });
  const first = (await server.peer()).info();
  const opaque = server.client({ token: () => 'opaque' });
  const second = (await server.peer()).info();
  let asked = 0;
  const closing = server.client({
    token: () => {
      asked++;
      return lasting(1);
    },
  });
  (await server.peer()).info();
  await Promise.all([fixed.whenOpen(), opaque.whenOpen(), closing.whenOpen()]);
  closing.close();
  await sleep(1100);
  assert.deepEqual([...first.unread, ...second.unread], []);
  assert.equal(asked, 1);
});

test('a token that lasts longer than a timer can is left alone', async (t) => {
  const server = await scripted(t);
  const client = server.client({ token: () => lasting(10 * 365 * 86_400) });
  const peer = (await server.peer()).info();
  await client.whenOpen();
  await sleep(100);
  assert.deepEqual(peer.unread, []);
});
