/** What a handshake must be to be taken, and the HTTP answer of every other, seen by a raw TCP client. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  ACCEPT,
  type Answer,
  type Handshake,
  type Headers,
  handshakeText,
  RawSocket,
} from '../support/raw-socket.ts';
import { startTransport, type TestTransport } from './support/parts.ts';

let node: TestTransport;

before(async () => {
  node = await startTransport();
});
after(() => node.transport.close());

/** The answer to a handshake; the connection is gone afterwards. */
async function attempt(handshake: Handshake, port = node.port): Promise<Answer> {
  const client = await RawSocket.open(port);
  client.send(handshakeText(handshake));
  const answer = await client.answer();
  if (answer.status !== 101) assert.equal(await client.ended(), 'fin', 'a refused client must be let go');
  client.destroy();
  return answer;
}

async function assertRefused(handshake: Handshake, status: number, code: string): Promise<Answer> {
  const answer = await attempt(handshake);
  const { code: told, reason } = JSON.parse(answer.body);
  assert.deepEqual([answer.status, told], [status, code], `${JSON.stringify(handshake)} ${answer.body}`);
  assert.equal(typeof reason, 'string');
  assert.notEqual(reason, '');
  assert.equal(answer.headers.get('content-type'), 'application/json');
  return answer;
}

const headers = (one: Headers | undefined): Handshake => ({ headers: one });

test('the plain handshake: 101 with the accept key of RFC 6455, the subprotocol and nothing compressed', async () => {
  const answer = await attempt({
    headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' },
  });
  assert.equal(answer.status, 101);
  assert.equal(answer.headers.get('sec-websocket-accept'), ACCEPT);
  assert.equal(answer.headers.get('sec-websocket-protocol'), 'chat.v1');
  assert.equal(answer.headers.get('upgrade'), 'websocket');
  assert.equal(answer.headers.get('connection'), 'Upgrade');
  assert.equal(answer.headers.get('sec-websocket-extensions'), undefined);
});

const ACCEPTED: Readonly<Record<string, Headers>> = {
  'the token upgrade in a list': { Connection: 'keep-alive, Upgrade' },
  'tokens in any case, spaces around': { Connection: ' keep-alive ,UPGRADE', Upgrade: 'WebSocket' },
  'names of headers in any case': { connection: 'upgrade', Connection: undefined },
  'a scheme in any case': { Authorization: 'bearer   known.ann' },
  'a header of 3 KB': { Cookie: 'x'.repeat(3000) },
};

for (const [what, given] of Object.entries(ACCEPTED)) {
  test(`accepted: ${what}`, async () => assert.equal((await attempt(headers(given))).status, 101));
}

