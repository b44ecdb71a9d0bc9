/** Clause 3.9.1: what a payload is on its way between the encodings. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Packr } from 'msgpackr';
import { type Client, fresh, pack, suite } from './client.ts';

const { connect } = suite();

/** The raw text of the payload in the newest message with an event. */
function payloadText(client: Client): string {
  const text = client.messages
    .map(({ bytes }) => bytes.toString())
    .findLast((each) => each.includes('"type":"event"'));
  const found = /"payload":(.*)\}$/s.exec(text ?? '');
  assert.ok(found?.[1] !== undefined, text);
  return found[1];
}

async function room(): Promise<{ name: string; ada: Client; json: Client; packed: Client }> {
  const name = fresh();
  const [ada, json, packed] = [await connect(), await connect(), await connect({ encoding: 'msgpack' })];
  await json.join(name);
  await packed.join(name);
  return { name, ada, json, packed };
}

const ODD = [
  '1.0',
  '-0',
  '1e2',
  '1E+2',
  '0.10000000000000000555',
  '12345678901234567890123',
  '9007199254740993',
  '5e-324',
  '"\\u00e9\\/\\ud83c\\udf88"',
  '"\\ud800"',
  '"\u2028\u2029\u007f"',
  '{"b":1,"a":2,"10":3,"9":4}',
  '{"a":1,"a":2}',
  '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}',
  '[ 1 ,\t{ "a" : null } ,\n true ]',
  '{"payload":{"payload":"}"},"x":"\\"payload\\":1"}',
  '"]}"',
];

test('C3.9.1 C4.6 JSON receivers get the payload byte for byte: live, in history and in a replay', async () => {
  const { name, ada, json } = await room();
  for (const text of ODD) {
    ada.sendRaw(`{"type":"pub","room":"${name}","payload": ${text} ,"id":1}`);
    await ada.expect('ack', { id: 1 });
    await json.expect('event');
    assert.equal(payloadText(json), text);
  }
  const late = await connect();
  const joined = await late.join(name, { since: { last: ODD.length } });
  assert.equal(joined.replay, ODD.length);
  await late.until('caught_up');
  const replay = late.messages.map(({ bytes }) => bytes.toString()).join('\n');
  for (const text of ODD) assert.ok(replay.includes(`"payload":${text}}`), text);
  await late.history(name);
  const page = late.messages.at(-1)?.bytes.toString() ?? '';
  for (const text of ODD) assert.ok(page.includes(`"payload":${text}}`), text);
});

test('C3.9.1 MessagePack receivers get the same values', async () => {
  const { name, ada, packed } = await room();
  for (const text of ODD) {
    ada.sendRaw(`{"type":"pub","room":"${name}","payload":${text},"id":1}`);
    await ada.expect('ack', { id: 1 });
    const { payload } = await packed.expect('event');
    // The reader of this test renames the key, as the server's own would.
    const renamed = text.replace('__proto__', '__proto_');
    const expected: unknown = text.includes('ud800') ? '\ufffd' : JSON.parse(renamed);
    if (text === '-0') assert.equal(Math.abs(payload as number), 0);
    else assert.deepEqual(payload, expected, text);
    assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
  }
});

test('C3.9.1 a MessagePack payload reaches JSON receivers as the JSON of its value', async () => {
  const { name, json, packed } = await room();
  const values: readonly unknown[] = [
    1,
    1.5,
    -0.5,
    2 ** 53 - 1,
    -(2 ** 53 - 1),
    'é\u0000🎈',
    null,
    [[]],
    { a: [{ b: true }] },
    { constructor: 1 },
  ];
  for (const payload of values) {
    await packed.pub(name, payload);
    assert.deepEqual((await json.expect('event')).payload, payload);
    assert.equal(payloadText(json), JSON.stringify(payload));
    await packed.expect('event');
  }
});

test('C3.9.1 what JSON has no place for is bad_frame in MessagePack', async () => {
  const { name, json, packed } = await room();
  const big = new Packr({ useRecords: false, int64AsType: 'bigint' });
  const proto = Buffer.concat([Buffer.from([0x81, 0xa9]), Buffer.from('__proto__'), Buffer.from([1])]);
  const payloads: readonly Buffer[] = [
    pack(Number.NaN),
    pack(Number.POSITIVE_INFINITY),
    pack(Buffer.from('bin')),
    pack(new Date()),
    Buffer.from(big.pack(2n ** 53n)),
    Buffer.from(big.pack(-(2n ** 63n))),
    pack(new Map([[1, 2]])),
    proto,
    Buffer.concat([Buffer.from([0x91]), proto]),
  ];
  for (const payload of payloads) {
    const parts = [
      Buffer.from([0x83]),
      pack('type'),
      pack('pub'),
      pack('room'),
      pack(name),
      pack('payload'),
      payload,
    ];
    packed.sendRaw(Buffer.concat(parts));
    await packed.expect('error', { code: 'bad_frame' });
  }
  await json.quiet();
});

test('C3.9.1 a frame with two payloads, or with escapes in its own names, is bad_frame', async () => {
  const { name, ada, json } = await room();
  const frames = [
    `{"type":"pub","room":"${name}","payload":1,"payload":2,"id":1}`,
    `{"type":"pub","room":"${name}","pay\\u006coad":1,"id":1}`,
    `{"type":"pub","room":"${name}","payload":1,"\\u0070ayload":2,"id":1}`,
    `{"ty\\u0070e":"pub","room":"${name}","payload":1,"id":1}`,
  ];
  for (const frame of frames) {
    ada.sendRaw(frame);
    await ada.expect('error', { code: 'bad_frame', id: 1 });
  }
  await json.quiet();
});

test('C5.8 of other keys given twice the last one holds, and "__proto__" is nobody’s prototype', async () => {
  const { name, ada, json } = await room();
  ada.sendRaw(`{"type":"ping","type":"pub","room":"elsewhere","room":"${name}","payload":1,"id":1,"id":2}`);
  await ada.expect('ack', { id: 2, room: name });
  await json.expect('event', { payload: 1 });
  // If the field were taken for the prototype, the frame would have a type and a room after all.
  ada.sendRaw(`{"__proto__":{"type":"pub","room":"${name}","payload":1,"msgId":"m"},"id":3}`);
  await ada.expect('error', { code: 'bad_frame', id: 3, msgId: undefined, room: undefined });
  ada.sendRaw(`{"__proto__":{"echo":false,"msgId":"m"},"type":"pub","room":"${name}","payload":2,"id":4}`);
  await ada.expect('ack', { id: 4, msgId: undefined });
  await json.expect('event', { payload: 2, msgId: undefined });
  await json.quiet();
});
