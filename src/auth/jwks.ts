/** A JSON Web Key Set (RFC 7517, section 5) as text, to keys that verify. */
import { importVerifyKey, type KeyAlgorithm, type VerifyKey } from './keys.ts';

export interface JwksRules {
  /** Whether keys of kty oct are taken. Never from a URL: what an HTTP server tells anybody is no secret. */
  readonly symmetric: boolean;
  /** The most keys of one set. */
  readonly keysMax: number;
}

export type JwksResult =
  | { readonly ok: true; readonly keys: readonly VerifyKey[]; readonly skipped: number }
  | { readonly ok: false; readonly reason: string };

/** Characters. Longer ones cannot be looked for either. */
export const KID_MAX = 256;
/** Bytes. RFC 7518, 3.2. */
const SECRET_MIN = 32;

type Jwk = Readonly<Record<string, unknown>>;

/** Keys that are for something else are passed over, as RFC 7517 asks; a set without a usable one is refused. */
export function parseJwks(text: string, rules: JwksRules): JwksResult {
  const entries = entriesOf(text);
  if (entries === undefined) return refused('is not a JSON Web Key Set: {"keys": [...]}');
  if (entries.length > rules.keysMax) return refused(`has more than ${rules.keysMax} keys`);
  // Whoever publishes a private key has lost it: its signatures prove nothing any more.
  if (entries.some(isPrivate)) return refused('holds a private key; only public halves belong here');
  const keys: VerifyKey[] = [];
  for (const entry of entries) {
    const key = importEntry(entry, rules);
    if (key === undefined) continue;
    const twin = keys.find((other) => other.kid === key.kid && other.alg === key.alg);
    if (twin !== undefined && key.kid !== undefined && !twin.key.equals(key.key))
      return refused('has two different keys with one kid and alg');
    keys.push(key);
  }
  return keys.length === 0
    ? refused('has no usable key (RS256, ES256, EdDSA)')
    : { ok: true, keys, skipped: entries.length - keys.length };
}

function entriesOf(text: string): readonly unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const keys: unknown = isObject(value) ? value['keys'] : undefined;
    return Array.isArray(keys) ? keys : undefined;
  } catch (error) {
    // The message of a SyntaxError quotes the text.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function isObject(value: unknown): value is Jwk {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPrivate(entry: unknown): boolean {
  return isObject(entry) && entry['d'] !== undefined;
}

function importEntry(entry: unknown, { symmetric }: JwksRules): VerifyKey | undefined {
  if (!isObject(entry) || !forSignatures(entry) || !isKid(entry['kid'])) return undefined;
  const kid = entry['kid'];
  const alg = algorithmOf(entry);
  if (alg === undefined || (alg === 'HS256' && !symmetric)) return undefined;
  const imported = importVerifyKey({ kid: kid ?? '', alg, jwk: entry });
  return imported.ok && isLong(imported.key) ? { ...imported.key, kid } : undefined;
}

function isLong({ key: { symmetricKeySize = SECRET_MIN } }: VerifyKey): boolean {
  return symmetricKeySize >= SECRET_MIN;
}

function isKid(kid: unknown): kid is string | undefined {
  return kid === undefined || (typeof kid === 'string' && kid.length > 0 && kid.length <= KID_MAX);
}

function forSignatures({ use, key_ops: operations }: Jwk): boolean {
  if (use !== undefined && use !== 'sig') return false;
  return operations === undefined || (Array.isArray(operations) && operations.includes('verify'));
}

/** By the kind of key, which has one algorithm here; undefined also where the set says another. */
function algorithmOf({ kty, crv, alg: named }: Jwk): KeyAlgorithm | undefined {
  const alg = ALGORITHMS.get(`${kty} ${crv ?? ''}`);
  return named === undefined || named === alg ? alg : undefined;
}

const ALGORITHMS: ReadonlyMap<string, KeyAlgorithm> = new Map([
  ['RSA ', 'RS256'],
  ['oct ', 'HS256'],
  ['EC P-256', 'ES256'],
  ['OKP Ed25519', 'EdDSA'],
]);

function refused(reason: string): JwksResult {
  return { ok: false, reason };
}
