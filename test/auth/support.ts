import { createHmac, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { type JWTPayload, SignJWT } from 'jose';
import type { KeyAlgorithm, KeySetting } from '../../src/auth/keys.ts';
import type { Around } from '../../src/auth/surroundings.ts';
import type { VerifierOptions } from '../../src/auth/verifier.ts';
import { IdentityCounts } from '../../src/broker/identity-counts.ts';
import type { Clock } from '../../src/broker/ports.ts';

export const NOW_MS = Date.UTC(2026, 0, 1);
export const NOW = NOW_MS / 1000;

export const SECRET = randomBytes(32).toString('base64url');

export interface Pair {
  readonly setting: KeySetting;
  readonly signing: KeyObject;
}

function pair(kid: string, alg: KeyAlgorithm, keys: { publicKey: KeyObject; privateKey: KeyObject }): Pair {
  const pem = keys.publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { setting: { kid, alg, pem }, signing: keys.privateKey };
}

export const RSA = pair('rsa', 'RS256', generateKeyPairSync('rsa', { modulusLength: 2048 }));
export const EC = pair('ec', 'ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' }));
export const ED = pair('ed', 'EdDSA', generateKeyPairSync('ed25519'));
export const HMAC: KeySetting = { kid: 'hmac', alg: 'HS256', secret: SECRET };

/** Short enough for tests that wait for them. */
export const JWKS: VerifierOptions['jwks'] = {
  refreshMs: 60_000,
  cooldownMs: 300,
  timeoutMs: 1000,
  staleMs: 3_600_000,
  bytes: 64 * 1024,
  keysMax: 50,
  waiting: 100,
  debounceMs: 20,
  pollMs: 60_000,
};

export interface Watched extends Around {
  /** Every log line so far, fields and message, as JSON. */
  readonly lines: string[];
}

/** Surroundings whose log and counts can be looked at. */
export function around(clock: Clock = new TestClock()): Watched {
  const lines: string[] = [];
  const line = (level: string) => (fields: object, message: string) =>
    void lines.push(JSON.stringify({ level, ...fields, message }));
  const log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
  return { clock, log, counts: new IdentityCounts(), lines };
}

export function options(changes: Partial<VerifierOptions> = {}): VerifierOptions {
  return {
    keys: [HMAC, RSA.setting, EC.setting, ED.setting],
    issuers: [],
    jwks: JWKS,
    clockToleranceSeconds: 5,
    requireExp: true,
    requireIat: true,
    defaultRooms: [],
    roomsEntries: 100,
    cacheEntries: 100,
    ...changes,
  };
}

export class TestClock {
  ms = NOW_MS;

  now(): number {
    return this.ms;
  }
}

/** A token of the HS256 key, valid for a minute; claims and header add to that, undefined takes away. */
export async function token(claims: JWTPayload = {}, header: Record<string, unknown> = {}): Promise<string> {
  return signed(Buffer.from(SECRET), 'HS256', { kid: 'hmac', ...header }, claims);
}

export async function signed(
  key: KeyObject | Uint8Array,
  alg: string,
  header: Record<string, unknown>,
  claims: JWTPayload = {},
): Promise<string> {
  const payload = JSON.parse(
    JSON.stringify({ sub: 'alice', iat: NOW, exp: NOW + 60, ...claims }),
  ) as JWTPayload;
  return new SignJWT(payload).setProtectedHeader({ alg, ...header }).sign(key);
}

/** By hand, so that anything can be said in it. */
export function forged(header: unknown, payload: unknown, key?: string | Buffer): string {
  const body = `${part(header)}.${part(payload)}`;
  return `${body}.${key === undefined ? '' : createHmac('sha256', key).update(body).digest('base64url')}`;
}

function part(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return Buffer.from(text).toString('base64url');
}
