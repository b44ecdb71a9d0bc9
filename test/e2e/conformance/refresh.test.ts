/** Clause 3.12: a new token on a living connection, and the end of one without. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { both, type Client, type Encoding, fresh, matches, suite } from './client.ts';
import { bearer, handshake } from './handshake.ts';

const tests = suite();
const { connect } = tests;

const EVERYTHING = ['join', 'pub', 'presence', 'history'];

function seconds(fromNow: number): number {
  return Math.floor(Date.now() / 1000) + fromNow;
}

async function someone(
  encoding: Encoding,
  claims = {},
): Promise<{ client: Client; renew: (claims: object) => Promise<string> }> {
  const sub = fresh('ada');
  const client = await connect({ encoding, claims: { sub, tenant: 'acme', ...claims } });
  return { client, renew: (more) => tests.broker.token({ sub, tenant: 'acme', ...more }) };
}

both('C3.12.1 C4.12 a refresh is answered with the new exp', async (encoding) => {
  const { client, renew } = await someone(encoding);
  const room = fresh();
  await client.join(room);
  const exp = seconds(7200);
  matches(await client.ask({ type: 'refresh', token: await renew({ exp }) }, 'refreshed'), { exp });
  client.send({ type: 'refresh', token: await renew({ exp: exp + 1 }) });
  await client.expect('refreshed', { id: undefined, exp: exp + 1 });
  await client.pub(room, 'still here');
  await client.expect('event');
});

both('C3.12.1 a token of somebody else, or a bad one, is refused and changes nothing', async (encoding) => {
  const { client, renew } = await someone(encoding);
  const room = fresh();
  await client.join(room);
  const rooms: unknown[] = [];
  const bad: readonly [string, string][] = [
    [await tests.broker.token({ sub: 'mallory', tenant: 'acme', rooms }), 'forbidden'],
    [await renew({ tenant: 'other', rooms }), 'forbidden'],
    [await renew({ tenant: undefined, rooms }), 'forbidden'],
    [await renew({ exp: seconds(-60), rooms }), 'token_expired'],
    [await renew({ nbf: seconds(60), rooms }), 'unauthorized'],
    [await renew({ exp: undefined, rooms }), 'unauthorized'],
    [`${(await renew({ rooms })).slice(0, -4)}AAAA`, 'unauthorized'],
    ['not a token', 'unauthorized'],
    ['x'.repeat(10_000), 'unauthorized'],
  ];
  for (const [token, code] of bad) await client.refused({ type: 'refresh', token }, code);
  await client.pub(room, 'as before');
  await client.expect('event', { payload: 'as before' });
  await client.quiet();
});

both('C3.12.2 C4.4 rooms that the new token does not allow are left, before refreshed', async (encoding) => {
  const { client, renew } = await someone(encoding);
  const [keep, lose, watch] = [fresh('keep'), fresh('lose'), fresh('watch')];
  await client.join(keep);
  await client.join(lose);
  await client.join(watch, { presence: true });
  const own = `@${client.info.user}`;
  await client.join(own);
  await client.until('caught_up');
  const rooms = [
    { match: keep, allow: ['join'] },
    { match: watch, allow: ['join', 'pub', 'history'] },
    { match: lose, allow: ['pub', 'presence', 'history'] },
  ];
  client.send({ type: 'refresh', token: await renew({ rooms }), id: 1 });
  const frames = await client.until('refreshed', { id: 1 });
  const left = frames.slice(0, -1);
  for (const frame of left) matches(frame, { type: 'left', code: 'forbidden', id: undefined });
  assert.deepEqual(left.map(({ room }) => room).sort(), [lose, watch].sort());

  const other = await connect({ claims: { tenant: 'acme' } });
  for (const room of [keep, lose, watch, own]) await other.pub(room, room);
  assert.deepEqual((await client.fence()).map(({ payload }) => payload).sort(), [keep, own].sort());
  await client.refused({ type: 'pub', room: keep, payload: 1 }, 'forbidden');
  await client.refused({ type: 'join', room: lose }, 'forbidden');
  await client.pub(lose, 1);
  // And back again.
  const all = [{ match: '**', allow: EVERYTHING }];
  await client.ask({ type: 'refresh', token: await renew({ rooms: all }) }, 'refreshed');
  await client.join(lose);
});

const short = 'C3.12.3 C6.2 at exp a connection is closed with 4201, unless it was refreshed';
test(short, { timeout: 30_000 }, async () => {
  const sub = fresh('ada');
  const exp = seconds(2);
  const [plain, binary, saved] = [
    await connect({ claims: { sub, exp } }),
    await connect({ encoding: 'msgpack', claims: { sub, exp } }),
    await connect({ claims: { sub, exp } }),
  ];
  await saved.ask({ type: 'refresh', token: await tests.broker.token({ sub, exp: exp + 60 }) }, 'refreshed');
  const shortened = await connect({ claims: { sub, exp: exp + 3600 } });
  await shortened.ask({ type: 'refresh', token: await tests.broker.token({ sub, exp }) }, 'refreshed');
  for (const client of [plain, binary, shortened]) {
    const { code } = await client.closed;
    assert.equal(code, 4201);
    const late = Date.now() - exp * 1000;
    assert.ok(late >= 0 && late < 2500, `closed ${late} ms after exp`);
  }
  await saved.quiet();
  // The five seconds of tolerance between clocks are over, then the token opens nothing any more.
  const expired = await tests.broker.token({ sub, exp: exp - 10 });
  assert.equal((await handshake(tests.broker, bearer(expired))).code, 'token_expired');
});
