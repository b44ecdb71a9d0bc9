/** Keys behind a URL, of a real HTTP server that fails in many ways. */
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createVerifier, type Verifier, type VerifierOptions } from '../../src/auth/verifier.ts';
import type { Verdict } from '../../src/broker/ports.ts';
import { FAILURES, type Issuer, issuer, json } from './issuer.ts';
import {
  around,
  ED,
  forged,
  JWKS,
  NOW,
  options,
  type Pair,
  RSA,
  SECRET,
  signed,
  TestClock,
  type Watched,
} from './support.ts';

const ISS = 'https://issuer.example';
const CLAIMS = { iss: ISS, aud: 'carillon' };

function jwkOf({ setting }: Pair, changes: object = {}): object {
  return {
    ...createPublicKey(setting.pem ?? '').export({ format: 'jwk' }),
    kid: setting.kid,
    use: 'sig',
    ...changes,
  };
}

function pairNamed(kid: string): Pair {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { setting: { kid, alg: 'EdDSA', pem }, signing: privateKey };
}

const setOf = (...pairs: Pair[]) => json({ keys: pairs.map((pair) => jwkOf(pair)) });

const tokenOf = ({ setting, signing }: Pair, claims: object = {}) =>
  signed(signing, setting.alg, { kid: setting.kid }, { ...CLAIMS, ...claims });

interface Started {
  readonly verifier: Verifier;
  readonly clock: TestClock;
  readonly watched: Watched;
}

async function started(
  t: TestContext,
  url: string,
  jwks: Partial<VerifierOptions['jwks']> = {},
  changes: Partial<VerifierOptions> = {},
): Promise<Started> {
  const clock = new TestClock();
  const watched = around(clock);
  const base = { keys: [], issuer: ISS, audience: ['carillon'], jwksUrl: url, jwks: { ...JWKS, ...jwks } };
  const verifier = createVerifier(options({ ...base, ...changes }), watched);
  t.after(() => verifier.close());
  await verifier.start();
  return { verifier, clock, watched };
}

const codeOf = (verdict: Verdict) => (verdict.ok ? 'ok' : verdict.code);

test('the keys of a URL verify, all algorithms at once', async (t) => {
  const server = await issuer(t, setOf(ED, RSA));
  const { verifier, watched } = await started(t, server.url);
  for (const pair of [ED, RSA]) assert.equal(codeOf(await verifier.verify(await tokenOf(pair))), 'ok');
  assert.equal(server.asked.length, 1);
  assert.deepEqual(watched.counts.keySets.get(`${ISS} url`), { loadedAt: watched.clock.now(), keys: 2 });
});

for (const [name, [failure, outcome]] of Object.entries(FAILURES)) {
  test(`the endpoint fails with ${name}: the last good keys stay`, async (t) => {
    const server = await issuer(t, setOf(ED));
    const { verifier, watched } = await started(t, server.url);
    server.answer = failure;
    // A kid that is not there makes it ask.
    const other = await verifier.verify(await tokenOf(pairNamed('new')));
    assert.equal(codeOf(other), 'unavailable');
    assert.ok(!other.ok && (other.retryAfterMs ?? 0) > 0);
    assert.equal(
      watched.counts.refreshes.get(outcome as 'status'),
      1,
      JSON.stringify([...watched.counts.refreshes]),
    );
    assert.equal(codeOf(await verifier.verify(await tokenOf(ED))), 'ok');
    assert.ok(watched.lines.some((line) => line.includes('could not be fetched')));
  });
}

test('an endpoint that is gone at the start is no end: tokens are told to come back, and then taken', async (t) => {
  const server = await issuer(t, setOf(ED));
  await server.stop();
  const { verifier, watched } = await started(t, server.url, { cooldownMs: 60_000 });
  const text = await tokenOf(ED);
  assert.equal(codeOf(await verifier.verify(text)), 'unavailable');
  assert.equal(watched.counts.refusals.get('keys_unavailable'), 1);
  await server.start();
  // The first retry comes after a second.
  for (let i = 0; i < 60 && server.asked.length === 0; i++) await sleep(50);
  await sleep(50);
  assert.equal(codeOf(await verifier.verify(text)), 'ok');
});

