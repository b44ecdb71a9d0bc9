import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type OriginPolicy, originAllowed } from '../../src/transport/origin.ts';
import { handshakeText, RawSocket } from '../support/raw-socket.ts';
import { startTransport } from './support/parts.ts';

const policy = (...origins: string[]): OriginPolicy => ({ origins, missingOrigin: 'allow' });

const LIST = policy(
  'https://app.example.org',
  'https://*.example.com',
  'http://localhost:3000',
  'https://[::1]',
);

const ALLOWED = [
  'https://app.example.org',
  'HTTPS://App.Example.ORG',
  'https://a.example.com',
  'https://a.b.example.com',
  'http://localhost:3000',
  'https://[::1]',
];

const REFUSED = [
  // not the host
  'https://example.org',
  'https://app.example.org.evil.com',
  'https://evilapp.example.org',
  'https://app.example.org.',
  // not below the wildcard's host
  'https://example.com',
  'https://evilexample.com',
  'https://example.com.evil.com',
  'https://a.example.com.evil.com',
  'https://.example.com',
  'https://evil.com/.example.com',
  'https://evil.com?.example.com',
  'https://evil.com#.example.com',
  'https://evil.com\\.example.com',
  // not the scheme, not the port
  'http://app.example.org',
  'wss://app.example.org',
  'https://app.example.org:8443',
  'https://a.example.com:444',
  'http://localhost',
  'http://localhost:30000',
  // no origins at all
  'null',
  'https://user@app.example.org',
  'https://app.example.org@evil.com',
  'https://evil.com:80@app.example.org',
  'https://app.example.org/',
  'https://app.example.org https://evil.com',
  'https://app.example.org,https://evil.com',
  'app.example.org',
  '//app.example.org',
  'https://',
  'https://app.example.org\u0000',
  'https://аpp.example.org',
];

for (const origin of ALLOWED)
  test(`allowed: ${origin}`, () => assert.equal(originAllowed(origin, LIST), true));

for (const origin of REFUSED)
  test(`refused: ${JSON.stringify(origin)}`, () => assert.equal(originAllowed(origin, LIST), false));

test('a wildcard stands for labels, not for itself', () => {
  assert.equal(originAllowed('https://*.example.com', LIST), false);
});

test('a rule of the config with the default port means the same origin without it', () => {
  assert.equal(originAllowed('https://a.example', policy('https://a.example:443')), true);
  assert.equal(originAllowed('http://a.example', policy('http://a.example:80')), true);
  assert.equal(originAllowed('http://a.example', policy('http://a.example:443')), false);
});

test('no list lets every origin in, an empty one none', () => {
  assert.equal(originAllowed('https://evil.com', { origins: undefined, missingOrigin: 'deny' }), true);
  assert.equal(originAllowed('null', { origins: undefined, missingOrigin: 'deny' }), true);
  assert.equal(originAllowed('https://evil.com', policy()), false);
});

test('a missing Origin is decided by its own setting, with a list and without', () => {
  for (const origins of [undefined, ['https://app.example.org']]) {
    assert.equal(originAllowed('', { origins, missingOrigin: 'allow' }), true);
    assert.equal(originAllowed('', { origins, missingOrigin: 'deny' }), false);
  }
});

test('the handshake: 403 for an origin that is not in the list, and before any token is looked at', async (t) => {
  const node = await startTransport({
    policy: { origins: ['https://*.example.com'], missingOrigin: 'deny', allowQueryToken: false },
  });
  t.after(() => node.transport.close());
  const cases = [
    ['https://evil.com', 403],
    ['null', 403],
    [undefined, 403],
    ['https://a.example.com', 101],
  ] as const;
  for (const [Origin, status] of cases) {
    const client = await RawSocket.open(node.port);
    const Authorization = status === 403 ? 'Bearer new.ann' : 'Bearer known.ann';
    client.send(handshakeText({ headers: { Origin, Authorization } }));
    const answer = await client.answer();
    assert.equal(answer.status, status, String(Origin));
    if (status === 403) assert.equal(JSON.parse(answer.body).code, 'forbidden');
    client.destroy();
  }
  assert.equal(node.verifier.verified, 0);
  assert.equal(node.tally.upgrades.get('bad_origin'), 3);
});
