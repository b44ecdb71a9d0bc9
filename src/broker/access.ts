/** What an identity may do where: claims compiled once, since a session asks at every join and publish. */
import { compilePattern, ECHO_ROOM, inboxOf, isInbox, type RoomMatcher } from '../protocol/room.ts';
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
 * else is the union of the claims whose pattern matches.
 */
export function compileAccess(identity: Identity): Access {
  const entries = compiled(identity.rooms);
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
  const entries = grants.map(({ match, allow }) => ({
    matches: compilePattern(match),
    grant: allow.reduce((bits, action) => bits | BIT[action], NONE),
  }));
  COMPILED.set(grants, entries);
  return entries;
}

function union(entries: readonly Entry[], room: string): Grant {
  let grant = NONE;
  for (const entry of entries) {
    if ((grant | entry.grant) !== grant && entry.matches(room)) grant |= entry.grant;
  }
  return grant;
}
