/** Key sets of any shape, and rings over any life. */
import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseJwks } from '../../src/auth/jwks.ts';
import { parseRing, pruned, type RingKey, rotated, signingKey } from '../../src/auth/keyring.ts';
import { KEY_ALGORITHMS } from '../../src/auth/keys.ts';
import { KeySet, type LiveKey } from '../../src/auth/keyset.ts';
import { EC, ED, RSA } from './support.ts';

const RULES = { symmetric: false, keysMax: 20 };

const GOOD = [EC, ED, RSA].map(({ setting }) => createPublicKey(setting.pem ?? '').export({ format: 'jwk' }));

const member = fc.oneof(
  fc.constant(undefined),
  fc.string(),
  fc.integer(),
  fc.constantFrom('RSA', 'oct', 'EC', 'OKP', 'sig'),
);
const names = ['kty', 'crv', 'x', 'y', 'n', 'e', 'k', 'd', 'alg', 'use', 'kid', 'key_ops'];
const changes = fc.dictionary(fc.constantFrom(...names), member, { maxKeys: 3 });
const jwk = fc.tuple(fc.constantFrom(...GOOD), changes).map(([good, changed]) => ({ ...good, ...changed }));

test('any text is a key set or none, and what is taken from one is public, asymmetric and of a known algorithm', () => {
  const entries = fc.array(fc.oneof(jwk, fc.anything()), { maxLength: 6 });
  let taken = 0;
  fc.assert(
    fc.property(entries, (keys) => {
      const text = JSON.stringify({ keys }, (_, value) =>
        typeof value === 'bigint' ? String(value) : value,
      );
      const parsed = parseJwks(text, RULES);
      if (!parsed.ok) return;
      taken++;
      for (const { key, alg } of parsed.keys) {
        assert.equal(key.type, 'public');
        assert.ok(alg !== 'HS256' && KEY_ALGORITHMS.includes(alg));
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(taken > 20, 'hardly any set was a good one');
  fc.assert(fc.property(fc.string(), (text) => !parseJwks(text, RULES).ok && !parseRing(text).ok));
});

test('after any replacements the keys found are those of the last ones, and only they are live', () => {
  const parsed = parseJwks(
    JSON.stringify({ keys: GOOD.map((key, at) => ({ ...key, kid: `k${at}` })) }),
    RULES,
  );
  assert.ok(parsed.ok);
  const { keys } = parsed;
  const step = fc.tuple(fc.constantFrom('static', 'file', 'url'), fc.subarray([...keys]));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const set = new KeySet();
      const parts = new Map<string, readonly unknown[]>();
      const seen = new Set<LiveKey>();
      const holds = (key: unknown) => [...parts.values()].some((some) => some.includes(key));
      for (const [part, some] of steps) {
        set.replace(part as 'url', some);
        parts.set(part, some);
        const found = keys.map((key) => set.find(key.kid, key.alg));
        assert.deepEqual(
          found.map((lookup) => lookup.ok),
          keys.map(holds),
        );
        for (const lookup of found) if (lookup.ok) seen.add(lookup.key);
        assert.ok(found.every((lookup) => !lookup.ok || lookup.key.live));
      }
      const gone = [...seen].filter(({ kid }) => !holds(keys.find((key) => key.kid === kid)));
      assert.ok(gone.every(({ live }) => !live));
    }),
  );
});

test('over any life of a ring one key signs, and no token outlives its key', () => {
  const OVERLAP = 100;
  const made = (n: number, iat: number, nbf: number): RingKey => ({
    kid: `k${n}`,
    alg: 'EdDSA',
    kty: 'OKP',
    iat,
    nbf,
  });
  const step = fc.record({
    wait: fc.nat(80),
    ttl: fc.integer({ min: 1, max: OVERLAP }),
    rotate: fc.option(fc.nat(60)),
    prune: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let [now, keys]: [number, readonly RingKey[]] = [0, [made(0, 0, 0)]];
      const tokens: { kid: string; exp: number }[] = [];
      for (const [at, { wait, ttl, rotate, prune }] of steps.entries()) {
        now += wait;
        const waiting = keys.some(({ nbf }) => nbf > now);
        if (rotate !== null && !waiting) keys = rotated(keys, made(at + 1, now, now + rotate), OVERLAP);
        if (prune) keys = pruned(keys, now);
        const signing = signingKey(keys, now);
        assert.ok(signing, 'nobody signs');
        tokens.push({ kid: signing.kid, exp: now + ttl });
        for (const { kid, exp } of tokens)
          assert.ok(exp <= now || keys.some((key) => key.kid === kid), `the key of a token is gone: ${kid}`);
      }
    }),
    { numRuns: 500 },
  );
});
