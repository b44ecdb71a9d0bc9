/** The `auth` section: who vouches for clients, and how the keys for that are had. */
import { z } from 'zod';
import { ROOMS_ENTRIES } from '../auth/claims.ts';
import { KEY_ALGORITHMS } from '../auth/keys.ts';
import { ACTIONS, SCOPES, TENANT_NAME } from '../broker/ports.ts';
import {
  accessPattern,
  choice,
  count,
  duration,
  flag,
  httpUrl,
  leaf,
  seconds,
  secretText,
  size,
  text,
  VISIBLE,
} from './leaves.ts';
import { KIB, MIB } from './units.ts';

const HOUR_MS = 3_600_000;
const FILE = /^.+$/;

const grant = z.strictObject({
  match: accessPattern(),
  allow: z.array(choice(ACTIONS)),
});

const jwk = leaf(
  'a public key as a JSON Web Key (RFC 7517)',
  (value) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined,
  {},
  true,
);

const key = z.strictObject({
  kid: text('a key id of 1 to 128 visible ASCII characters', /^[\x21-\x7e]{1,128}$/),
  alg: choice(KEY_ALGORITHMS),
  secret: secretText('a text of at least 32 bytes', /./s).optional(),
  secretFile: text('the path of a file that holds the secret', FILE).optional(),
  jwk: jwk.optional(),
  publicKeyFile: text('the path of a file that holds a public key, PEM or JWK', FILE).optional(),
});

export type KeyEntry = z.output<typeof key>;

const audience = leaf('a text, or a list of texts', (value) => {
  const list = Array.isArray(value) ? value : [value];
  const fits = list.length > 0 && list.every((entry) => typeof entry === 'string' && VISIBLE.test(entry));
  return fits ? (list as readonly string[]) : undefined;
});

const issuerName = text('a text of visible ASCII characters', VISIBLE);
const setFile = text('the path of a file that holds a JSON Web Key Set', FILE);

const tenants = z.array(text('1 to 64 characters of [A-Za-z0-9_.-]', TENANT_NAME));
const scopes = z.array(choice(SCOPES));

const issuer = z.strictObject({
  issuer: issuerName,
  audience,
  tenants: tenants.optional(),
  scopes: scopes.optional(),
  keys: z.array(key).prefault([]),
  jwksUrl: httpUrl().optional(),
  jwksFile: setFile.optional(),
});

const jwks = z.strictObject({
  refreshMs: duration(1000, 24 * HOUR_MS).prefault('10m'),
  cooldownMs: duration(100, HOUR_MS).prefault('10s'),
  timeoutMs: duration(100, 60_000).prefault('3s'),
  staleMs: duration(60_000, 365 * 24 * HOUR_MS).prefault('24h'),
  bytes: size(KIB, 16 * MIB).prefault('256KiB'),
  keysMax: count(1, 10_000).prefault(100),
  waiting: count(1, 1_000_000).prefault(100),
  cacheDir: text('the path of a folder', FILE).optional(),
  debounceMs: duration(0, 60_000).prefault('200ms'),
  pollMs: duration(1000, HOUR_MS).prefault('30s'),
});

const webhook = z.strictObject({
  url: httpUrl(),
  secret: secretText('a text of visible ASCII characters', VISIBLE).optional(),
  secretFile: text('the path of a file that holds the secret', FILE).optional(),
  tenants: tenants.optional(),
  scopes: scopes.optional(),
  timeoutMs: duration(10, 60_000).prefault('2s'),
  ttlMs: duration(0, 24 * HOUR_MS).prefault('60s'),
  bytes: size(KIB, MIB).prefault('16KiB'),
  inFlight: count(1, 10_000).prefault(64),
  failures: count(1, 1000).prefault(5),
  openMs: duration(100, HOUR_MS).prefault('5s'),
});

export const authSchema = z.strictObject({
  keys: z.array(key).prefault([]),
  issuer: issuerName.optional(),
  audience: audience.optional(),
  scopes: scopes.optional(),
  jwksUrl: httpUrl().optional(),
  jwksFile: setFile.optional(),
  issuers: z.array(issuer).prefault([]),
  jwks: jwks.prefault({}),
  insecureHttp: flag().prefault(false),
  webhook: webhook.optional(),
  clockToleranceSeconds: seconds(0, 300).prefault(5),
  allowQueryToken: flag().prefault(false),
  requireExp: flag().prefault(true),
  requireIat: flag().prefault(true),
  defaultRooms: z.array(grant).prefault([]),
  roomsEntries: count(1, 1000).prefault(ROOMS_ENTRIES),
  cacheEntries: count(0, 1_000_000).prefault(50_000),
});

export type AuthSettings = z.output<typeof authSchema>;
