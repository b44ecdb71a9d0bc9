/** Clauses 1.9 and 4.14: sessions that go on without their token. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { both, fresh, matches, settled, suite } from './client.ts';
import { handshake } from './handshake.ts';

const tests = suite();
const { connect } = tests;

async function refusal(ticket: string): Promise<unknown[]> {
  const answer = await handshake(tests.broker, { 'Sec-WebSocket-Protocol': `chat.v1, ticket.${ticket}` });
  return [answer.status, answer.code];
}

both('C1.9 C1.3 C4.1 a ticket continues the session, and last says how it ended', async (encoding) => {
  const claims = { sub: fresh('ada'), tenant: 'acme', rooms: [{ match: 'a:*', allow: ['join', 'pub'] }] };
  const first = await connect({ encoding, claims });
  matches(first.info, { resumed: false, last: undefined, ticketTtl: 180 });
  const room = fresh('a:r');
  const { seq, epoch } = await first.join(room);
  first.socket.close(1000);
  await first.closed;
  const before = Date.now();
  await settled(() => assert.ok(Date.now() > before));

  const second = await connect({ encoding, ticket: first.info.ticket });
  matches(second.info, { resumed: true, session: first.info.session, user: claims.sub, tenant: 'acme' });
  assert.equal(second.info.last.code, 1000);
  assert.ok(second.info.last.at <= Date.now() && second.info.last.at > before - 5000);
  assert.notEqual(second.info.ticket, first.info.ticket);
  await second.refused({ type: 'leave', room }, 'not_joined');
  matches(await second.join(room, { since: { epoch, seq } }), { recovered: 'full' });
  await second.refused({ type: 'join', room: 'b:r' }, 'forbidden');
});

both('C1.9 C6.2 a connection that is still open is closed with 4008', async (encoding) => {
  const first = await connect({ encoding });
  const room = fresh();
  await first.join(room);
  const second = await connect({ encoding, ticket: first.info.ticket });
  assert.equal((await first.closed).code, 4008);
  matches(second.info, { session: first.info.session, resumed: true });
  assert.equal(second.info.last?.code, 4008);
  await second.join(room);
  await second.pub(room, 1);
  await second.expect('event');
});

test('C1.9 a ticket is good once; made up, altered or of another kind it is good for nothing', async () => {
  const first = await connect();
  const { ticket } = first.info;
  await first.close();
  const second = await connect({ ticket });
  assert.deepEqual(await refusal(ticket), [401, 'unauthorized']);
  await second.close();
  assert.deepEqual(await refusal(ticket), [401, 'unauthorized']);
  const { ticket: good } = second.info;
  const [body = '', signature = ''] = good.split('.');
  const contents = JSON.parse(Buffer.from(body, 'base64url').toString());
  const other = Buffer.from(
    JSON.stringify({ ...contents, identity: { ...contents.identity, user: 'root' } }),
  );
  const token = await tests.broker.token();
  for (const bad of [
    'x',
    '.',
    `${body}.`,
    body,
    `${body}.${signature}.${signature}`,
    `${body}.${signature.slice(0, -4)}AAAA`,
    `${other.toString('base64url')}.${signature}`,
    token,
  ])
    assert.deepEqual(await refusal(bad), [401, 'unauthorized'], bad);
  const spoilt = await handshake(tests.broker, { 'Sec-WebSocket-Protocol': `chat.v1, bearer.${good}` });
  assert.equal(spoilt.status, 401, 'a ticket is no token');
});

test('C1.9 a ticket ends with the token behind it', { timeout: 30_000 }, async () => {
  const client = await connect({ claims: { exp: Math.floor(Date.now() / 1000) + 2 } });
  assert.equal((await client.closed).code, 4201);
  assert.deepEqual(await refusal(client.info.ticket), [401, 'token_expired']);
});

both('C4.14 C3.12.2 after a refresh the ticket stands for the new token', async (encoding) => {
  const sub = fresh('ada');
  const first = await connect({ encoding, claims: { sub } });
  const token = await tests.broker.token({ sub, rooms: [] });
  await first.ask({ type: 'refresh', token }, 'refreshed');
  await first.fence();
  const renewed = first.tickets.at(-1);
  assert.ok(renewed !== undefined);
  matches(renewed, { ticketTtl: 180 });
  const { ticket } = renewed;
  await first.close();
  const second = await connect({ encoding, ticket });
  await second.refused({ type: 'join', room: fresh() }, 'forbidden');
});
