import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import { createVerifier, TOKEN_BYTES_MAX, type VerifierOptions } from '../../src/auth/verifier.ts';
import type { Verdict } from '../../src/broker/ports.ts';
import {
  around,
  EC,
  ED,
  forged,
  HMAC,
  NOW,
  options,
  RSA,
  SECRET,
  signed,
  TestClock,
  token,
} from './support.ts';

async function verdictOn(text: string, changes: Partial<VerifierOptions> = {}): Promise<Verdict> {
  const verifier = createVerifier(options(changes), around());
  const verdict = await verifier.verify(text);
  // A refusal goes to strangers: whatever it says, it does not repeat the token.
  if (!verdict.ok)
    for (const part of text.split('.')) assert.ok(part.length < 12 || !verdict.reason.includes(part));
  return verdict;
}

async function refused(text: string, reason: RegExp, changes: Partial<VerifierOptions> = {}): Promise<void> {
  const verdict = await verdictOn(text, changes);
  assert.ok(!verdict.ok, `taken: ${text}`);
  assert.match(verdict.reason, reason);
  assert.equal(verdict.code, /expired/.test(verdict.reason) ? 'token_expired' : 'unauthorized');
}

test('each algorithm with its key', async () => {
  for (const { setting, signing } of [RSA, EC, ED]) {
    const verdict = await verdictOn(await signed(signing, setting.alg, { kid: setting.kid }));
    assert.deepEqual(verdict, {
      ok: true,
      identity: { user: 'alice', tenant: 'default', issuedAt: NOW, exp: NOW + 60, rooms: [] },
    });
  }
  assert.equal((await verdictOn(await token())).ok, true);
});

test('keys as JWK', async () => {
  for (const { setting, signing } of [RSA, EC, ED]) {
    const jwk = createPublicKey(setting.pem ?? '').export({ format: 'jwk' }) as Record<string, unknown>;
    const keys = [{ kid: 'j', alg: setting.alg, jwk }];
    assert.equal((await verdictOn(await signed(signing, setting.alg, { kid: 'j' }), { keys })).ok, true);
  }
});

test('attack: alg none, in every spelling, with and without a signature', async () => {
  for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null, undefined, 0, ['HS256']]) {
    const text = forged({ alg, kid: 'hmac' }, { sub: 'eve', exp: NOW + 60 });
    await refused(text, /well-formed|alg/);
    await refused(`${text}AAAA`, /well-formed|alg/);
  }
});

test('attack: the public RSA key as the secret of HS256', async () => {
  const pem = RSA.setting.pem ?? '';
  const der = createPublicKey(pem).export({ type: 'spki', format: 'der' });
  for (const key of [pem, pem.trim(), der]) {
    await refused(forged({ alg: 'HS256', kid: 'rsa' }, { sub: 'eve', exp: NOW + 60 }, key), /alg/);
    await refused(forged({ alg: 'HS256' }, { sub: 'eve', exp: NOW + 60 }, key), /kid|alg/, {
      keys: [RSA.setting],
    });
  }
});

test('attack: another algorithm of the same key, and of another key', async () => {
  await refused(await signed(RSA.signing, 'RS512', { kid: 'rsa' }), /alg/);
  await refused(await signed(RSA.signing, 'PS256', { kid: 'rsa' }), /alg/);
  await refused(await signed(Buffer.from(SECRET), 'HS256', { kid: 'ed' }), /alg/);
  await refused(await signed(ED.signing, 'EdDSA', { kid: 'ec' }), /alg/);
});

test('attack: a kid that is a path, a property, an injection or no string', async () => {
  const kids = [
    '../../dev/null',
    '/dev/null',
    '__proto__',
    'constructor',
    'toString',
    "x' UNION SELECT 'y",
    'hmac\0',
    'HMAC',
    ' hmac',
    '',
    'a"\r\nSet-Cookie: b',
    '|whoami',
    'k'.repeat(500),
  ];
  for (const kid of kids) {
    await refused(await token({}, { kid }), /no key is configured for the kid/);
    await refused(
      forged({ alg: 'HS256', kid }, { sub: 'eve', exp: NOW + 60 }, ''),
      /no key is configured for the kid/,
    );
  }
  for (const kid of [0, null, {}, ['hmac'], true]) {
    await refused(forged({ alg: 'HS256', kid }, { sub: 'eve', exp: NOW + 60 }, SECRET), /well-formed/);
  }
});

