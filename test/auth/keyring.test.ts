import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calculateJwkThumbprint } from 'jose';
import { parseJwks } from '../../src/auth/jwks.ts';
import {
  makeKey,
  parseRing,
  pruned,
  publicText,
  type RingKey,
  ringText,
  rotated,
  signingKey,
  stateOf,
} from '../../src/auth/keyring.ts';
import { KEY_ALGORITHMS } from '../../src/auth/keys.ts';
import { mintToken, ringSigner } from '../../src/auth/mint.ts';
import { NOW, SECRET } from './support.ts';

const HOUR = 3600;

const statesAt = (keys: readonly RingKey[], now: number) => keys.map((key) => stateOf(key, keys, now));

test('a key of each algorithm: thumbprint kid, private set read again, public set without private parts', async () => {
  for (const alg of KEY_ALGORITHMS) {
    const key = await makeKey(alg, NOW, NOW);
    assert.equal(key.kid, await calculateJwkThumbprint(key), alg);
    assert.deepEqual(parseRing(ringText([key])), { ok: true, keys: [key] });
    const shown = JSON.parse(publicText([key])).keys[0];
    for (const part of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'iat', 'nbf'])
      assert.ok(!(part in shown), `${alg} ${part}`);
    assert.equal('k' in shown, alg === 'HS256');
    const verifying = parseJwks(publicText([key]), { symmetric: true, keysMax: 9 });
    assert.ok(verifying.ok && verifying.keys[0]?.kid === key.kid && verifying.keys[0]?.alg === alg);
  }
});

test('two keys are never the same', async () => {
  const kids = await Promise.all(Array.from({ length: 5 }, () => makeKey('EdDSA', NOW, NOW)));
  assert.equal(new Set(kids.map(({ kid }) => kid)).size, 5);
});

test('rotation: known before it signs, good until its last token has ended', async () => {
  const first = await makeKey('EdDSA', NOW, NOW);
  const next = await makeKey('ES256', NOW, NOW + 600);
  const keys = rotated([first], next, 25 * HOUR);
  assert.deepEqual(statesAt(keys, NOW + 599), ['next', 'signing']);
  assert.deepEqual(statesAt(keys, NOW + 600), ['signing', 'verifying']);
  const end = NOW + 600 + 25 * HOUR;
  assert.deepEqual(statesAt(keys, end - 1), ['signing', 'verifying']);
  assert.deepEqual(statesAt(keys, end), ['signing', 'ended']);
  assert.equal(pruned(keys, end - 1).length, 2);
  assert.deepEqual(pruned(keys, end), [keys[0]]);
  assert.deepEqual(pruned(keys, NOW, next.kid), [keys[1]]);
  const third = await makeKey('ES256', NOW + 700, NOW + 700);
  const ends = rotated(keys, third, 99 * HOUR).map(({ exp }) => exp);
  assert.deepEqual(ends, [undefined, NOW + 700 + 99 * HOUR, end], 'an end does not move away');
  assert.equal(signingKey([], NOW), undefined);
  const urgent = await makeKey('EdDSA', NOW, NOW);
  assert.deepEqual(statesAt(rotated([first], urgent, HOUR), NOW), ['signing', 'verifying']);
});

test('tokens are signed with the key whose turn it is, or the one named', async () => {
  const first = await makeKey('RS256', NOW, NOW);
  const keys = rotated([first], await makeKey('HS256', NOW, NOW + 600), HOUR);
  const text = ringText(keys);
  const kidAt = (now: number, kid?: string) => {
    const signer = ringSigner(text, now * 1000, kid);
    return signer && 'key' in signer ? signer.kid : signer?.reason;
  };
  assert.deepEqual([kidAt(NOW), kidAt(NOW + 600)], [keys[1]?.kid, keys[0]?.kid]);
  assert.equal(kidAt(NOW + 600, first.kid), first.kid);
  assert.equal(kidAt(NOW - 1), 'has no key that signs now');
  assert.equal(kidAt(NOW, 'x'), 'has no key of that kid');
  const signer = ringSigner(text, (NOW + 600) * 1000);
  assert.ok(signer && 'key' in signer);
  assert.ok(await mintToken(signer, { sub: 'a' }, { now: NOW * 1000, ttlSeconds: 9 }));
});

test('what is no ring is refused without being repeated', async () => {
  const good = await makeKey('EdDSA', NOW, NOW);
  const { d: _, ...half } = good;
  for (const text of [
    SECRET,
    '{',
    'null',
    '{"keys":{}}',
    JSON.stringify({ keys: [null] }),
    JSON.stringify({ keys: [half] }),
    JSON.stringify({ keys: [{ ...good, nbf: SECRET }] }),
    JSON.stringify({ keys: [good, good] }),
  ]) {
    const ring = parseRing(text);
    assert.ok(!ring.ok && !ring.reason.includes(SECRET), text.slice(0, 40));
  }
});
