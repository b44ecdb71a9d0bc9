import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto';

/** The closed list of algorithms. `none` is not in it, and a token cannot choose: the key says which is used. */
export const KEY_ALGORITHMS = ['HS256', 'RS256', 'ES256', 'EdDSA'] as const;
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number];

/** A key as configured. Exactly one of `secret`, `jwk` and `pem` is set. */
export interface KeySetting {
  readonly kid: string;
  readonly alg: KeyAlgorithm;
  /** HS256: its UTF-8 bytes are the key. */
  readonly secret?: string;
  readonly jwk?: Readonly<Record<string, unknown>>;
  /** SubjectPublicKeyInfo (or PKCS #1) of a public key. */
  readonly pem?: string;
}

export interface VerifyKey {
  /** A key of a set may have none; it then serves tokens without one only. */
  readonly kid: string | undefined;
  readonly alg: KeyAlgorithm;
  readonly key: KeyObject;
}

export type KeyImport =
  | { readonly ok: true; readonly key: VerifyKey & { readonly kid: string } }
  | { readonly ok: false; readonly reason: string };

/** Bytes. RFC 7518, 3.2: an HS256 key is at least as long as the hash. */
export const SECRET_BYTES_MIN = 32;
/** RFC 7518, 3.3. */
const RSA_BITS_MIN = 2048;

/** Turns a configured key into one that verifies; the reason of a refusal never holds key material. */
export function importVerifyKey(setting: KeySetting): KeyImport {
  const key = setting.alg === 'HS256' ? secretKey(setting) : publicKey(setting);
  if (typeof key === 'string') return { ok: false, reason: key };
  const reason = FITS[setting.alg](key);
  if (reason !== undefined) return { ok: false, reason };
  return { ok: true, key: { kid: setting.kid, alg: setting.alg, key } };
}

/** Short enough to be guessed: config refuses it wherever other machines can connect. */
export function isShortSecret(setting: KeySetting): boolean {
  if (setting.alg !== 'HS256') return false;
  const key = secretKey(setting);
  return typeof key !== 'string' && (key.symmetricKeySize ?? 0) < SECRET_BYTES_MIN;
}

function secretKey(setting: KeySetting): KeyObject | string {
  if (setting.secret !== undefined) return createSecretKey(setting.secret, 'utf8');
  const { jwk } = setting;
  if (jwk?.['kty'] === 'oct' && typeof jwk['k'] === 'string') return createSecretKey(jwk['k'], 'base64url');
  // A public key is no secret: taking its bytes as one is how RS256 tokens get forged.
  return 'HS256 needs a secret, or a JWK of kty oct';
}

function publicKey(setting: KeySetting): KeyObject | string {
  if (setting.pem !== undefined) return publicPem(setting.pem);
  const { jwk } = setting;
  if (jwk === undefined) return `${setting.alg} needs a public key: a JWK or a PEM file`;
  // A broker that holds a private key can be made to sign; and the file it lies in is read by too many.
  if (jwk['d'] !== undefined) return 'this is a private key; only its public half belongs here';
  if (jwk['alg'] !== undefined && jwk['alg'] !== setting.alg) return 'the JWK names another alg';
  if (jwk['use'] !== undefined && jwk['use'] !== 'sig') return 'the JWK is not meant for signatures';
  return attempt(() => createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' }));
}

function publicPem(pem: string): KeyObject | string {
  // createPublicKey would quietly derive the public half.
  if (pem.includes('PRIVATE KEY')) return 'this is a private key; only its public half belongs here';
  if (pem.includes('CERTIFICATE')) return 'this is a certificate; export its public key (SPKI)';
  return attempt(() => createPublicKey({ key: pem, format: 'pem' }));
}

function attempt(read: () => KeyObject): KeyObject | string {
  try {
    return read();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    return `the key cannot be read (${code})`;
  }
}

/** What each algorithm asks of its key; a text says what the key lacks. */
const FITS: Readonly<Record<KeyAlgorithm, (key: KeyObject) => string | undefined>> = {
  HS256: ({ symmetricKeySize = 0 }) => (symmetricKeySize > 0 ? undefined : 'an HS256 secret is not empty'),
  RS256: ({ asymmetricKeyType, asymmetricKeyDetails: { modulusLength = 0 } = {} }) => {
    if (asymmetricKeyType !== 'rsa') return 'RS256 needs an RSA key';
    return modulusLength >= RSA_BITS_MIN ? undefined : `RS256 needs ${RSA_BITS_MIN} bits or more`;
  },
  ES256: ({ asymmetricKeyDetails }) =>
    asymmetricKeyDetails?.namedCurve === 'prime256v1' ? undefined : 'ES256 needs an EC key on P-256',
  EdDSA: ({ asymmetricKeyType }) =>
    asymmetricKeyType === 'ed25519' ? undefined : 'EdDSA needs an Ed25519 key',
};
