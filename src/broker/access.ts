/** What an identity may do where: claims compiled once, since a session asks at every join and publish. */
import { compilePattern, ECHO_ROOM, inboxOf, isInbox, type RoomMatcher } from '../protocol/room.ts';
import type { RoomRule } from './limits/policy.ts';
import { ACTIONS, type Action, type Identity, type RoomGrant } from './ports.ts';

/** A set of actions as bits. */
export type Grant = number;

const BIT: Readonly<Record<Action, Grant>> = { join: 1, pub: 2, presence: 4, history: 8 };
const NONE: Grant = 0;
const ALL: Grant = 15;
const RECEIVING: Grant = ALL & ~BIT.pub;

export interface Access {
  may(action: Action, room: string): boolean;
  /** Everything that is allowed in the room, decided in one go. */
  grantFor(room: string): Grant;
}

export function allows(grant: Grant, action: Action): boolean {
  return (grant & BIT[action]) !== 0;
}

export function actionsOf(grant: Grant): readonly Action[] {
  return ACTIONS.filter((action) => allows(grant, action));
}

/**
 * The rules, in order: a user's own inbox is received by that user whatever the claims say; anybody else's never is,
 * and may be published to where the claims allow it; `@echo` takes publishes from everyone and nothing else; all
 * else is the union of the claims whose pattern matches. What the tenant's rules allow adds to the claims; what
 * they deny is denied, except `@echo`.
 */
export function compileAccess(identity: Identity, rules: readonly RoomRule[] = []): Access {
  if (rules.length === 0) return compileClaims(identity, compiled(identity.rooms));
  const { allowed, denied } = compiledRules(rules);
  const claims = compileClaims(identity, [...compiled(identity.rooms), ...allowed]);
  const grantFor = (room: string): Grant => {
    const granted = claims.grantFor(room);
    return room === ECHO_ROOM ? granted : granted & ~union(denied, room);
  };
  return { grantFor, may: (action, room) => allows(grantFor(room), action) };
}

function compileClaims(identity: Identity, entries: readonly Entry[]): Access {
  const own = inboxOf(identity.user);
  const grantFor = (room: string): Grant => {
    const claimed = union(entries, room);
    if (room === own) return claimed | RECEIVING;
    if (isInbox(room)) return claimed & BIT.pub;
    return room === ECHO_ROOM ? BIT.pub : claimed;
  };
  return { grantFor, may: (action, room) => allows(grantFor(room), action) };
}

interface Entry {
  readonly matches: RoomMatcher;
  readonly grant: Grant;
}

/**
 * By the list itself: the sessions of one token, and those of all tokens without the claim, share their list, and
 * a hundred compiled patterns per session would be the largest part of its memory.
 */
const COMPILED = new WeakMap<readonly RoomGrant[], readonly Entry[]>();

function compiled(grants: readonly RoomGrant[]): readonly Entry[] {
  const known = COMPILED.get(grants);
  if (known !== undefined) return known;
  const entries = grants.map(({ match, allow }) => entryOf(match, allow));
  COMPILED.set(grants, entries);
  return entries;
}

interface Rules {
  readonly allowed: readonly Entry[];
  readonly denied: readonly Entry[];
}

/** As for claims: all sessions of a tenant share the list. */
const COMPILED_RULES = new WeakMap<readonly RoomRule[], Rules>();

function compiledRules(rules: readonly RoomRule[]): Rules {
  const known = COMPILED_RULES.get(rules);
  if (known !== undefined) return known;
  const made = {
    allowed: rules.map(({ match, allow }) => entryOf(match, allow)),
    denied: rules.map(({ match, deny }) => entryOf(match, deny)),
  };
  COMPILED_RULES.set(rules, made);
  return made;
}

function entryOf(match: string, actions: readonly Action[]): Entry {
  return {
    matches: compilePattern(match),
    grant: actions.reduce((bits, action) => bits | BIT[action], NONE),
  };
}

function union(entries: readonly Entry[], room: string): Grant {
  let grant = NONE;
  for (const entry of entries) {
    if ((grant | entry.grant) !== grant && entry.matches(room)) grant |= entry.grant;
  }
  return grant;
}
