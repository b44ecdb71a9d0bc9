import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { developmentKey } from '../../src/auth/development.ts';
import { mintToken, privateSigner } from '../../src/auth/mint.ts';
import { createVerifier } from '../../src/auth/verifier.ts';
import { around, EC, ED, NOW, NOW_MS, options, RSA, SECRET, TestClock } from './support.ts';

test('a token minted with a private key is taken by its public half', async () => {
  const verifier = createVerifier(options(), around());
  for (const { setting, signing } of [RSA, EC, ED]) {
    const texts = [
      signing.export({ type: 'pkcs8', format: 'pem' }).toString(),
      JSON.stringify(signing.export({ format: 'jwk' })),
    ];
    for (const text of texts) {
      const signer = privateSigner(text, setting.kid);
      assert.ok('key' in signer && signer.alg === setting.alg);
      const minted = await mintToken(signer, { sub: 'bob', tenant: 't' }, { now: NOW_MS, ttlSeconds: 30 });
      const verdict = await verifier.verify(minted);
      assert.ok(verdict.ok, JSON.stringify(verdict));
      assert.deepEqual(verdict.identity, {
        user: 'bob',
        tenant: 't',
        exp: NOW + 30,
        issuedAt: NOW,
        rooms: [],
      });
    }
  }
});

test('what is no private key is refused without being repeated', () => {
  for (const text of [SECRET, RSA.setting.pem ?? '', '{}', '{', `{"kty":"oct","k":"${SECRET}"}`]) {
    const signer = privateSigner(text);
    assert.ok('reason' in signer && !signer.reason.includes(SECRET));
  }
});

test('development mode: a key for the run, tokens for a day and everything', async () => {
  const clock = new TestClock();
  const { key, mint } = developmentKey(randomBytes(32), () => clock.now());
  const verifier = createVerifier(options({ keys: [key] }), around(clock));
  const verdict = await verifier.verify(await mint('you'));
  assert.ok(verdict.ok);
  assert.deepEqual(verdict.identity, {
    user: 'you',
    tenant: 'default',
    exp: NOW + 86_400,
    issuedAt: NOW,
    rooms: [{ match: '**', allow: ['join', 'pub', 'presence', 'history'] }],
  });
  const other = developmentKey(randomBytes(32), () => clock.now());
  assert.equal((await verifier.verify(await other.mint('you'))).ok, false);
});
