/**
 * The keys that an installation signs its own tokens with: a private JSON Web Key Set, and the set that brokers are
 * given, which follows from it. Pure: time is an argument, files are the caller's.
 */
import { createSecretKey, generateKeyPair, type JsonWebKey, type KeyObject, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { calculateJwkThumbprint, type JWK } from 'jose';
import type { KeyAlgorithm } from './keys.ts';

/** A private key with its life, in seconds since 1970. */
export interface RingKey extends JWK {
  readonly kid: string;
  readonly alg: KeyAlgorithm;
  /** Made. */
  readonly iat: number;
  /** Signs from then on, until a key with a later `nbf` does. Verifiers have it before. */
  readonly nbf: number;
  /** Tokens that it has signed have ended then: it may be pruned. */
  readonly exp?: number;
}

export type KeyState = 'next' | 'signing' | 'verifying' | 'ended';

export type RingResult =
  | { readonly ok: true; readonly keys: readonly RingKey[] }
  | { readonly ok: false; readonly reason: string };

const RSA_BITS = 2048;
const SECRET_BYTES = 32;

const generate = promisify(generateKeyPair);

/** @param from seconds since 1970 from which on it signs. The kid is the thumbprint of RFC 7638. */
export async function makeKey(alg: KeyAlgorithm, now: number, from: number): Promise<RingKey> {
  const jwk = (await privateKey(alg)).export({ format: 'jwk' }) as JWK;
  const kid = await calculateJwkThumbprint(jwk, 'sha256');
  return { ...jwk, kid, alg, use: 'sig', iat: now, nbf: from };
}

async function privateKey(alg: KeyAlgorithm): Promise<KeyObject> {
  if (alg === 'HS256') return createSecretKey(randomBytes(SECRET_BYTES));
  if (alg === 'RS256') return (await generate('rsa', { modulusLength: RSA_BITS })).privateKey;
  if (alg === 'ES256') return (await generate('ec', { namedCurve: 'P-256' })).privateKey;
  return (await generate('ed25519')).privateKey;
}

/** Reads what `ringText` wrote; the reason of a refusal never holds key material. */
export function parseRing(text: string): RingResult {
  const keys = keysOf(text);
  if (keys === undefined) return { ok: false, reason: 'is not a JSON Web Key Set' };
  if (!keys.every(isRingKey))
    return {
      ok: false,
      reason: 'holds a key that "carillon keys" has not made (kid, alg, iat, nbf, private part)',
    };
  if (new Set(keys.map(({ kid }) => kid)).size < keys.length)
    return { ok: false, reason: 'holds a kid twice' };
  return { ok: true, keys };
}

function keysOf(text: string): readonly unknown[] | undefined {
  try {
    const value = JSON.parse(text) as { readonly keys?: unknown } | null;
    return Array.isArray(value?.keys) ? value.keys : undefined;
  } catch (error) {
    // The message of a SyntaxError quotes the text.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isRingKey(value: unknown): value is RingKey {
  if (typeof value !== 'object' || value === null) return false;
  const { kid, alg, iat, nbf, exp, d, k } = value as JWK & Readonly<Record<string, unknown>>;
  const times = [iat, nbf, ...(exp === undefined ? [] : [exp])];
  return (
    [kid, alg].every((text) => typeof text === 'string') &&
    times.every((time) => typeof time === 'number') &&
    typeof (alg === 'HS256' ? k : d) === 'string'
  );
}

/** The one that signs now: of those that may, the one that began last; of two at once, the newer. */
export function signingKey(keys: readonly RingKey[], now: number): RingKey | undefined {
  return keys
    .filter(({ nbf, exp }) => nbf <= now && (exp === undefined || exp > now))
    .reduce<RingKey | undefined>((best, key) => (best && best.nbf >= key.nbf ? best : key), undefined);
}

export function stateOf(key: RingKey, keys: readonly RingKey[], now: number): KeyState {
  if (key.exp !== undefined && key.exp <= now) return 'ended';
  if (key.nbf > now) return 'next';
  return signingKey(keys, now) === key ? 'signing' : 'verifying';
}

/** Adds the next key; those of before end when the last token that they can have signed has. */
export function rotated(keys: readonly RingKey[], next: RingKey, overlapSeconds: number): readonly RingKey[] {
  const ends = next.nbf + overlapSeconds;
  return [next, ...keys.map((key) => ({ ...key, exp: Math.min(key.exp ?? ends, ends) }))];
}

/** Without the ended ones, and without `kid`: a key that has leaked goes at once, and its tokens with it. */
export function pruned(keys: readonly RingKey[], now: number, kid?: string): readonly RingKey[] {
  return keys.filter((key) => (kid === undefined ? stateOf(key, keys, now) !== 'ended' : key.kid !== kid));
}

export function ringText(keys: readonly RingKey[]): string {
  return `${JSON.stringify({ keys }, null, 2)}\n`;
}

/** What verifiers get: no private part. A secret of HS256 has no public half, so a set with one is a secret itself. */
export function publicText(keys: readonly RingKey[]): string {
  const shown = keys.map(({ kid, alg, kty, crv, x, y, n, e, k }): JsonWebKey & object => ({
    ...defined({ kid, alg, use: 'sig', kty, crv, x, y, n, e }),
    ...(alg === 'HS256' && { k }),
  }));
  return `${JSON.stringify({ keys: shown }, null, 2)}\n`;
}

export function isSecretSet(keys: readonly RingKey[]): boolean {
  return keys.some(({ alg }) => alg === 'HS256');
}

function defined(fields: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Record<
    string,
    string
  >;
}
