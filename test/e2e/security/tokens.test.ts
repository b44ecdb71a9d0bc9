/** Forged and unfit tokens at every door of a real broker process that has keys of all four algorithms. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, sign as signWith } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { type RunningBroker, startBroker } from '../../support/broker.ts';
import { AUDIENCE, claims, DOORS, forge, hmac, ISSUER, type Sign } from './attacker.ts';

const SECRET = 'the secret of the one HS256 key, 32 bytes or more';
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const ed = generateKeyPairSync('ed25519');
const own = generateKeyPairSync('rsa', { modulusLength: 2048 });

const jwkOf = (key: KeyObject) => key.export({ format: 'jwk' });
const bySecret = hmac(SECRET);
const byRsa =
  (key: KeyObject): Sign =>
  (input) =>
    signWith('sha256', Buffer.from(input), key);
const byEc =
  (dsaEncoding: 'ieee-p1363' | 'der'): Sign =>
  (input) =>
    signWith('sha256', Buffer.from(input), { key: ec.privateKey, dsaEncoding });
const byEd: Sign = (input) => signWith(null, Buffer.from(input), ed.privateKey);
const HS = { alg: 'HS256', kid: 'hs' };

let broker: RunningBroker;
let bait: Server;
let taken = 0;
let baitUrl = '';
const good = forge(HS, claims({ sub: 'alice' }), bySecret);

before(async () => {
  bait = createServer((_request, response) => {
    taken++;
    response.end(JSON.stringify({ keys: [{ ...jwkOf(own.publicKey), kid: 'own', alg: 'RS256' }] }));
  });
  await new Promise<void>((done) => bait.listen(0, '127.0.0.1', done));
  baitUrl = `http://127.0.0.1:${(bait.address() as AddressInfo).port}/jwks`;
  broker = await startBroker({
    env: { CARILLON_JWT_SECRET: '' },
    config: {
      auth: {
        issuer: ISSUER,
        audience: AUDIENCE,
        allowQueryToken: true,
        keys: [
          { kid: 'hs', alg: 'HS256', secret: SECRET },
          { kid: 'rs', alg: 'RS256', jwk: jwkOf(rsa.publicKey) },
          { kid: 'es', alg: 'ES256', jwk: jwkOf(ec.publicKey) },
          { kid: 'ed', alg: 'EdDSA', jwk: jwkOf(ed.publicKey) },
        ],
      },
      api: { failuresPerMinute: 1_000_000 },
    },
  });
});

after(async () => {
  bait?.close();
  await broker?.stop();
});

async function refusedEverywhere(what: string, token: string, code = 'unauthorized'): Promise<void> {
  for (const [door, attempt] of Object.entries(DOORS)) {
    const outcome = await attempt(broker, token, good);
    assert.deepEqual(outcome, { status: 401, code }, `${what}, ${door}`);
  }
}

/** So that a refusal below is about the token, and not about the door. */
test('honest tokens of all four algorithms open every door', async () => {
  const honest = [
    good,
    forge({ alg: 'RS256', kid: 'rs' }, claims(), byRsa(rsa.privateKey)),
    forge({ alg: 'ES256', kid: 'es' }, claims(), byEc('ieee-p1363')),
    forge({ alg: 'EdDSA', kid: 'ed' }, claims({ sub: 'alice' }), byEd),
    forge({ ...HS, typ: 'JWT', jku: baitUrl }, claims({ sub: 'alice' }), bySecret),
  ];
  for (const token of honest)
    for (const [door, attempt] of Object.entries(DOORS)) {
      const { status, code } = await attempt(broker, token, token);
      assert.ok(status === 101 || status === 200, `${door}: ${status} ${code}`);
    }
});

/** Every way to write a public key down that a careless verifier may take for the bytes of a secret. */
function spellings(key: KeyObject): (string | Buffer)[] {
  const pem = key.export({ type: 'spki', format: 'pem' }).toString();
  const der = key.export({ type: 'spki', format: 'der' });
  const jwk = jwkOf(key);
  const raw = Buffer.from(String(jwk.n ?? jwk.x), 'base64url');
  const texts = [pem, pem.trimEnd(), pem.replace(/\n/g, '\r\n'), JSON.stringify(jwk), String(jwk.n ?? jwk.x)];
  return [...texts, der, der.toString('base64'), raw];
}

