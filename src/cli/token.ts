/** `carillon token`: flags to a signed token. Reads the key file, touches nothing else. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { judgeClaims, ROOMS_ENTRIES } from '../auth/claims.ts';
import type { KeySetting } from '../auth/keys.ts';
import {
  mintToken,
  privateSigner,
  ringSigner,
  type Signer,
  secretSigner,
  type TokenClaims,
} from '../auth/mint.ts';
import { within } from '../auth/rights.ts';
import { judgeLife, type TokenLife } from '../broker/exclusion/token-life.ts';
import type { Identity } from '../broker/ports.ts';
import { isTree } from '../config/document.ts';
import { lifeOf, TOKEN_LIFE_DEFAULT } from '../config/token-life.ts';
import { parseDuration } from '../config/units.ts';
import type { Config } from '../config.ts';
import { parseRooms } from './rooms.ts';
import { type Usage, usage } from './serve.ts';

export const TOKEN_HELP = `carillon token: make a token that a client connects with

  carillon token --sub USER [--tenant T] [--rooms ROOMS] [--ttl 1h]

  --sub USER        who the client is (required)
  --tenant T        the tenant, when it is not "default"
  --rooms ROOMS     what the client may do, default "**" (everything everywhere):
                      "chat:**=join,pub;news:*=join"   patterns with their actions
                      '[{"match":"**","allow":["join"]}]'   the claim as JSON
                    actions: join, pub, presence, history
  --ttl DURATION    how long it is valid: 30s, 10m, 24h; default 1h; at most revocation.tokenLifeMs (30d as shipped)
  --info JSON       an object shown to others in presence
  --scope SCOPE     "api" for backends, "admin" for the admin API, "api admin" for both; the issuer has to be allowed
                    to grant it (auth.scopes, auth.issuers[].scopes)
  --issuer, --audience   default: as configured

  The key, first found:
  --key FILE        the keys made by "carillon keys": the one that signs now, or --kid; or one private key,
                    PEM (PKCS #8) or JWK, with its --kid and, as a check, --alg
  --secret TEXT     an HS256 secret (others on this machine can see it; CARILLON_JWT_SECRET is safer)
                    With these, --config FILE names the settings of the broker that the token is for
  otherwise         an HS256 key of the configuration: CARILLON_JWT_SECRET, or auth.keys of
                    --config FILE / CARILLON_CONFIG, chosen by --kid where there are several

Examples
  export CARILLON_JWT_SECRET=$(openssl rand -base64 48)
  carillon token --sub alice
  carillon token --sub bob --rooms "chat:**=join,pub,history;@alice=pub" --ttl 10m
  carillon token --sub backend --scope api --key private.pem --kid k2
`;

export interface TokenFlags {
  readonly values: Readonly<Record<TokenFlag, string | undefined>>;
  readonly help: boolean;
}

const FLAGS = [
  'sub',
  'tenant',
  'rooms',
  'ttl',
  'info',
  'scope',
  'issuer',
  'audience',
  'secret',
  'key',
  'kid',
  'alg',
  'config',
] as const;
type TokenFlag = (typeof FLAGS)[number];

export type TokenResult =
  | { readonly ok: true; readonly token: string }
  | { readonly ok: false; readonly kind: 'usage' | 'config'; readonly reason: string };

export function tokenFlags(args: readonly string[]): Usage<TokenFlags> {
  const texts = Object.fromEntries(FLAGS.map((name) => [name, { type: 'string' as const }]));
  const options = { ...texts, help: { type: 'boolean' as const, short: 'h' } };
  const read = usage(() => parseArgs({ args: [...args], options }));
  if (!read.ok) return read;
  const { help, ...values } = read.flags.values;
  return { ok: true, flags: { values: values as TokenFlags['values'], help: help === true } };
}

/** Whether the key comes from the command line, so that no configuration is needed. */
export function bringsKey({ values }: TokenFlags): boolean {
  return values.key !== undefined || values.secret !== undefined;
}

/** @param config where the key is to come from it. @param now milliseconds since 1970. */
export async function makeToken(
  flags: TokenFlags,
  config: Config | undefined,
  now: number,
): Promise<TokenResult> {
  const ttlSeconds = Math.floor((parseDuration(flags.values.ttl ?? '1h', 1000) ?? 0) / 1000);
  if (ttlSeconds < 1) return wrong('--ttl is not a duration such as 30s, 10m or 24h');
  const claims = claimsOf(flags, config);
  if ('reason' in claims) return claims;
  const refusal = brokerRefusal(claims, ttlSeconds, config, now);
  if (refusal !== undefined) return wrong(`a broker would refuse this token: ${refusal}`);
  const signer = signerOf(flags, config, now);
  if ('reason' in signer) return signer;
  return { ok: true, token: await mintToken(signer, claims, { now, ttlSeconds }) };
}

