import type { Member, PresenceMode } from '../protocol/frames.ts';

/** Who is in a room, as the server's frames tell it. */
export interface PresenceChange {
  readonly mode?: PresenceMode | undefined;
  readonly members?: readonly Member[] | undefined;
  readonly joined?: readonly Member[] | undefined;
  readonly left?: readonly string[] | undefined;
  readonly count?: number | undefined;
  /** `members` may lack some who are there. */
  readonly partial?: boolean | undefined;
}

/** What was not known before. */
export interface PresenceNews {
  /** Who was not known before, all after the first join; who left, while the connection was lost as well. */
  readonly joined: readonly Member[];
  readonly left: readonly string[];
  /** Who was known with other connections, or another `info`. */
  readonly updated: readonly Member[];
  /** What is known now has taken the place of what was: a whole list, or a mere count. */
  readonly reset: boolean;
}

export interface Presence extends PresenceNews {
  readonly members: ReadonlyMap<string, Member>;
  readonly count: number;
  /** `full`: the members are all; `delta`: those known since our join; `count`: nobody is known by name. */
  readonly mode: PresenceMode;
}

export class Members {
  readonly #byUser = new Map<string, Member>();
  #count = 0;
  #mode: PresenceMode = 'count';

  /** By user; in rooms so large that the server gives no list, those who have come since we did. */
  get all(): ReadonlyMap<string, Member> {
    return this.#byUser;
  }

  get count(): number {
    return this.#count;
  }

  get mode(): PresenceMode {
    return this.#mode;
  }

  /**
   * A whole list replaces what was known; a delta changes it, and may name what is known already (chat.v1, clause
   * 4.8); with a count alone nobody is known by name. Members that a list leaves out have left while we were away,
   * unless it is partial.
   */
  apply(change: PresenceChange): PresenceNews {
    const { members, joined, left, count, partial } = change;
    const counted = (members ?? joined ?? left) === undefined;
    if (counted) this.#byUser.clear();
    const there = members ?? joined ?? [];
    const news = {
      left: this.#gone(change).filter((user) => this.#byUser.delete(user)),
      joined: there.filter(({ user }) => !this.#byUser.has(user)),
      updated: there.filter((member) => isOther(this.#byUser.get(member.user), member)),
      reset: counted || (members !== undefined && !partial),
    };
    for (const member of there) this.#byUser.set(member.user, member);
    this.#count = count ?? this.#byUser.size;
    this.#mode = this.#modeAfter(change, counted);
    return news;
  }

  /** The frames of a room in full say `delta` as well (4.8.1): the list stays whole by them. */
  #modeAfter({ mode, members }: PresenceChange, counted: boolean): PresenceMode {
    if (members !== undefined) return 'full';
    if (counted) return mode === 'delta' ? 'delta' : 'count';
    return this.#mode === 'full' ? 'full' : 'delta';
  }

  #gone({ members, left = [], partial }: PresenceChange): readonly string[] {
    if (members === undefined || partial) return left;
    const listed = new Set(members.map(({ user }) => user));
    return [...this.#byUser.keys()].filter((user) => !listed.has(user));
  }
}

function isOther(before: Member | undefined, { connections, info }: Member): boolean {
  if (before === undefined) return false;
  return before.connections !== connections || JSON.stringify(before.info) !== JSON.stringify(info);
}