test('algorithm confusion: a public key as the secret of HS256, however it is written', async () => {
  for (const [kid, key] of [
    ['rs', rsa.publicKey],
    ['es', ec.publicKey],
    ['ed', ed.publicKey],
  ] as const)
    for (const secret of spellings(key))
      for (const header of [{ alg: 'HS256', kid }, HS, { alg: 'HS256' }])
        await refusedEverywhere(`${kid} as a secret`, forge(header, claims(), hmac(secret)));
});

test('algorithm confusion: a good signature under the name of another algorithm or key', async () => {
  const signs = { rs: byRsa(rsa.privateKey), es: byEc('ieee-p1363'), ed: byEd, hs: bySecret };
  for (const [signer, sign] of Object.entries(signs))
    for (const alg of ['HS256', 'HS512', 'RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519'])
      for (const kid of ['hs', 'rs', 'es', 'ed']) {
        const honest = { hs: 'HS256', rs: 'RS256', es: 'ES256', ed: 'EdDSA' }[kid] === alg && signer === kid;
        if (!honest)
          await refusedEverywhere(`${alg} ${kid} by ${signer}`, forge({ alg, kid }, claims(), sign));
      }
});

test('none, in every spelling, with and without a signature', async () => {
  const signatures: Sign[] = [() => Buffer.alloc(0), () => Buffer.alloc(32), bySecret];
  for (const alg of [
    'none',
    'None',
    'NONE',
    'nOnE',
    'none ',
    '',
    'null',
    null,
    false,
    [],
    ['none'],
    undefined,
  ])
    for (const sign of signatures)
      for (const kid of [{ kid: 'hs' }, {}])
        await refusedEverywhere(`alg ${String(alg)}`, forge({ alg, ...kid }, claims(), sign));
});

test('a key of the sender in the header is never used, and an address there never asked', async () => {
  const sign = byRsa(own.privateKey);
  const jwk = { ...jwkOf(own.publicKey), kid: 'own' };
  const x5c = [own.publicKey.export({ type: 'spki', format: 'der' }).toString('base64')];
  for (const kid of ['own', 'rs', undefined])
    for (const extra of [
      { jwk },
      { jku: baitUrl },
      { x5u: baitUrl },
      { x5c },
      { jwk, jku: baitUrl, x5u: baitUrl },
    ])
      await refusedEverywhere(
        Object.keys(extra).join(),
        forge({ alg: 'RS256', ...(kid && { kid }), ...extra }, claims(), sign),
      );
  const secret = { kty: 'oct', k: Buffer.from('mine').toString('base64url') };
  await refusedEverywhere('jwk of kty oct', forge({ ...HS, jwk: secret }, claims(), hmac('mine')));
  assert.equal(taken, 0, 'the broker has fetched what a token told it to');
});

test('a kid that is a path, a query, a property or no string', async () => {
  const kids = [
    '../../../../dev/null',
    '/dev/null',
    'file:///dev/null',
    'hs\0',
    'hs/../hs',
    ' hs',
    'HS',
    "hs' OR '1'='1",
    '$hs',
    '__proto__',
    'constructor',
    'toString',
    'x'.repeat(1000),
    '',
    0,
    null,
    true,
    ['hs'],
    { toString: 'hs' },
  ];
  for (const kid of kids)
    for (const sign of [hmac(''), bySecret])
      await refusedEverywhere(`kid ${JSON.stringify(kid)}`, forge({ alg: 'HS256', kid }, claims(), sign));
});

test('signatures that are no signatures', async () => {
  const head = { alg: 'ES256', kid: 'es' };
  const zero: Sign = () => Buffer.alloc(64);
  await refusedEverywhere('ES256 with r = s = 0', forge(head, claims(), zero));
  await refusedEverywhere('ES256 in DER', forge(head, claims(), byEc('der')));
  await refusedEverywhere('EdDSA of zeros', forge({ alg: 'EdDSA', kid: 'ed' }, claims(), zero));
  await refusedEverywhere(
    'RS256 of one byte',
    forge({ alg: 'RS256', kid: 'rs' }, claims(), () => Buffer.of(1)),
  );
  const cut: Sign = (input) => bySecret(input).subarray(0, 16);
  await refusedEverywhere('HS256 cut', forge(HS, claims(), cut));
  await refusedEverywhere(
    'HS256 with more',
    forge(HS, claims(), (i) => Buffer.concat([bySecret(i), zero(i)])),
  );
  const [h, p, s] = good.split('.');
  const other = Buffer.from(JSON.stringify(claims({ sub: 'root' }))).toString('base64url');
  for (const token of [
    `${h}.${other}.${s}`,
    `${h}.${p}.`,
    `${h}.${p}`,
    `${h}..${s}`,
    `.${p}.${s}`,
    `${good}.x`,
  ])
    await refusedEverywhere('parts swapped', token);
});