test('rotation: a token of a key that has just been published is taken, and so are those of the old one', async (t) => {
  const server = await issuer(t, setOf(ED));
  const { verifier } = await started(t, server.url);
  const old = await tokenOf(ED);
  await verifier.verify(old);
  const next = pairNamed('next');
  server.answer = setOf(ED, next);
  assert.equal(codeOf(await verifier.verify(await tokenOf(next))), 'ok');
  assert.equal(verifier.known(old)?.ok, true);
  server.answer = setOf(next);
  assert.equal(codeOf(await verifier.verify(await tokenOf(pairNamed('x')))), 'unauthorized');
  assert.equal(verifier.known(old), undefined, 'the verdict of a key that is gone');
  assert.equal(codeOf(await verifier.verify(old)), 'unavailable', 'within the cool-down nobody asks');
  await sleep(0);
});

test('attack: made-up kids cause one fetch per cool-down, and a new key waits for it at most', async (t) => {
  const server = await issuer(t, setOf(ED));
  const { verifier, clock } = await started(t, server.url, { cooldownMs: 10_000 });
  const bad = (kid: string) => forged({ alg: 'EdDSA', kid }, { sub: 'eve', exp: NOW + 60 }, 'eve');
  const first = await Promise.all(Array.from({ length: 50 }, (_, at) => verifier.verify(bad(`a${at}`))));
  assert.deepEqual(new Set(first.map(codeOf)), new Set(['unauthorized']));
  assert.equal(server.asked.length, 2);
  for (let at = 0; at < 200; at++) await verifier.verify(bad(`b${at}`));
  assert.equal(server.asked.length, 2);
  const next = pairNamed('next');
  server.answer = setOf(ED, next);
  const late = await verifier.verify(await tokenOf(next));
  assert.deepEqual(late, {
    ok: false,
    code: 'unavailable',
    reason: 'the key of the token cannot be looked up now: come back',
    retryAfterMs: 10_000,
  });
  clock.ms += 10_000;
  assert.equal(codeOf(await verifier.verify(await tokenOf(next))), 'ok');
  assert.equal(server.asked.length, 3);
});

test('a storm of tokens of a key that is gone gets its verdict, not a promise', async (t) => {
  const server = await issuer(t, setOf(ED));
  const { verifier } = await started(t, server.url, { cooldownMs: 10_000 });
  const gone = pairNamed('gone');
  for (let at = 0; at < 5; at++)
    assert.equal(codeOf(await verifier.verify(await tokenOf(gone, { sub: `u${at}` }))), 'unauthorized');
  assert.equal(server.asked.length, 2);
});

test('attack: tokens that wait for one slow fetch are bounded', async (t) => {
  const server = await issuer(t, setOf(ED));
  const { verifier } = await started(t, server.url, { waiting: 5 });
  server.answer = () => {};
  const kids = Array.from({ length: 20 }, (_, at) => pairNamed(`k${at}`));
  const begun = performance.now();
  const quick = await Promise.all(
    kids.map(async (pair) => {
      const verdict = await verifier.verify(await tokenOf(pair));
      return performance.now() - begun < JWKS.timeoutMs - 100 && codeOf(verdict) === 'unavailable';
    }),
  );
  assert.equal(quick.filter(Boolean).length, 15);
});

