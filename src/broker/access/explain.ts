/** Why an identity may or may not do something: the rule that decides, found by the same steps as the decision. */
import { ECHO_ROOM, isInbox } from '../../protocol/room.ts';
import type { RoomRule } from '../limits/policy.ts';
import type { Action, Identity } from '../ports.ts';
import { type Access, compileAccess } from './access.ts';
import { BIT, type Grant, type Grants, RECEIVING } from './grants.ts';
import { isTemplate, substitute } from './template.ts';

/** Where lists of access stand. */
export const ACCESS_LISTS = ['claims', 'auth.defaultRooms', 'policy.allow', 'policy.deny'] as const;
export type AccessList = (typeof ACCESS_LISTS)[number];

export interface ListedRule {
  readonly kind: 'entry';
  readonly list: AccessList;
  /** In the list, from 0; of the two of a policy: in its `rooms`. */
  readonly index: number;
  /** As it stands in the list. */
  readonly match: string;
  /** With the claims in the place of its placeholders; absent where it has none. */
  readonly substituted?: string;
}

/** What decides where no list does. */
export type BuiltIn = 'echo' | 'own_inbox' | 'foreign_inbox' | 'nothing_allows';

export type AccessRule = ListedRule | { readonly kind: BuiltIn };

/** A template that could not be filled for this identity, and therefore matches nothing. */
export interface Unfilled {
  readonly list: 'claims' | 'auth.defaultRooms' | 'policy';
  readonly index: number;
  readonly match: string;
  readonly claims: readonly string[];
}

export interface AccessReport {
  readonly allowed: boolean;
  readonly rule: AccessRule;
  readonly unfilled: readonly Unfilled[];
}

/** @param byDefault whether `identity.rooms` is auth.defaultRooms, for a token without the claim. */
export function explainAccess(
  identity: Identity,
  rules: readonly RoomRule[],
  byDefault: boolean,
  action: Action,
  room: string,
): AccessReport {
  const lists = listsOf(identity, rules, byDefault);
  const decision = decisive(compileAccess(identity, rules), lists, action, room);
  return { ...decision, unfilled: unfilledOf(identity, rules, byDefault) };
}

interface NamedList {
  readonly list: AccessList;
  readonly matches: readonly string[];
}

interface Lists {
  readonly claims: NamedList;
  readonly allow: NamedList;
  readonly deny: NamedList;
}

function listsOf({ rooms }: Identity, rules: readonly RoomRule[], byDefault: boolean): Lists {
  const matches = rules.map(({ match }) => match);
  return {
    claims: { list: byDefault ? 'auth.defaultRooms' : 'claims', matches: rooms.map(({ match }) => match) },
    allow: { list: 'policy.allow', matches },
    deny: { list: 'policy.deny', matches },
  };
}

type Decision = Pick<AccessReport, 'allowed' | 'rule'>;

/** The order is that of `Access`. */
function decisive(access: Access, lists: Lists, action: Action, room: string): Decision {
  if (room === ECHO_ROOM) return { allowed: action === 'pub', rule: { kind: 'echo' } };
  const denied = entryOf(access.denied, lists.deny, action, room);
  if (denied !== undefined) return { allowed: false, rule: denied };
  if (receives(action) && isInbox(room)) {
    const own = access.isOwnInbox(room);
    return { allowed: own, rule: { kind: own ? 'own_inbox' : 'foreign_inbox' } };
  }
  const allowed =
    entryOf(access.claims, lists.claims, action, room) ?? entryOf(access.allowed, lists.allow, action, room);
  return allowed === undefined
    ? { allowed: false, rule: { kind: 'nothing_allows' } }
    : { allowed: true, rule: allowed };
}

function receives(action: Action): boolean {
  const bit: Grant = BIT[action];
  return (bit & RECEIVING) !== 0;
}

function entryOf(
  grants: Grants,
  { list, matches }: NamedList,
  action: Action,
  room: string,
): ListedRule | undefined {
  const entry = grants.first(action, room);
  if (entry === undefined) return undefined;
  const match = matches[entry.at] ?? entry.pattern;
  return {
    kind: 'entry',
    list,
    index: entry.at,
    match,
    ...(isTemplate(match) && { substituted: entry.pattern }),
  };
}

function unfilledOf(identity: Identity, rules: readonly RoomRule[], byDefault: boolean): Unfilled[] {
  const unfilled = (list: Unfilled['list'], entries: readonly { readonly match: string }[]): Unfilled[] =>
    entries.flatMap(({ match }, index) => {
      const filled = substitute(match, identity);
      return filled.ok ? [] : [{ list, index, match, claims: filled.claims }];
    });
  return [
    ...unfilled(byDefault ? 'auth.defaultRooms' : 'claims', identity.rooms),
    ...unfilled('policy', rules),
  ];
}
