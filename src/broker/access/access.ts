/** What an identity may do where: lists compiled once, since a session asks at every join and publish. */
import { ECHO_ROOM, inboxOf, isInbox } from '../../protocol/room.ts';
import type { RoomRule } from '../limits/policy.ts';
import type { Action, Identity, RoomGrant } from '../ports.ts';
import { allows, BIT, type CompiledList, compileList, type Grant, Grants, RECEIVING } from './grants.ts';

export { actionsOf, allows, type Grant } from './grants.ts';

/**
 * The rules, in order: `@echo` takes publishes from everyone and nothing else; what the tenant's rules deny is denied;
 * a user's own inbox is received by that user whatever the lists say; anybody else's never is, and may be published to
 * where the lists allow it; all else is the union of the claims and of the tenant's rules whose pattern matches.
 */
export class Access {
  readonly claims: Grants;
  /** Of the tenant's policy. */
  readonly allowed: Grants;
  readonly denied: Grants;
  readonly #user: string;

  constructor(identity: Identity, rules: readonly RoomRule[]) {
    const { allow, deny } = compiledRules(rules);
    this.claims = Grants.of(compiledClaims(identity.rooms), identity);
    this.allowed = Grants.of(allow, identity);
    this.denied = Grants.of(deny, identity);
    this.#user = identity.user;
  }

  may(action: Action, room: string): boolean {
    return allows(this.grantFor(room), action);
  }

  /** Everything that is allowed in the room, decided in one go. */
  grantFor(room: string): Grant {
    if (room === ECHO_ROOM) return BIT.pub;
    const listed = this.claims.union(room) | this.allowed.union(room);
    return this.#withInbox(room, listed) & ~this.denied.union(room);
  }

  isOwnInbox(room: string): boolean {
    return isInbox(room) && room === inboxOf(this.#user);
  }

  #withInbox(room: string, listed: Grant): Grant {
    if (this.isOwnInbox(room)) return listed | RECEIVING;
    return isInbox(room) ? listed & BIT.pub : listed;
  }
}

export function compileAccess(identity: Identity, rules: readonly RoomRule[] = NO_RULES): Access {
  return new Access(identity, rules);
}

const NO_RULES: readonly RoomRule[] = [];

/**
 * By the list itself: the sessions of one token, and those of all tokens without the claim, share their list, and
 * a hundred compiled patterns per session would be the largest part of its memory.
 */
const CLAIMS = new WeakMap<readonly RoomGrant[], CompiledList>();

function compiledClaims(grants: readonly RoomGrant[]): CompiledList {
  const known = CLAIMS.get(grants);
  if (known !== undefined) return known;
  const made = compileList(grants.map(({ match, allow }) => ({ match, actions: allow })));
  CLAIMS.set(grants, made);
  return made;
}

interface Rules {
  readonly allow: CompiledList;
  readonly deny: CompiledList;
}

/** As for claims: all sessions of a tenant share the list. */
const RULES = new WeakMap<readonly RoomRule[], Rules>();

function compiledRules(rules: readonly RoomRule[]): Rules {
  const known = RULES.get(rules);
  if (known !== undefined) return known;
  const made = {
    allow: compileList(rules.map(({ match, allow }) => ({ match, actions: allow }))),
    deny: compileList(rules.map(({ match, deny }) => ({ match, actions: deny }))),
  };
  RULES.set(rules, made);
  return made;
}