test('a reason that repeats a kid is safe in a header', async () => {
  for (const kid of ['unknown-1', 'a"\r\nb', 'é', '<script>']) {
    const verdict = await verdictOn(await token({}, { kid }));
    assert.ok(!verdict.ok);
    assert.match(verdict.reason, /^[\x20-\x21\x23-\x7e]+$/);
    assert.equal(verdict.reason.includes(kid), kid === 'unknown-1');
  }
});

test('attack: a key of the sender in the header', async () => {
  const jwk = { kty: 'oct', k: Buffer.from('eve').toString('base64url') };
  const claims = { sub: 'eve', exp: NOW + 60 };
  for (const header of [
    { jwk },
    { jku: 'http://127.0.0.1:1/jwks' },
    { x5u: 'http://127.0.0.1:1/' },
    { x5c: ['AAAA'] },
  ]) {
    await refused(forged({ alg: 'HS256', kid: 'hmac', ...header }, claims, 'eve'), /signature/);
    await refused(forged({ alg: 'HS256', ...header }, claims, 'eve'), /signature/);
  }
});

test('attack: members that stand twice in the header or the claims', async () => {
  const claims = { sub: 'eve', exp: NOW + 60 };
  const pem = RSA.setting.pem ?? '';
  await refused(forged('{"alg":"HS256","kid":"hmac","alg":"none"}', claims), /alg|well-formed/);
  await refused(forged('{"alg":"none","kid":"hmac","alg":"HS256"}', claims, 'eve'), /signature/);
  // Whichever of the two a reader takes, key and algorithm have to fit.
  for (const header of ['"kid":"hmac","kid":"rsa"', '"kid":"rsa","kid":"hmac"'])
    await refused(forged(`{"alg":"HS256",${header}}`, claims, pem), /alg|signature/);
  await refused(
    forged({ alg: 'HS256', kid: 'hmac' }, `{"sub":"eve","exp":${NOW + 60},"exp":1}`, SECRET),
    /expired/,
  );
});

test('attack: extensions that must be understood', async () => {
  const claims = { sub: 'eve', exp: NOW + 60 };
  await refused(
    forged({ alg: 'HS256', kid: 'hmac', crit: ['x'], x: 1 }, claims, SECRET),
    /extension|well-formed/,
  );
  await refused(
    forged({ alg: 'HS256', kid: 'hmac', b64: false, crit: ['b64'] }, claims, SECRET),
    /extension|well-formed|signature/,
  );
  await refused(forged({ alg: 'HS256', kid: 'hmac', crit: [] }, claims, SECRET), /well-formed/);
});

test('attack: every part changed, swapped, cut or padded', async () => {
  const [header = '', payload = '', signature = ''] = (await token()).split('.');
  const [, other = ''] = (await token({ sub: 'admin' })).split('.');
  await refused(`${header}.${other}.${signature}`, /signature/);
  await refused(`${header}.${payload}.${signature.slice(0, -2)}`, /signature|well-formed/);
  await refused(`${header}.${payload}.${signature}AAAA`, /signature|well-formed/);
  await refused(`${header}.${payload}.${Buffer.alloc(32).toString('base64url')}`, /signature/);
  const flipped = signature.startsWith('A') ? `B${signature.slice(1)}` : `A${signature.slice(1)}`;
  await refused(`${header}.${payload}.${flipped}`, /signature/);
  for (const text of [
    '',
    '.',
    '..',
    'a.b',
    'a.b.c',
    'a.b.c.d',
    `${header}.${payload}.`,
    `${header}..${signature}`,
    `${header}.${payload}.${signature}.`,
    `${header}.${payload}.${signature} `,
    `${header}.${payload}.${signature}=`,
    `Bearer ${header}.${payload}.${signature}`,
    `${header}.${payload}.${signature}\n`,
    '💣.💣.💣',
  ]) {
    await refused(text, /well-formed/);
  }
});

test('attack: signed rubbish', async () => {
  for (const payload of ['null', '[]', '"sub"', '1', '{', '', '\u0000', '{"sub":"a"}}']) {
    await refused(forged({ alg: 'HS256', kid: 'hmac' }, payload, SECRET), /well-formed/);
  }
  for (const header of ['null', '[]', '{', '"HS256"']) {
    await refused(forged(header, { sub: 'eve', exp: NOW + 60 }, SECRET), /well-formed/);
  }
});

