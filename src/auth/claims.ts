/** The claims of a token whose signature and times are good, judged and turned into an identity. */

import { isReservedUser } from '../broker/access/reserved-users.ts';
import { isAccessPattern } from '../broker/access/template.ts';
import { ACTIONS, type Action, type Identity, type RoomGrant, SCOPES, TENANT_NAME } from '../broker/ports.ts';

type Claims = Readonly<Record<string, unknown>>;

export type ClaimsVerdict =
  | { readonly ok: true; readonly identity: Identity }
  | { readonly ok: false; readonly reason: string };

/** auth.roomsEntries, where no config says otherwise. */
export const ROOMS_ENTRIES = 100;

/** chat.v1, clause 1.4. Bytes of JSON. */
const INFO_BYTES_MAX = 1024;

/** No control, format (bidi overrides), surrogate or unassigned characters: the name is shown to other people. */
const USER = /^[^\p{C}\p{Zl}\p{Zp}]{1,128}$/u;
const DEFAULT_TENANT = 'default';

export interface ClaimsPolicy {
  readonly requireExp: boolean;
  /** Whether a JWT has to say when it was issued; what a webhook vouches for is issued as it answers. */
  readonly requireIat: boolean;
  readonly defaultRooms: readonly RoomGrant[];
  /** The most entries of a `rooms` claim: each is looked at when a session first asks about a room. */
  readonly roomsEntries: number;
}

/** A step of the judgement: what it adds to the identity, or why not. */
type Step = (claims: Claims, policy: ClaimsPolicy) => Partial<Identity> | string;

const STEPS: readonly Step[] = [user, tenant, expiry, issue, rooms, info, scope, tokenId];

export function judgeClaims(claims: Claims, policy: ClaimsPolicy): ClaimsVerdict {
  const identity: Record<string, unknown> = {};
  for (const step of STEPS) {
    const part = step(claims, policy);
    if (typeof part === 'string') return { ok: false, reason: part };
    Object.assign(identity, part);
  }
  // Every step for a required field answers that field or a reason.
  return { ok: true, identity: Object.freeze(identity) as unknown as Identity };
}

function user({ sub }: Claims): Partial<Identity> | string {
  if (sub === undefined) return 'the token has no sub';
  if (typeof sub !== 'string' || !USER.test(sub)) return 'sub is not 1 to 128 printable characters';
  return isReservedUser(sub) ? `sub is a reserved name (${sub})` : { user: sub };
}

function tenant({ tenant: claim = DEFAULT_TENANT }: Claims): Partial<Identity> | string {
  return typeof claim === 'string' && TENANT_NAME.test(claim)
    ? { tenant: claim }
    : 'tenant is not of the form [A-Za-z0-9_.-]{1,64}';
}

function expiry({ exp }: Claims, { requireExp }: ClaimsPolicy): Partial<Identity> | string {
  if (exp === undefined) return requireExp ? 'the token has no exp' : {};
  // 1e999 is a number to JSON and would never come.
  return typeof exp === 'number' && Number.isFinite(exp) ? { exp } : 'exp is not a number of seconds';
}

function issue({ iat }: Claims, { requireIat }: ClaimsPolicy): Partial<Identity> | string {
  if (iat === undefined) return requireIat ? 'the token has no iat' : {};
  return typeof iat === 'number' && Number.isFinite(iat)
    ? { issuedAt: iat }
    : 'iat is not a number of seconds';
}

function rooms(
  { rooms: claim }: Claims,
  { defaultRooms, roomsEntries }: ClaimsPolicy,
): Partial<Identity> | string {
  if (claim === undefined) return { rooms: defaultRooms };
  if (!Array.isArray(claim)) return 'rooms is not a list';
  if (claim.length > roomsEntries) return `rooms has more than ${roomsEntries} entries`;
  const grants: RoomGrant[] = [];
  for (const [at, entry] of claim.entries()) {
    const grant = readGrant(entry);
    if (typeof grant === 'string') return `rooms[${at}] ${grant}`;
    grants.push(grant);
  }
  return { rooms: Object.freeze(grants) };
}

export function readGrant(entry: unknown): RoomGrant | string {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return 'is not an object';
  // A field that is passed over could be one that takes rights away.
  if (Object.keys(entry).some((name) => name !== 'match' && name !== 'allow'))
    return 'has a field other than match and allow';
  const { match, allow } = entry as { match?: unknown; allow?: unknown };
  if (!isAccessPattern(match)) return 'has no room pattern as match';
  if (!Array.isArray(allow)) return 'has no list as allow';
  if (!allow.every(isAction)) return `allows something other than ${ACTIONS.join(', ')}`;
  return Object.freeze({ match, allow: Object.freeze([...new Set(allow)]) });
}

function isAction(value: unknown): value is Action {
  return ACTIONS.some((action) => action === value);
}

function info({ info: claim }: Claims): Partial<Identity> | string {
  if (claim === undefined) return {};
  if (typeof claim !== 'object' || claim === null || Array.isArray(claim)) return 'info is not an object';
  return Buffer.byteLength(JSON.stringify(claim)) <= INFO_BYTES_MAX
    ? { info: claim as Readonly<Record<string, unknown>> }
    : `info is over ${INFO_BYTES_MAX} bytes of JSON`;
}

function scope({ scope: claim }: Claims): Partial<Identity> | string {
  if (claim === undefined) return {};
  if (typeof claim !== 'string' || claim.length > 256) return 'scope is not a text of up to 256 characters';
  const words = claim.split(' ');
  const scopes = SCOPES.filter((known) => words.includes(known));
  return scopes.length === 0 ? {} : { scopes };
}

function tokenId({ jti }: Claims): Partial<Identity> | string {
  if (jti === undefined) return {};
  return typeof jti === 'string' && jti.length >= 1 && jti.length <= 128
    ? { tokenId: jti }
    : 'jti is not a text of 1 to 128 characters';
}
