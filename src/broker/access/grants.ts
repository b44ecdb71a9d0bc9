/** Lists of access, compiled once each: the sessions of a token, and all users of a tenant, share theirs. */
import { compilePattern, type RoomMatcher } from '../../protocol/room.ts';
import { ACTIONS, type Action, type Identity } from '../ports.ts';
import { isTemplate, substitute } from './template.ts';

/** A set of actions as bits. */
export type Grant = number;

export const BIT: Readonly<Record<Action, Grant>> = { join: 1, pub: 2, presence: 4, history: 8 };
export const NONE: Grant = 0;
/** All that one does in a room but publishing. */
export const RECEIVING: Grant = BIT.join | BIT.presence | BIT.history;

export function allows(grant: Grant, action: Action): boolean {
  return (grant & BIT[action]) !== 0;
}

export function actionsOf(grant: Grant): readonly Action[] {
  return ACTIONS.filter((action) => allows(grant, action));
}

/** One entry of a list: a pattern, and actions for the rooms that it matches. */
export interface Listed {
  readonly match: string;
  readonly actions: readonly Action[];
}

export interface Entry {
  /** Its place in the list. */
  readonly at: number;
  /** After substitution. */
  readonly pattern: string;
  readonly grant: Grant;
  readonly matches: RoomMatcher;
}

/** An entry whose pattern depends on who asks. */
interface Template {
  readonly at: number;
  readonly match: string;
  readonly grant: Grant;
}

export interface CompiledList {
  readonly entries: readonly Entry[];
  readonly templates: readonly Template[];
}

export function compileList(list: readonly Listed[]): CompiledList {
  const entries: Entry[] = [];
  const templates: Template[] = [];
  for (const [at, { match, actions }] of list.entries()) {
    const grant = actions.reduce((bits, action) => bits | BIT[action], NONE);
    if (isTemplate(match)) templates.push({ at, match, grant });
    else entries.push({ at, pattern: match, grant, matches: compilePattern(match) });
  }
  return { entries, templates };
}

const NO_ENTRIES: readonly Entry[] = [];
const PLAIN = new WeakMap<CompiledList, Grants>();

/** A list as it is for one identity: what is the same for all is shared with all. */
export class Grants {
  readonly #shared: readonly Entry[];
  readonly #own: readonly Entry[];

  private constructor(list: CompiledList, identity: Identity) {
    this.#shared = list.entries;
    this.#own = list.templates.length === 0 ? NO_ENTRIES : resolve(list.templates, identity);
  }

  /** Of a list without templates it is the same for everybody, and made once: each session has three of them. */
  static of(list: CompiledList, identity: Identity): Grants {
    if (list.templates.length > 0) return new Grants(list, identity);
    const known = PLAIN.get(list);
    if (known !== undefined) return known;
    const made = new Grants(list, identity);
    PLAIN.set(list, made);
    return made;
  }

  /** What all matching entries have together. */
  union(room: string): Grant {
    return unite(this.#own, room, unite(this.#shared, room, NONE));
  }

  /** The first entry of the list that has the action in this room. */
  first(action: Action, room: string): Entry | undefined {
    return [...this.#shared, ...this.#own]
      .sort((one, other) => one.at - other.at)
      .find((entry) => allows(entry.grant, action) && entry.matches(room));
  }
}

function unite(entries: readonly Entry[], room: string, from: Grant): Grant {
  let grant = from;
  for (const entry of entries) {
    if ((grant | entry.grant) !== grant && entry.matches(room)) grant |= entry.grant;
  }
  return grant;
}

/** A template that a claim cannot fill matches nothing. */
function resolve(templates: readonly Template[], identity: Identity): readonly Entry[] {
  return templates.flatMap(({ at, match, grant }) => {
    const filled = substitute(match, identity);
    return filled.ok
      ? [{ at, pattern: filled.pattern, grant, matches: compilePattern(filled.pattern) }]
      : NO_ENTRIES;
  });
}