test('attack: an endless token is refused before it is hashed', async () => {
  const fits = await token({ pad: 'x'.repeat(2800) });
  assert.ok(fits.length <= TOKEN_BYTES_MAX && fits.length > 3500);
  assert.equal((await verdictOn(fits)).ok, true);
  await refused(await token({ pad: 'x'.repeat(4000) }), /longer than 4096/);
  const verifier = createVerifier(options(), around());
  assert.equal(verifier.known('x'.repeat(50_000_000))?.ok, false);
});

test('another secret', async () => {
  await refused(await signed(Buffer.from(`${SECRET}x`), 'HS256', { kid: 'hmac' }), /signature/);
});

test('without kid: the only key of the algorithm, or none', async () => {
  assert.equal((await verdictOn(await token({}, { kid: undefined }))).ok, true);
  const second = { ...HMAC, kid: 'second' };
  await refused(await token({}, { kid: undefined }), /names no kid/, { keys: [HMAC, second] });
  assert.equal((await verdictOn(await token(), { keys: [second, HMAC] })).ok, true);
  await refused(await token({}, { kid: undefined }), /no key is configured for the alg/, {
    keys: [RSA.setting],
  });
});

test('exp and nbf, with tolerance', async () => {
  assert.equal((await verdictOn(await token({ exp: NOW - 4 }))).ok, true);
  await refused(await token({ exp: NOW - 5 }), /expired, at 2025-12-31T23:59:55/);
  await refused(await token({ exp: NOW }), /expired/, { clockToleranceSeconds: 0 });
  assert.equal((await verdictOn(await token({ nbf: NOW + 5 }))).ok, true);
  await refused(await token({ nbf: NOW + 6 }), /not valid before 2026-01-01T00:00:06/);
  await refused(await token({ exp: undefined as unknown as number }), /has no exp/);
  const lasting = await verdictOn(await token({ exp: undefined as unknown as number }), {
    requireExp: false,
  });
  assert.ok(lasting.ok && !('exp' in lasting.identity));
});

test('attack: times that are no times', async () => {
  for (const exp of ['"2999-01-01"', 'true', '{}', '[9999999999]', '1e999', 'null']) {
    await refused(forged({ alg: 'HS256', kid: 'hmac' }, `{"sub":"eve","exp":${exp}}`, SECRET), /exp/);
  }
  await refused(
    forged({ alg: 'HS256', kid: 'hmac' }, `{"sub":"eve","exp":${NOW + 60},"nbf":"0"}`, SECRET),
    /nbf/,
  );
});

test('iss and aud, where configured', async () => {
  const strict = { issuer: 'https://issuer.example', audience: ['carillon', 'other'] };
  const claims = { iss: 'https://issuer.example', aud: 'carillon' };
  assert.equal((await verdictOn(await token(claims), strict)).ok, true);
  assert.equal((await verdictOn(await token({ ...claims, aud: ['x', 'other'] }), strict)).ok, true);
  await refused(await token({ aud: 'carillon' }), /iss is missing/, strict);
  await refused(await token({ iss: claims.iss }), /aud is missing/, strict);
  await refused(
    await token({ ...claims, iss: 'https://issuer.example/' }),
    /iss is not the configured one/,
    strict,
  );
  await refused(await token({ ...claims, aud: ['x', 'carillon2'] }), /aud is not the configured one/, strict);
  assert.equal((await verdictOn(await token({ iss: 'x', aud: 'y' }))).ok, true);
});

test('the cache answers at once, and judges the times anew', async () => {
  const clock = new TestClock();
  const verifier = createVerifier(options(), around(clock));
  const text = await token({ exp: NOW + 10, nbf: NOW - 10 });
  assert.equal(verifier.known(text), undefined);
  const verdict = await verifier.verify(text);
  assert.equal(verifier.known(text), verdict);
  clock.ms += 14_999;
  assert.equal(verifier.known(text), verdict);
  clock.ms += 1;
  assert.deepEqual(verifier.known(text), {
    ok: false,
    code: 'token_expired',
    reason: 'the token has expired, at 2026-01-01T00:00:10.000Z',
  });
  assert.equal((await verifier.verify(text)).ok, false);
  clock.ms -= 60_000;
  const early = verifier.known(text);
  assert.match(early?.ok === false ? early.reason : '', /not valid before/);
});

