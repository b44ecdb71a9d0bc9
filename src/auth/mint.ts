/** Tokens made here: by the command line, and by a broker in development mode for the person in front of it. */
import { createPrivateKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { SignJWT } from 'jose';
import type { RoomGrant } from '../broker/ports.ts';
import { parseRing, signingKey } from './keyring.ts';
import type { KeyAlgorithm } from './keys.ts';

export interface Signer {
  readonly kid?: string;
  readonly alg: KeyAlgorithm;
  readonly key: KeyObject;
}

export interface TokenClaims {
  readonly sub: string;
  readonly tenant?: string;
  readonly rooms?: readonly RoomGrant[];
  readonly info?: Readonly<Record<string, unknown>>;
  readonly scope?: string;
  readonly jti?: string;
  readonly iss?: string;
  readonly aud?: string | readonly string[];
}

export interface TokenTimes {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly ttlSeconds: number;
}

/** A signed JWT with `iat` and `exp`. */
export async function mintToken(signer: Signer, claims: TokenClaims, times: TokenTimes): Promise<string> {
  const iat = Math.floor(times.now / 1000);
  const header = { alg: signer.alg, typ: 'JWT', ...(signer.kid === undefined ? {} : { kid: signer.kid }) };
  const payload = { ...claims, iat, exp: iat + times.ttlSeconds };
  return new SignJWT(JSON.parse(JSON.stringify(payload)) as Record<string, unknown>)
    .setProtectedHeader(header)
    .sign(signer.key);
}

export function secretSigner(secret: string, kid?: string): Signer {
  return { alg: 'HS256', key: createSecretKey(secret, 'utf8'), ...(kid === undefined ? {} : { kid }) };
}

/** From a private key as PEM (PKCS #8) or JWK text; the reason of a refusal never holds key material. */
export function privateSigner(text: string, kid?: string): Signer | { readonly reason: string } {
  const key = readPrivate(text);
  if (key === undefined) return { reason: 'not a private key, PEM (PKCS #8) or JWK' };
  const alg = algorithmOf(key);
  if (alg === undefined) return { reason: 'not an RSA, P-256 or Ed25519 key' };
  return { alg, key, ...(kid === undefined ? {} : { kid }) };
}

/** From a set that `carillon keys` made; undefined: the text is none. @param now milliseconds since 1970. */
export function ringSigner(
  text: string,
  now: number,
  kid?: string,
): Signer | { readonly reason: string } | undefined {
  const ring = parseRing(text);
  if (!ring.ok) return text.includes('"keys"') ? { reason: ring.reason } : undefined;
  const seconds = Math.floor(now / 1000);
  const { keys } = ring;
  const key = kid === undefined ? signingKey(keys, seconds) : keys.find((each) => each.kid === kid);
  if (key === undefined)
    return { reason: kid === undefined ? 'has no key that signs now' : 'has no key of that kid' };
  if (key.alg === 'HS256')
    return { kid: key.kid, alg: 'HS256', key: createSecretKey(key.k ?? '', 'base64url') };
  return privateSigner(JSON.stringify(key), key.kid);
}

function readPrivate(text: string): KeyObject | undefined {
  try {
    if (!text.trimStart().startsWith('{')) return createPrivateKey(text);
    return createPrivateKey({ key: JSON.parse(text) as JsonWebKey, format: 'jwk' });
  } catch (error) {
    // Whatever is wrong with it, the text is a secret and the answer is the same.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

function algorithmOf(key: KeyObject): KeyAlgorithm | undefined {
  if (key.asymmetricKeyType === 'rsa') return 'RS256';
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA';
  return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'ES256' : undefined;
}
