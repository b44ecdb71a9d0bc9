import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { importVerifyKey, isShortSecret, type KeySetting } from '../../src/auth/keys.ts';
import { EC, ED, RSA, SECRET } from './support.ts';

function reason(setting: Partial<KeySetting>): string {
  const imported = importVerifyKey({ kid: 'k', alg: 'HS256', ...setting });
  assert.ok(!imported.ok, 'the key was taken');
  return imported.reason;
}

const jwkOf = (key: KeyObject) => key.export({ format: 'jwk' }) as Record<string, unknown>;
const pemOf = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }).toString();

test('a key serves its own algorithm only', () => {
  const material = { HS256: { secret: SECRET }, RS256: RSA.setting, ES256: EC.setting, EdDSA: ED.setting };
  for (const [own, { kid: _, alg: __, ...key }] of Object.entries(material) as [
    KeySetting['alg'],
    Partial<KeySetting>,
  ][]) {
    for (const alg of ['HS256', 'RS256', 'ES256', 'EdDSA'] as const) {
      assert.equal(importVerifyKey({ kid: 'k', alg, ...key }).ok, alg === own, `${own} as ${alg}`);
    }
  }
});

test('a private key is not taken for its public half', () => {
  for (const { setting, signing } of [RSA, EC, ED]) {
    const pem = signing.export({ type: 'pkcs8', format: 'pem' }).toString();
    assert.match(reason({ alg: setting.alg, pem }), /private key/);
    assert.match(reason({ alg: setting.alg, jwk: jwkOf(signing) }), /private key/);
  }
});

test('weak and foreign keys', () => {
  const short = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
  assert.match(reason({ alg: 'RS256', pem: pemOf(short) }), /2048 bits/);
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
  assert.match(reason({ alg: 'ES256', jwk: jwkOf(p384) }), /P-256/);
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey;
  assert.match(reason({ alg: 'RS256', pem: pemOf(pss) }), /RSA key/);
  const x25519 = generateKeyPairSync('x25519').publicKey;
  assert.match(reason({ alg: 'EdDSA', jwk: jwkOf(x25519) }), /Ed25519/);
  assert.match(reason({ secret: '' }), /not empty/);
  assert.equal(isShortSecret({ kid: 'k', alg: 'HS256', secret: 'é'.repeat(15) }), true);
  assert.equal(isShortSecret({ kid: 'k', alg: 'HS256', secret: 'é'.repeat(16) }), false);
});

test('JWKs that say that they are for something else', () => {
  const jwk = jwkOf(createPublicKey(RSA.setting.pem ?? ''));
  assert.match(reason({ alg: 'RS256', jwk: { ...jwk, use: 'enc' } }), /signatures/);
  assert.match(reason({ alg: 'RS256', jwk: { ...jwk, alg: 'RS512' } }), /another alg/);
  assert.equal(
    importVerifyKey({ kid: 'k', alg: 'RS256', jwk: { ...jwk, use: 'sig', alg: 'RS256' } }).ok,
    true,
  );
});

test('rubbish is refused without being repeated', () => {
  const marker = 'S3CRET-marker';
  for (const pem of [
    marker,
    '',
    `-----BEGIN PUBLIC KEY-----\n${marker}\n-----END PUBLIC KEY-----`,
    '-----BEGIN CERTIFICATE-----',
  ]) {
    assert.ok(!reason({ alg: 'RS256', pem }).includes(marker));
  }
  for (const jwk of [
    {},
    { kty: marker },
    { kty: 'RSA', n: marker, e: 1 },
    { kty: 'oct', k: '', x: marker },
    { kty: 'oct', k: 5 },
  ]) {
    for (const alg of ['HS256', 'RS256', 'ES256', 'EdDSA'] as const)
      assert.ok(!reason({ alg, jwk }).includes(marker));
  }
  assert.match(reason({ alg: 'RS256' }), /needs a public key/);
});
