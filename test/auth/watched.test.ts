/** A key set in a file that changes while the broker runs. */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createVerifier, type Verifier, type VerifierOptions } from '../../src/auth/verifier.ts';
import { around, EC, ED, JWKS, options, type Pair, SECRET, signed, token, type Watched } from './support.ts';

const OCT = { kty: 'oct', kid: 'hmac', k: Buffer.from(SECRET).toString('base64url') };

function setOf(...pairs: readonly (Pair | object)[]): string {
  const keys = pairs.map((pair) =>
    'setting' in pair
      ? { ...createPublicKey(pair.setting.pem ?? '').export({ format: 'jwk' }), kid: pair.setting.kid }
      : pair,
  );
  return JSON.stringify({ keys });
}

const tokenOf = ({ setting, signing }: Pair) => signed(signing, setting.alg, { kid: setting.kid });

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'carillon-keys-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

async function started(
  t: TestContext,
  jwksFile: string,
  jwks: Partial<VerifierOptions['jwks']> = {},
): Promise<{ verifier: Verifier; watched: Watched }> {
  const watched = around();
  const verifier = createVerifier(options({ keys: [], jwksFile, jwks: { ...JWKS, ...jwks } }), watched);
  t.after(() => verifier.close());
  await verifier.start();
  return { verifier, watched };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 100 && !condition(); i++) await sleep(30);
  assert.ok(condition(), what);
}

test('rotation without a refused token; a key that is gone takes its verdicts with it', async (t) => {
  const file = join(folder(t), 'jwks.json');
  writeFileSync(file, setOf(ED));
  const { verifier, watched } = await started(t, file);
  const [old, next] = [await tokenOf(ED), await tokenOf(EC)];
  assert.equal((await verifier.verify(old)).ok, true);
  // Refused, and remembered as refused, just before its key comes.
  assert.equal((await verifier.verify(next)).ok, false);
  assert.equal(verifier.known(next)?.ok, false);
  writeFileSync(file, setOf(ED, EC));
  await until(() => watched.counts.keySets.get('default file')?.keys === 2, 'the file is not read again');
  assert.equal(verifier.known(old)?.ok, true, 'the verdict of a key that stays');
  assert.equal((await verifier.verify(next)).ok, true);
  writeFileSync(`${file}.new`, setOf(EC));
  renameSync(`${file}.new`, file);
  await until(() => watched.counts.keySets.get('default file')?.keys === 1, 'a rename is not seen');
  assert.equal(verifier.known(old)?.ok, false, 'a verdict outlives its key');
  assert.equal((await verifier.verify(old)).ok, false);
  assert.equal(verifier.known(next)?.ok, true);
});

test('a file that cannot be used changes nothing, and is told once', async (t) => {
  const file = join(folder(t), 'jwks.json');
  writeFileSync(file, setOf(ED));
  const { verifier, watched } = await started(t, file, { pollMs: 50 });
  const secret = 'S3CRET-marker';
  const bad = [
    `{"keys": ["${secret}`,
    '',
    '{"keys":[]}',
    setOf(EC).padEnd(70_000),
    JSON.stringify({ keys: [{ ...EC.signing.export({ format: 'jwk' }), kid: secret }] }),
  ];
  for (const [at, text] of bad.entries()) {
    writeFileSync(file, text);
    await until(() => watched.lines.length > at, `no complaint about ${text.slice(0, 20)}`);
    assert.equal((await verifier.verify(await tokenOf(ED))).ok, true);
  }
  unlinkSync(file);
  await until(() => watched.lines.some((line) => line.includes('ENOENT')), 'a file that is gone is not told');
  const told = watched.lines.length;
  await sleep(200);
  assert.equal(watched.lines.length, told, 'a poll repeats the complaint');
  assert.ok(!watched.lines.join('\n').includes(secret));
  writeFileSync(file, setOf(EC));
  await until(() => watched.lines.some((line) => line.includes('reloaded')), 'it does not recover');
  assert.equal((await verifier.verify(await tokenOf(EC))).ok, true);
});

test('a link that is swapped, as Kubernetes does it', async (t) => {
  const base = folder(t);
  for (const [name, pair] of [
    ['1', ED],
    ['2', EC],
  ] as const) {
    mkdirSync(join(base, name));
    writeFileSync(join(base, name, 'jwks.json'), setOf(pair));
  }
  symlinkSync('1', join(base, '..data'));
  symlinkSync('..data/jwks.json', join(base, 'jwks.json'));
  const { verifier, watched } = await started(t, join(base, 'jwks.json'));
  assert.equal((await verifier.verify(await tokenOf(ED))).ok, true);
  symlinkSync('2', join(base, '..data_tmp'));
  renameSync(join(base, '..data_tmp'), join(base, '..data'));
  await until(() => watched.lines.some((line) => line.includes('reloaded')), 'the swap is not seen');
  assert.equal((await verifier.verify(await tokenOf(EC))).ok, true);
});

test('symmetric keys are taken from a file, when they are long enough', async (t) => {
  const file = join(folder(t), 'jwks.json');
  writeFileSync(file, setOf(OCT, { ...OCT, kid: 'short', k: 'c2hvcnQ' }));
  const { verifier } = await started(t, file);
  assert.equal((await verifier.verify(await token())).ok, true);
  const short = await signed(Buffer.from('short'), 'HS256', { kid: 'short' });
  assert.equal((await verifier.verify(short)).ok, false);
});

test('a file that cannot be used stops the start', async (t) => {
  const file = join(folder(t), 'jwks.json');
  await assert.rejects(started(t, file), /cannot be read \(ENOENT\)/);
  writeFileSync(file, '{}');
  await assert.rejects(started(t, file), /is not a JSON Web Key Set/);
});