test('a refusal is repeated for ten seconds only', async () => {
  const clock = new TestClock();
  const verifier = createVerifier(options(), around(clock));
  const text = await token({ nbf: NOW + 10 });
  assert.equal((await verifier.verify(text)).ok, false);
  assert.equal(verifier.known(text)?.ok, false);
  clock.ms += 9_999;
  assert.equal(verifier.known(text)?.ok, false);
  clock.ms += 1;
  assert.equal(verifier.known(text), undefined);
  assert.equal((await verifier.verify(text)).ok, true);
});

test('attack: a token that needs no signature check to be refused is refused within the turn', async () => {
  const verifier = createVerifier(options({ keys: [HMAC, RSA.setting] }), around());
  const claims = { sub: 'eve', exp: NOW + 60 };
  const now: readonly [string, RegExp][] = [
    [forged({ alg: 'HS256', kid: 'hmac' }, claims, 'eve'), /signature/],
    [forged({ alg: 'HS256', kid: 'nobody' }, claims, 'eve'), /no key/],
    [forged({ alg: 'none', kid: 'hmac' }, claims, 'eve'), /alg/],
    [forged({ alg: 'HS256', kid: 7 }, claims, 'eve'), /well-formed/],
    [forged({ alg: 'ES256', kid: 'hmac' }, claims, 'eve'), /alg/],
  ];
  for (const [text, reason] of now) {
    const verdict = verifier.known(text);
    assert.ok(verdict && !verdict.ok, text);
    assert.match(verdict.reason, reason);
    assert.deepEqual(await verifier.verify(text), verdict, 'the long way comes to the same');
  }
  // What it takes a closer look for: a good signature, whatever the claims, and algorithms that take their time.
  const later = [
    await token(),
    await token({ exp: NOW - 60 }),
    await signed(RSA.signing, 'RS256', { kid: RSA.setting.kid }),
  ];
  for (const text of later) assert.equal(verifier.known(text), undefined);
});

test('attack: forged tokens cannot push good ones out', async () => {
  const verifier = createVerifier(options({ cacheEntries: 2 }), around());
  const good = [await token({ sub: 'a' }), await token({ sub: 'b' })];
  for (const text of good) await verifier.verify(text);
  for (let i = 0; i < 50; i++)
    await verifier.verify(forged({ alg: 'HS256', kid: 'hmac' }, { sub: `e${i}` }, 'eve'));
  assert.deepEqual(
    good.map((text) => verifier.known(text)?.ok),
    [true, true],
  );
});

test('the cache is bounded and forgets what was not asked for the longest', async () => {
  const verifier = createVerifier(options({ cacheEntries: 2 }), around());
  const [a, b, c] = [await token({ sub: 'a' }), await token({ sub: 'b' }), await token({ sub: 'c' })];
  await verifier.verify(a);
  await verifier.verify(b);
  verifier.known(a);
  await verifier.verify(c);
  assert.deepEqual(
    [a, b, c].map((text) => verifier.known(text)?.ok),
    [true, undefined, true],
  );
  const none = createVerifier(options({ cacheEntries: 0 }), around());
  assert.equal((await none.verify(a)).ok, true);
  assert.equal(none.known(a), undefined);
});

test('one token asked for many times at once gets one verdict', async () => {
  const verifier = createVerifier(options(), around());
  const text = await token();
  const verdicts = await Promise.all(Array.from({ length: 50 }, () => verifier.verify(text)));
  assert.equal(new Set(verdicts).size, 1);
});

test('identities with equal rooms share the list', async () => {
  const verifier = createVerifier(options(), around());
  const rooms = [{ match: 'chat:**', allow: ['join', 'pub'] }];
  const [a, b] = [
    await verifier.verify(await token({ sub: 'a', rooms })),
    await verifier.verify(await token({ sub: 'b', rooms })),
  ];
  assert.ok(a.ok && b.ok && a.identity.rooms === b.identity.rooms);
  assert.deepEqual([a.identity.user, b.identity.user], ['a', 'b']);
});

test('keys that cannot be used stop the start', () => {
  assert.throws(() => createVerifier(options({ keys: [HMAC, HMAC] }), around()), /configured twice/);
  assert.throws(() => createVerifier(options({ keys: [{ ...HMAC, secret: '' }] }), around()), /not empty/);
});