const BAD_REQUESTS: Readonly<Record<string, Headers>> = {
  'no Upgrade': { Upgrade: undefined },
  'Upgrade to something else': { Upgrade: 'h2c' },
  'Upgrade to a list': { Upgrade: 'websocket, h2c' },
  'no Connection': { Connection: undefined },
  'Connection without the token': { Connection: 'keep-alive' },
  'Connection with the token in a word': { Connection: 'noupgrade' },
  'a key of 24 characters that is no base64': { 'Sec-WebSocket-Key': '!'.repeat(24) },
  'a key of 18 bytes': { 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAAAA' },
  'a key of 17 bytes': { 'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAAA=' },
};

for (const [what, given] of Object.entries(BAD_REQUESTS)) {
  test(`400: ${what}`, async () => {
    await assertRefused(headers(given), 400, 'bad_request');
  });
}

for (const version of ['8', '12', '14', '13, 8', '', undefined]) {
  test(`426: version ${version}`, async () => {
    const answer = await assertRefused(headers({ 'Sec-WebSocket-Version': version }), 426, 'bad_version');
    assert.equal(answer.headers.get('sec-websocket-version'), '13');
    assert.equal(answer.headers.get('upgrade'), 'websocket');
  });
}

for (const key of [undefined, '', 'AAAA', `${'A'.repeat(30)}==`]) {
  test(`426: a request whose key uWebSockets.js does not take for a handshake (${key})`, async () => {
    const client = await RawSocket.open(node.port);
    client.send(handshakeText(headers({ 'Sec-WebSocket-Key': key })));
    const answer = await client.answer();
    assert.equal(answer.status, 426);
    assert.equal(answer.headers.get('upgrade'), 'websocket');
    assert.equal(JSON.parse(answer.body).code, 'bad_request');
    client.destroy();
  });
}

for (const method of ['POST', 'PUT', 'OPTIONS', 'HEAD']) {
  test(`426: ${method} /connect`, async () => {
    const client = await RawSocket.open(node.port);
    client.send(handshakeText({ method }));
    assert.equal(Number(/^HTTP\/1.1 (\d+)/.exec(await client.peek())?.[1]), 426);
    client.destroy();
  });
}

const PROTOCOLS: readonly (readonly [string | readonly string[] | undefined, string | undefined])[] = [
  ['chat.v1', 'chat.v1'],
  ['chat.v1.msgpack', 'chat.v1.msgpack'],
  ['chat.v1.msgpack, chat.v1', 'chat.v1.msgpack'],
  ['chat.v9 ,  chat.v1', 'chat.v1'],
  ['bearer.known.ann, chat.v1', 'chat.v1'],
  [['bearer.known.ann', 'chat.v1'], 'chat.v1'],
  [['chat.v1', 'bearer.known.ann'], 'chat.v1'],
  [undefined, undefined],
  ['', undefined],
  ['chat.v2', undefined],
  ['CHAT.V1', undefined],
  ['chat.v1;q=1', undefined],
  ['toString, __proto__, constructor', undefined],
  ['bearer.known.ann', undefined],
];

for (const [offered, chosen] of PROTOCOLS) {
  test(`subprotocol: ${offered} -> ${chosen ?? 400}`, async () => {
    const given = headers({ 'Sec-WebSocket-Protocol': offered });
    if (chosen === undefined) {
      const answer = await assertRefused(given, 400, 'bad_subprotocol');
      assert.match(answer.body, /chat\.v1, chat\.v1\.msgpack/);
      return;
    }
    const answer = await attempt(given);
    assert.deepEqual([answer.status, answer.headers.get('sec-websocket-protocol')], [101, chosen]);
    assert.equal(node.guest().connection.encoding, chosen === 'chat.v1' ? 'json' : 'msgpack');
  });
}

async function userOf(handshake: Handshake, port?: number): Promise<string | number> {
  const { status } = await attempt(handshake, port);
  return status === 101 ? node.guest().identity.user : status;
}

test('credentials: the header comes before the subprotocol entry, and that before the query', async () => {
  const all = {
    Authorization: 'Bearer known.header',
    'Sec-WebSocket-Protocol': 'chat.v1, bearer.known.entry',
  };
  assert.equal(await userOf({ path: '/connect?token=known.query', headers: all }), 'header');
  const two = { ...all, Authorization: undefined };
  assert.equal(await userOf({ path: '/connect?token=known.query', headers: two }), 'entry');
  assert.equal(await userOf({ headers: { ...two, Authorization: 'Basic YTpi' } }), 'entry');
});

test('credentials: a refused one is not made good by the next', async () => {
  const both = { Authorization: 'Bearer forged.ann', 'Sec-WebSocket-Protocol': 'chat.v1, bearer.known.ann' };
  assert.equal(await userOf({ headers: both }), 401);
});

test('credentials: the query counts only where it is allowed', async (t) => {
  const given = { path: '/connect?token=known.query', headers: { Authorization: undefined } };
  assert.equal(await userOf(given), 401);
  const policy = { origins: undefined, missingOrigin: 'allow', allowQueryToken: true } as const;
  const open = await startTransport({ policy });
  t.after(() => open.transport.close());
  assert.equal((await attempt(given, open.port)).status, 101);
  assert.equal(open.guest().identity.user, 'query');
  for (const path of ['/connect?token=', '/connect?other=1', '/connect'])
    assert.equal((await attempt({ ...given, path }, open.port)).status, 401);
});

test('attack: two Authorization headers, of which a proxy may have checked the other', async () => {
  const twice = { Authorization: 'Bearer known.ann', authorization: 'Bearer known.eve' };
  await assertRefused(headers(twice), 400, 'bad_request');
});

for (const Authorization of [undefined, '', 'Bearer', 'Bearer a b', 'Basic YTpi', 'known.ann']) {
  test(`401 without a usable credential: ${Authorization}`, async () => {
    const answer = await assertRefused(headers({ Authorization }), 401, 'unauthorized');
    assert.match(answer.headers.get('www-authenticate') ?? '', /^Bearer/);
  });
}

const VERDICTS: readonly (readonly [string, number, string])[] = [
  ['forged.ann', 401, 'unauthorized'],
  ['expired.ann', 401, 'token_expired'],
  ['banned.ann', 403, 'forbidden'],
];

for (const [token, status, code] of VERDICTS) {
  test(`${status} ${code}: what the verifier says`, async () => {
    const answer = await assertRefused(headers({ Authorization: `Bearer ${token}` }), status, code);
    assert.equal(answer.headers.has('www-authenticate'), status === 401);
  });
}

test('no answer to a refused handshake repeats the credential', async () => {
  for (const token of ['forged.s3cret', 'expired.s3cret', 'reject.s3cret', 'break.s3cret']) {
    const answer = await attempt(headers({ Authorization: `Bearer ${token}` }));
    assert.doesNotMatch(answer.body + [...answer.headers].join(), /s3cret/);
  }
});

test('404: another path, also with everything that a handshake needs', async () => {
  for (const path of ['/', '/connect/', '/connect/x', '/Connect', '/connect%00', '/../connect']) {
    const client = await RawSocket.open(node.port);
    client.send(handshakeText({ path }));
    assert.equal((await client.answer()).status, 404, path);
    client.destroy();
  }
});

test('a head that is too long, or has too many lines, is refused and harms nobody', async () => {
  const many = Object.fromEntries(Array.from({ length: 150 }, (_, at) => [`X-${at}`, '1']));
  for (const given of [{ Cookie: 'x'.repeat(5000) }, many]) {
    const client = await RawSocket.open(node.port);
    client.send(handshakeText(headers(given)));
    assert.match(await client.peek(), /^HTTP\/1.1 431/);
    client.destroy();
  }
  assert.equal((await attempt({})).status, 101);
});

/** Rule 11: this build of uWebSockets.js mistakes a request line that TCP has cut at the wrong place. */
test('rule 11: a request line cut at any place gets 101, or 505 and a close; the process lives', async () => {
  const text = handshakeText();
  const outcomes = await Promise.all(
    Array.from({ length: text.indexOf('\r\n') + 2 }, async (_, at) => {
      const client = await RawSocket.open(node.port);
      client.send(text.slice(0, at));
      await new Promise((resolve) => setTimeout(resolve, 30));
      client.send(text.slice(at));
      const first = await client.peek();
      if (first.startsWith('HTTP/1.1 505')) assert.notEqual(await client.ended(), 'open');
      client.destroy();
      return /^HTTP\/1.1 (101|505)/.exec(first)?.[1];
    }),
  );
  assert.ok(
    outcomes.every((status) => status !== undefined),
    String(outcomes),
  );
  assert.equal((await attempt({})).status, 101);
});