test('the last good set is used for so long and no longer', async (t) => {
  const server = await issuer(t, setOf(ED));
  const { verifier, clock, watched } = await started(t, server.url, { staleMs: 3_600_000 });
  server.answer = json('', 500);
  const text = await tokenOf(ED, { exp: NOW + 100_000 });
  assert.equal(codeOf(await verifier.verify(text)), 'ok');
  clock.ms += 3_600_000;
  await verifier.verify(await tokenOf(pairNamed('x')));
  assert.equal(verifier.known(text)?.ok, true);
  clock.ms += 1000;
  await verifier.verify(await tokenOf(pairNamed('y')));
  assert.equal(verifier.known(text), undefined);
  assert.equal(codeOf(await verifier.verify(text)), 'unavailable');
  assert.ok(watched.lines.some((line) => line.includes('too old')));
});

test('the cache folder carries the keys over a restart while the endpoint is away', async (t) => {
  const cacheDir = mkdtempSync(join(tmpdir(), 'carillon-jwks-'));
  t.after(() => rmSync(cacheDir, { recursive: true }));
  const server = await issuer(t, setOf(ED));
  (await started(t, server.url, { cacheDir })).verifier.close();
  await server.stop();
  const { verifier, clock } = await started(t, server.url, { cacheDir });
  assert.equal(codeOf(await verifier.verify(await tokenOf(ED))), 'ok');
  const [file = '', ...more] = readdirSync(cacheDir);
  assert.deepEqual(more, [], 'drafts are left behind');
  const stored = readFileSync(join(cacheDir, file), 'utf8');

  const stale = JSON.stringify({ ...JSON.parse(stored), fetchedAt: clock.ms - 3_600_001 });
  const foreign = JSON.stringify({ ...JSON.parse(stored), url: 'https://evil.example' });
  const secret = { kty: 'oct', kid: 'ed', k: Buffer.from(SECRET).toString('base64url') };
  const symmetric = JSON.stringify({ ...JSON.parse(stored), jwks: JSON.stringify({ keys: [secret] }) });
  for (const text of [stale, foreign, symmetric, stored.slice(0, 40), '', '[]']) {
    writeFileSync(join(cacheDir, file), text);
    const again = await started(t, server.url, { cacheDir });
    assert.equal(codeOf(await again.verifier.verify(await tokenOf(ED))), 'unavailable', text.slice(0, 60));
  }
});

test('a folder that cannot be written costs a warning only', async (t) => {
  const server = await issuer(t, setOf(ED));
  const { verifier, watched } = await started(t, server.url, { cacheDir: '/dev/null/x' });
  assert.equal(codeOf(await verifier.verify(await tokenOf(ED))), 'ok');
  assert.ok(watched.lines.some((line) => line.includes('could not be cached')));
});

test('attack: sets that would make a forger of everybody', async (t) => {
  const own = { kty: 'oct', kid: 'oct', k: Buffer.from(SECRET).toString('base64url') };
  const privateKey = { ...ED.signing.export({ format: 'jwk' }), kid: 'ed' };
  const cases: readonly (readonly [string, object[]])[] = [
    ['only a symmetric key', [own]],
    ['a private key', [jwkOf(RSA), privateKey]],
    ['keys for encryption', [jwkOf(ED, { use: 'enc' })]],
    ['keys to sign with', [jwkOf(ED, { key_ops: ['sign'] })]],
    ['another alg', [jwkOf(RSA, { alg: 'PS256' }), jwkOf(ED, { alg: 'none' })]],
    ['two keys of one kid', [jwkOf(ED), jwkOf(pairNamed('ed'))]],
    ['too many keys', Array.from({ length: 51 }, () => jwkOf(ED))],
    [
      'kids that are none',
      [jwkOf(ED, { kid: 5 }), jwkOf(ED, { kid: 'k'.repeat(257) }), jwkOf(ED, { kid: '' })],
    ],
  ];
  for (const [name, keys] of cases) {
    const server = await issuer(t, json({ keys }));
    const { verifier, watched } = await started(t, server.url);
    assert.equal(watched.counts.refreshes.get('garbage'), 1, name);
    assert.equal(codeOf(await verifier.verify(await tokenOf(ED))), 'unavailable', name);
  }
  // Beside a good key the useless ones are passed over, and the symmetric one is not taken.
  const server = await issuer(
    t,
    json({ keys: [own, null, 'x', jwkOf(ED), { kty: 'RSA', n: 'AQ', e: 'AQAB', kid: 's' }] }),
  );
  const { verifier } = await started(t, server.url);
  assert.equal(codeOf(await verifier.verify(await tokenOf(ED))), 'ok');
  const hs = forged({ alg: 'HS256', kid: 'oct' }, { sub: 'eve', exp: NOW + 60, ...CLAIMS }, SECRET);
  assert.equal(codeOf(await verifier.verify(hs)), 'unauthorized');
});