/** Without settings those of a broker as shipped count. */
function brokerRefusal(
  claims: TokenClaims,
  ttlSeconds: number,
  config: Config | undefined,
  now: number,
): string | undefined {
  const iat = Math.floor(now / 1000);
  const policy = { requireExp: true, requireIat: true, defaultRooms: [] };
  const roomsEntries = config?.auth.roomsEntries ?? ROOMS_ENTRIES;
  const judged = judgeClaims({ ...claims, iat, exp: iat + ttlSeconds }, { ...policy, roomsEntries });
  if (!judged.ok) return judged.reason;
  const lived = judgeLife(judged.identity, config === undefined ? LIFE_AS_SHIPPED : lifeOf(config), now);
  if (!lived.ok)
    return config === undefined ? `${lived.reason}; --config FILE names other settings` : lived.reason;
  return config && issuerRefusal(judged.identity, claims.iss, config);
}

const LIFE_AS_SHIPPED: TokenLife = {
  tokenLifeMs: parseDuration(TOKEN_LIFE_DEFAULT, 1) ?? 0,
  clockToleranceSeconds: 0,
};

/** What the issuer that the token names may not vouch for. */
function issuerRefusal(identity: Identity, iss: string | undefined, { auth }: Config): string | undefined {
  const issuer = auth.issuers.find((each) => each.issuer === iss) ?? auth;
  const bounded = within(identity, issuer);
  if ('kind' in bounded) return bounded.verdict.reason;
  const [scope] = bounded.withheld ?? [];
  return scope && `its issuer may not grant the scope "${scope}": see auth.scopes and auth.issuers[].scopes`;
}

type Refusal = Extract<TokenResult, { ok: false }>;

function wrong(reason: string): Refusal {
  return { ok: false, kind: 'usage', reason };
}

function claimsOf({ values }: TokenFlags, config: Config | undefined): TokenClaims | Refusal {
  const { sub, tenant, scope } = values;
  if (sub === undefined) return wrong('--sub is missing: who is the client?');
  const rooms = parseRooms(values.rooms ?? '**');
  if (!rooms.ok) return wrong(`--rooms: ${rooms.reason}`);
  const info = values.info === undefined ? undefined : objectFrom(values.info);
  if (values.info !== undefined && info === undefined) return wrong('--info is not a JSON object');
  const iss = values.issuer ?? config?.auth.issuer;
  const aud = values.audience ?? config?.auth.audience?.[0];
  return { sub, rooms: rooms.rooms, ...present({ tenant, scope, info, iss, aud }) };
}

function present<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function objectFrom(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isTree(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function signerOf({ values }: TokenFlags, config: Config | undefined, now: number): Signer | Refusal {
  if (values.key !== undefined && values.secret !== undefined)
    return wrong('give --key or --secret, not both');
  if (values.key !== undefined) return fileSigner(values.key, values, now);
  if (values.alg !== undefined && values.alg !== 'HS256') return wrong(`${values.alg} needs --key FILE`);
  if (values.secret !== undefined) return secretSigner(values.secret, values.kid);
  return configuredSigner(config?.auth.keys ?? [], values.kid);
}

function fileSigner(file: string, { kid, alg }: TokenFlags['values'], now: number): Signer | Refusal {
  const text = readKeyFile(file);
  if (typeof text !== 'string') return text;
  const signer = ringSigner(text, now, kid) ?? privateSigner(text, kid);
  if ('reason' in signer) return wrong(`--key ${file}: ${signer.reason}`);
  return alg === undefined || alg === signer.alg
    ? signer
    : wrong(`--key ${file} is a key for ${signer.alg}, not ${alg}`);
}

function readKeyFile(file: string): string | Refusal {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
    return wrong(`--key ${file} cannot be read (${code})`);
  }
}

function configuredSigner(keys: readonly KeySetting[], kid: string | undefined): Signer | Refusal {
  const fitting = keys.filter((key) => key.secret !== undefined && (kid === undefined || key.kid === kid));
  const [key] = fitting;
  if (key?.secret !== undefined) return secretSigner(key.secret, key.kid);
  return {
    ok: false,
    kind: 'config',
    reason:
      keys.length === 0
        ? 'no key is configured: set CARILLON_JWT_SECRET (a broker in development mode prints a token of its own)'
        : 'no HS256 key of the configuration fits: give --key FILE with the private key',
  };
}
