/** What a payload may hold is the same at every door, and what passes is the same for every receiver. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Client, fresh, suite } from './client.ts';

const given = suite({
  config: { rooms: [{ match: '**', history: { count: 100, age: '1m', bytes: '4MiB' } }] },
});

async function post(call: string, body: string): Promise<{ status: number; code?: string; reason?: string }> {
  const token = await given.broker.token({ sub: 'backend', scope: 'api' });
  const answer = await fetch(`${given.broker.httpUrl}/api/v1/${call}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}` },
    body,
  });
  return { status: answer.status, ...((await answer.json()) as object) };
}

const NUMBERS = ['12345678901234567890', '-0', '1.0', '1e5', '0.10000000000000000555', `${'1'.repeat(40)}`];
const DEEP = `${'['.repeat(1500)}${']'.repeat(1500)}`;

/** The bytes of the last event that a JSON client was sent. */
function lastEvent({ messages }: Client): string {
  const texts = messages.map(({ bytes }) => bytes.toString());
  return texts.findLast((text) => text.includes('"type":"event"')) ?? '';
}

test('C3.9.1 numbers pass the HTTP API to the letter: live, by broadcast, into an inbox, in its history', async () => {
  const room = fresh();
  const reader = await given.connect({ claims: { sub: 'reader' } });
  await reader.join(room);
  await reader.join('@reader');
  await reader.until('caught_up');
  for (const number of NUMBERS) {
    const payload = `{ "n": ${number} }`;
    for (const [call, body] of [
      ['publish', `{"room":"${room}","payload":${payload}}`],
      ['broadcast', `{"payload":${payload},"rooms":["${room}"]}`],
      ['broadcast', `{"payload":${payload},"users":["reader"]}`],
      ['broadcast', `{"payload":${payload},"tenant":true}`],
    ] as const) {
      assert.equal((await post(call, body)).status, 200);
      await reader.expect('event');
      assert.ok(lastEvent(reader).includes(`"payload":${payload}`), lastEvent(reader));
    }
  }
  const token = await given.broker.token({ sub: 'backend', scope: 'api' });
  const url = `${given.broker.httpUrl}/api/v1/rooms/${room}/history`;
  const page = await (await fetch(url, { headers: { Authorization: `Bearer ${token}` } })).text();
  for (const number of NUMBERS) assert.ok(page.includes(`{ "n": ${number} }`), number);
});

test('C3.9.1.1 what no double holds, and what is nested too deep, is refused at every door', async () => {
  const room = fresh();
  const [json, packed] = [await given.connect(), await given.connect({ encoding: 'msgpack' })];
  for (const client of [json, packed]) await client.join(room);
  for (const [payload, why] of [
    ['[1e400]', /1e400/],
    [DEEP, /deep|nest/],
  ] as const) {
    for (const [call, rest] of [
      ['publish', `"room":"${room}"`],
      ['broadcast', `"rooms":["${room}"]`],
      ['broadcast', '"users":["somebody"]'],
      ['broadcast', '"tenant":true'],
    ] as const) {
      const { status, code, reason } = await post(call, `{${rest},"payload":${payload}}`);
      assert.deepEqual([status, code], [400, 'bad_frame'], call);
      assert.match(reason ?? '', why);
    }
    json.sendRaw(`{"type":"pub","room":"${room}","payload":${payload},"id":1}`);
    assert.equal((await json.expect('error')).code, 'bad_frame');
  }
  // Everybody is still there, and hears.
  await post('publish', `{"room":"${room}","payload":"still here"}`);
  for (const client of [json, packed]) assert.equal((await client.expect('event')).payload, 'still here');
});