test('several issuers: each signs for itself only, and for its tenants', async (t) => {
  const [mine, theirs] = [pairNamed('k'), pairNamed('k')];
  const [a, b] = [await issuer(t, setOf(mine)), await issuer(t, setOf(theirs))];
  const second = { issuer: 'https://b.example', audience: ['b'], keys: [], jwksUrl: b.url, tenants: ['b'] };
  const { verifier } = await started(t, a.url, {}, { issuers: [second] });
  const of = async (pair: Pair, claims: object) => {
    const verdict = await verifier.verify(await tokenOf(pair, claims));
    return verdict.ok ? 'ok' : verdict.reason;
  };
  const forB = { iss: 'https://b.example', aud: 'b', tenant: 'b' };
  assert.equal(await of(mine, {}), 'ok');
  assert.equal(await of(theirs, forB), 'ok');
  assert.match(await of(theirs, {}), /signature/);
  assert.match(await of(mine, forB), /signature/);
  assert.match(await of(theirs, { ...forB, aud: 'carillon' }), /aud is not/);
  assert.match(await of(theirs, { ...forB, tenant: 'default' }), /may not name this tenant/);
  assert.match(await of(mine, { iss: 'https://c.example' }), /iss is not/);
  assert.match(await of(mine, { iss: undefined }), /iss is missing/);
});

test('a failure of one issuer leaves the others alone', async (t) => {
  const theirs = pairNamed('k');
  const [a, b] = [await issuer(t, json('', 500)), await issuer(t, setOf(theirs))];
  const second = { issuer: 'https://b.example', audience: ['b'], keys: [], jwksUrl: b.url };
  const { verifier } = await started(t, a.url, {}, { issuers: [second] });
  const claims = { iss: 'https://b.example', aud: 'b' };
  assert.equal(codeOf(await verifier.verify(await tokenOf(theirs, claims))), 'ok');
  assert.equal(codeOf(await verifier.verify(await tokenOf(ED))), 'unavailable');
});

test('the refresh comes by itself', async (t) => {
  const server: Issuer = await issuer(t, setOf(ED));
  const { verifier } = await started(t, server.url, { refreshMs: 50 });
  const next = pairNamed('next');
  server.answer = setOf(next);
  for (let i = 0; i < 60 && server.asked.length < 3; i++) await sleep(50);
  assert.equal(codeOf(await verifier.verify(await tokenOf(next))), 'ok');
  verifier.close();
  const asked = server.asked.length;
  await sleep(200);
  assert.ok(server.asked.length <= asked + 1, 'it goes on after its end');
});

test('no log line holds a token, a key or the query of a URL', async (t) => {
  const server = await issuer(t, setOf(ED));
  const { verifier, watched } = await started(t, `${server.url}?apikey=S3CRET-marker`);
  server.answer = json(`S3CRET-marker ${SECRET}`);
  const text = await tokenOf(pairNamed('x'));
  await verifier.verify(text);
  const all = watched.lines.join('\n');
  assert.ok(all.length > 0);
  for (const secret of ['S3CRET-marker', SECRET, ...text.split('.')]) assert.ok(!all.includes(secret));
});