test('extensions that have to be understood are not', async () => {
  for (const extra of [
    { crit: ['exp'], exp: 1 },
    { crit: ['b64'], b64: false },
    { crit: ['x'], x: 1 },
    { crit: [] },
    { crit: 'x' },
  ])
    await refusedEverywhere(JSON.stringify(extra), forge({ ...HS, ...extra }, claims(), bySecret));
});

test('times, issuer and audience', async () => {
  const now = Math.floor(Date.now() / 1000);
  const signed = (more: object) => forge(HS, claims({ sub: 'alice', ...more }), bySecret);
  await refusedEverywhere('expired', signed({ exp: now - 60 }), 'token_expired');
  await refusedEverywhere('expired long ago', signed({ exp: 0 }), 'token_expired');
  const wrong: readonly object[] = [
    { exp: undefined },
    { exp: String(now + 60) },
    { exp: null },
    { nbf: now + 60 },
    { nbf: 'later' },
    { iss: undefined },
    { iss: `${ISSUER}/` },
    { iss: ISSUER.toUpperCase() },
    { iss: [ISSUER] },
    { iss: { toString: ISSUER } },
    { iss: 'https://evil.example' },
    { aud: undefined },
    { aud: 'other' },
    { aud: [] },
    { aud: ['other', 'Carillon'] },
    { aud: { 0: AUDIENCE } },
  ];
  for (const more of wrong) await refusedEverywhere(JSON.stringify(more), signed(more));
  const infinite = JSON.stringify(claims()).replace(/"exp":\d+/, '"exp":1e999');
  await refusedEverywhere('exp 1e999', forge(HS, infinite, bySecret));
});

test('claims over their size, and names that are none', async () => {
  const grant = { match: 'a', allow: [] };
  const wrong: readonly object[] = [
    { rooms: Array.from({ length: 101 }, () => grant) },
    { rooms: [{ ...grant, deny: ['join'] }] },
    { rooms: { match: '**', allow: ['join'] } },
    { rooms: [{ match: 'x'.repeat(129), allow: ['join'] }] },
    { info: { text: 'x'.repeat(1100) } },
    { sub: 'x'.repeat(129) },
    { sub: '' },
    { sub: 'a\0b' },
    { sub: 'a\u202eb' },
    { sub: ['alice'] },
    { scope: 'admin '.repeat(50) },
    { scope: ['admin'] },
    { jti: 'x'.repeat(129) },
    ...['', 'a\0b', 'a/b', 'a b', '..\u0000', 'a:b', '*', '>', 'é', 'x'.repeat(65), ['a'], null].map(
      (tenant) => ({
        tenant,
      }),
    ),
  ];
  // The sizes of the claims, not of the head: the room for a token in a request is 4,096 bytes.
  const doors = Object.entries(DOORS).filter(([door]) => door === 'refresh');
  for (const more of wrong) {
    const token = forge(HS, claims({ sub: 'alice', ...more }), bySecret);
    for (const [door, attempt] of token.length > 3000 ? doors : Object.entries(DOORS))
      assert.deepEqual(
        await attempt(broker, token, good),
        { status: 401, code: 'unauthorized' },
        `${door}: ${JSON.stringify(more).slice(0, 60)}`,
      );
  }
});

test('tokens of any length are refused, and the broker lives', async () => {
  for (const bytes of [5000, 20_000, 200_000])
    for (const [door, attempt] of Object.entries(DOORS)) {
      const token = forge(HS, claims({ sub: 'alice', pad: 'x'.repeat(bytes) }), bySecret);
      const { status } = await attempt(broker, token, good).catch(() => ({ status: 0 }));
      assert.ok(status !== 101 && status !== 200, `${door}: ${status} for ${bytes} bytes`);
    }
  assert.equal((await DOORS['header']?.(broker, good, good))?.status, 101);
});
