/** `carillon keys` as an operator uses it, with real files, and a broker's verifier on what it wrote. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createVerifier } from '../src/auth/verifier.ts';
import { runKeys } from '../src/cli/keys.ts';
import { makeToken, tokenFlags } from '../src/cli/token.ts';
import { around, NOW_MS, options, TestClock } from './auth/support.ts';

const DAY_MS = 86_400_000;

interface Bench {
  readonly folder: string;
  readonly file: string;
  readonly shown: string;
  keys(now: number, ...args: string[]): Promise<string>;
  refused(now: number, ...args: string[]): Promise<string>;
  token(now: number): Promise<string>;
}

function bench(t: TestContext): Bench {
  const folder = mkdtempSync(join(tmpdir(), 'carillon-keys-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [file, shown] = [join(folder, 'private.json'), join(folder, 'jwks.json')];
  const run = (now: number, [action = '', ...args]: readonly string[]) =>
    runKeys([action, '--file', file, '--public', shown, ...args], now);
  return {
    folder,
    file,
    shown,
    keys: async (now, ...args) => {
      const done = await run(now, args);
      assert.ok(done.ok, JSON.stringify(done));
      return done.text;
    },
    refused: async (now, ...args) => {
      const done = await run(now, args);
      assert.ok(!done.ok, `taken: ${args}`);
      return `${done.kind}: ${done.reason}`;
    },
    token: async (now) => {
      const flags = tokenFlags(['--sub', 'alice', '--key', file, '--ttl', '24h']);
      assert.ok(flags.ok);
      const made = await makeToken(flags.flags, undefined, now);
      assert.ok(made.ok, JSON.stringify(made));
      return made.token;
    },
  };
}

test('make, rotate, prune: no token is refused on the way, by a broker that runs all the time', async (t) => {
  const { keys, token, shown } = bench(t);
  const clock = new TestClock();
  await keys(NOW_MS, 'make');
  const watched = around(clock);
  const verifier = createVerifier(options({ keys: [], jwksFile: shown }), watched);
  t.after(() => verifier.close());
  await verifier.start();
  const reread = async (count: number) => {
    const held = () => watched.counts.keySets.get('default file')?.keys;
    for (let i = 0; i < 100 && held() !== count; i++) await sleep(20);
    assert.equal(held(), count);
  };
  const first = await token(NOW_MS);
  assert.equal((await verifier.verify(first)).ok, true);
  await keys(NOW_MS, 'rotate', '--lead', '15m', '--overlap', '25h');
  await reread(2);
  assert.equal(verifier.known(first)?.ok, true);
  const before = await token(NOW_MS + 14 * 60_000);
  const after = await token(NOW_MS + 15 * 60_000);
  const kidOf = (text: string) =>
    JSON.parse(Buffer.from(text.split('.')[0] ?? '', 'base64url').toString()).kid;
  assert.equal(kidOf(before), kidOf(first));
  assert.notEqual(kidOf(after), kidOf(first));
  for (const text of [before, after]) assert.equal((await verifier.verify(text)).ok, true);
  assert.match(await keys(NOW_MS + 20 * 60_000, 'list'), /signing .*\n.*verifying .*ends/);
  await keys(NOW_MS + DAY_MS, 'prune');
  await reread(2);
  await keys(NOW_MS + 2 * DAY_MS, 'prune');
  await reread(1);
  assert.notEqual(verifier.known(first)?.ok, true);
  assert.equal((await verifier.verify(after)).ok, true);
});

test('a leaked key goes at once', async (t) => {
  const { keys, refused, shown } = bench(t);
  const leaked = (await keys(NOW_MS, 'make', '--alg', 'ES256')).split(' ')[0] ?? '';
  assert.match(await refused(NOW_MS, 'prune', `--kid=${leaked}`), /no key would be left/);
  assert.match(await refused(NOW_MS, 'prune', '--kid=other'), /has no key other/);
  const listed = await keys(NOW_MS, 'rotate', '--lead', '0s');
  assert.match(listed, /ES256 {2}signing/);
  await keys(NOW_MS, 'prune', `--kid=${leaked}`);
  assert.ok(!readFileSync(shown, 'utf8').includes(leaked));
});

test('private files are for their owner, public ones hold nothing private, no drafts are left', async (t) => {
  for (const alg of ['EdDSA', 'ES256', 'RS256', 'HS256']) {
    const { keys, file, shown, folder } = bench(t);
    const text = await keys(NOW_MS, 'make', '--alg', alg);
    const [own] = JSON.parse(readFileSync(file, 'utf8')).keys;
    assert.equal(statSync(file).mode & 0o777, 0o600);
    if (alg === 'HS256') assert.equal(statSync(shown).mode & 0o077, 0);
    assert.equal(/holds an HS256 secret/.test(text), alg === 'HS256');
    if (alg !== 'HS256') assert.ok(!readFileSync(shown, 'utf8').includes(own.d));
    for (const secret of [own.d, own.k]) assert.ok(secret === undefined || !text.includes(secret));
    assert.deepEqual(readdirSync(folder).sort(), ['jwks.json', 'private.json']);
  }
});

test('what cannot be done is said, and changes nothing', async (t) => {
  const { keys, refused, file, shown } = bench(t);
  assert.match(await refused(NOW_MS, 'list'), /^failed: .*cannot be read \(ENOENT\): carillon keys make/);
  assert.match(await refused(NOW_MS, 'make', '--alg', 'none'), /^usage: --alg is none of/);
  await keys(NOW_MS, 'make');
  const before = readFileSync(file, 'utf8');
  assert.match(await refused(NOW_MS, 'make'), /is there already/);
  assert.match(await refused(NOW_MS, 'rotate', '--lead', 'soon'), /^usage: .*durations/);
  assert.match(await refused(NOW_MS, 'rotate', '--alg', 'RS512'), /^usage: --alg/);
  assert.match(await refused(NOW_MS, 'burn'), /^usage: there is no action burn/);
  assert.match(await refused(NOW_MS, 'list', '--frob'), /^usage: .*frob/);
  assert.equal(readFileSync(file, 'utf8'), before);
  await keys(NOW_MS, 'rotate');
  assert.match(await refused(NOW_MS + 1000, 'rotate'), /is the next key already/);
  writeFileSync(file, '{"keys":[{"kid":"S3CRET"}]}');
  const reason = await refused(NOW_MS, 'rotate');
  assert.match(reason, /has not made/);
  assert.ok(!reason.includes('S3CRET'));
  assert.ok(readFileSync(shown, 'utf8').length > 0);
});
