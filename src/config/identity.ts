/** The `auth` section with its files read and its parts compared: what the verifier gets. */
import { resolve } from 'node:path';
import { parseJwks } from '../auth/jwks.ts';
import { isShortSecret, SECRET_BYTES_MIN } from '../auth/keys.ts';
import { SCOPES, type Scope } from '../broker/ports.ts';
import type { Path } from './document.ts';
import type { AuthSettings } from './identity-schema.ts';
import { type Fault, HIDDEN, readKeys, readSecret, readSetting } from './keys.ts';
import type { Settings } from './schema.ts';
import type { AuthConfig } from './types.ts';
import { isLoopback, showDuration } from './units.ts';

export interface Identity {
  readonly auth: AuthConfig;
  readonly faults: readonly Fault[];
}

/** Whether nothing is named that could vouch for a client. */
export function isKeyless({ keys, jwksUrl, jwksFile, issuers, webhook }: AuthSettings): boolean {
  return keys.length + issuers.length === 0 && !jwksUrl && !jwksFile && !webhook;
}

/** @param base the folder of the config file, from which paths are taken. */
export function readIdentity(settings: Settings, base: string): Identity {
  const { auth } = settings;
  const top = readRealm(auth, base, ['auth'], auth.jwks);
  const issuers = auth.issuers.map((each, at) => readRealm(each, base, ['auth', 'issuers', at], auth.jwks));
  const webhook = readWebhook(auth.webhook, base);
  const { jwks, webhook: _, insecureHttp: __, ...rest } = auth;
  const first = firstVoucher(auth);
  const config = {
    ...rest,
    ...withScopes(top.realm, first === 'top'),
    issuers: issuers.map(({ realm }, at) => withScopes(realm, first === 'issuers' && at === 0)),
    jwks: { ...jwks, ...(jwks.cacheDir !== undefined && { cacheDir: resolve(base, jwks.cacheDir) }) },
    ...(webhook !== undefined &&
      !('expected' in webhook) && { webhook: withScopes(webhook, first === 'webhook') }),
  };
  const faults = [
    ...[top, ...issuers].flatMap((each) => each.faults),
    ...(webhook !== undefined && 'expected' in webhook ? [webhook] : []),
    ...checkUnsafe(auth),
    ...checkIssuers(auth),
    ...checkTransport(auth),
    ...checkTimes(settings),
  ];
  return { auth: withoutAbsent(config) as AuthConfig, faults };
}

/** Of all that vouch for clients the one that stands first, whose tokens may have every scope where nothing is said. */
function firstVoucher({ keys, jwksUrl, jwksFile, issuers, webhook }: AuthSettings) {
  if (keys.length > 0 || jwksUrl !== undefined || jwksFile !== undefined) return 'top';
  if (issuers.length > 0) return 'issuers';
  // Without any of them a start makes a key of its own, in development mode.
  return webhook === undefined ? 'top' : 'webhook';
}

function withScopes<T extends { readonly scopes?: readonly Scope[] | undefined }>(
  voucher: T,
  first: boolean,
) {
  return { ...voucher, scopes: voucher.scopes ?? (first ? SCOPES : []) };
}

interface RealmSettings {
  readonly keys: AuthSettings['keys'];
  readonly jwksFile?: string | undefined;
}

function readRealm<T extends RealmSettings>(
  realm: T,
  base: string,
  path: Path,
  { bytes, keysMax }: AuthSettings['jwks'],
) {
  const { keys, faults } = readKeys(realm.keys, base, [...path, 'keys']);
  if (realm.jwksFile === undefined) return { realm: withoutAbsent({ ...realm, keys }), faults };
  const file = resolve(base, realm.jwksFile);
  const read = readSetting(file, base);
  const judged = read.ok ? parseJwks(read.text, { symmetric: true, keysMax }) : undefined;
  const reason = judged === undefined ? 'cannot be read' : judged.ok ? undefined : judged.reason;
  const long = read.ok && Buffer.byteLength(read.text) > bytes ? 'is longer than auth.jwks.bytes' : undefined;
  const problem = reason ?? long;
  if (problem !== undefined) {
    faults.push({
      path: [...path, 'jwksFile'],
      value: JSON.stringify(realm.jwksFile),
      expected: `a file with a JSON Web Key Set; this one ${problem}${read.ok ? '' : ` (${read.code})`}`,
      fix: 'make one with: carillon keys make',
    });
  }
  return { realm: withoutAbsent({ ...realm, keys, jwksFile: file }), faults };
}

function readWebhook(webhook: AuthSettings['webhook'], base: string) {
  if (webhook === undefined) return undefined;
  const { secret: text, secretFile: file, ...rest } = webhook;
  const secret = readSecret({ text, file }, base, ['auth', 'webhook', 'secret']);
  if (typeof secret === 'object') return secret;
  return { ...rest, ...(secret !== undefined && { secret }) };
}

function withoutAbsent<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, child]) => child !== undefined)) as T;
}

/** A provider signs for many services: without iss and aud the tokens of all of them are good here. */
function checkUnsafe({ jwksUrl, issuer, audience }: AuthSettings): Fault[] {
  if (jwksUrl === undefined || (issuer !== undefined && audience !== undefined)) return [];
  const missing = [issuer === undefined && 'auth.issuer', audience === undefined && 'auth.audience'];
  return [
    {
      path: ['auth', 'jwksUrl'],
      value: HIDDEN,
      expected: `${missing.filter(Boolean).join(' and ')} beside it: the keys behind a URL sign for other services too`,
      fix: 'set auth.issuer to the iss and auth.audience to the aud that the provider writes for this broker',
    },
  ];
}

function checkIssuers({ issuer, issuers }: AuthSettings): Fault[] {
  return issuers.flatMap((entry, at) => {
    const path = ['auth', 'issuers', at];
    const faults: Fault[] = [];
    const first = issuers.findIndex((other) => other.issuer === entry.issuer);
    if (entry.issuer === issuer || first < at) {
      const value = JSON.stringify(entry.issuer);
      faults.push({ path: [...path, 'issuer'], value, expected: 'an issuer of its own for each entry' });
    }
    if (entry.keys.length === 0 && !entry.jwksUrl && !entry.jwksFile)
      faults.push({ path, value: '(no keys)', expected: 'at least one of keys, jwksUrl and jwksFile' });
    return faults;
  });
}

/** Who can change what comes over plain HTTP can sign for anybody, or vouch for them. */
function checkTransport({ jwksUrl, issuers, webhook, insecureHttp }: AuthSettings): Fault[] {
  if (insecureHttp) return [];
  const urls: readonly (readonly [Path, string | undefined])[] = [
    [['auth', 'jwksUrl'], jwksUrl],
    ...issuers.map((entry, at) => [['auth', 'issuers', at, 'jwksUrl'], entry.jwksUrl] as const),
    [['auth', 'webhook', 'url'], webhook?.url],
  ];
  return urls.flatMap(([path, url]) => {
    if (url === undefined) return [];
    const { protocol, hostname, origin } = new URL(url);
    if (protocol === 'https:' || isLoopback(hostname.replace(/^\[|\]$/g, ''))) return [];
    return [
      {
        path,
        value: JSON.stringify(`${origin}/…`),
        expected: 'https, since whoever can change the answer on its way can let anybody in',
        fix: 'use https, or set auth.insecureHttp: true inside a network that nobody else is in',
      },
    ];
  });
}

function checkTimes({ auth, limits: { upgradeTimeoutMs } }: Settings): Fault[] {
  const { jwks, webhook } = auth;
  const faults: Fault[] = [];
  const fetches = [auth, ...auth.issuers].some(({ jwksUrl }) => jwksUrl !== undefined);
  const waits: readonly (readonly [Path, number | undefined])[] = [
    [['auth', 'jwks', 'timeoutMs'], fetches ? jwks.timeoutMs : undefined],
    [['auth', 'webhook', 'timeoutMs'], webhook?.timeoutMs],
  ];
  for (const [path, ms] of waits) {
    if (ms === undefined || ms < upgradeTimeoutMs) continue;
    const expected = `less than limits.upgradeTimeoutMs (${showDuration(upgradeTimeoutMs)}): a handshake waits for it`;
    faults.push({ path, value: showDuration(ms), expected });
  }
  if (jwks.staleMs < jwks.refreshMs) {
    const expected = 'at least auth.jwks.refreshMs: a set in use is that old before it is fetched again';
    faults.push({ path: ['auth', 'jwks', 'staleMs'], value: showDuration(jwks.staleMs), expected });
  }
  return faults;
}

/** A short secret can be guessed from one token: tolerable on this machine only, where it gets a warning. */
export function checkSecrets({ listen }: Settings, { keys, issuers }: AuthConfig): Fault[] {
  if (isLoopback(listen.host)) return [];
  const all = [
    ...keys.map((key, at) => ({ key, path: ['auth', 'keys', at, 'secret'] })),
    ...issuers.flatMap((issuer, i) =>
      issuer.keys.map((key, at) => ({ key, path: ['auth', 'issuers', i, 'keys', at, 'secret'] })),
    ),
  ];
  return all
    .filter(({ key }) => isShortSecret(key))
    .map(({ path }) => ({
      path,
      value: HIDDEN,
      expected: `a key for HS256 of at least ${SECRET_BYTES_MIN} bytes (RFC 7518, 3.2)`,
      fix: 'make one with: openssl rand -base64 48',
    }));
}
