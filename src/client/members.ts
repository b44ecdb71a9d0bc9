import type { Member } from '../protocol/frames.ts';

/** Who is in a room, as the server's frames tell it. */
export interface PresenceChange {
  readonly members?: readonly Member[] | undefined;
  readonly joined?: readonly Member[] | undefined;
  readonly left?: readonly string[] | undefined;
  readonly count?: number | undefined;
}

/** What was not known before. */
export interface PresenceNews {
  readonly joined: readonly Member[];
  readonly left: readonly string[];
}

export class Members {
  readonly #byUser = new Map<string, Member>();
  #count = 0;

  /** By user; in rooms so large that the server gives no list, those who have come since we did. */
  get all(): ReadonlyMap<string, Member> {
    return this.#byUser;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * A whole list replaces what was known; a delta changes it, and may name what is known already (chat.v1, clause
   * 4.8); with a count alone nobody is known by name. Members that a list leaves out have left while we were away.
   */
  apply({ members, joined, left, count }: PresenceChange): PresenceNews {
    if ((members ?? joined ?? left) === undefined) this.#byUser.clear();
    const there = members ?? joined ?? [];
    const gone = members === undefined ? (left ?? []) : this.#missingFrom(members);
    const news = {
      left: gone.filter((user) => this.#byUser.delete(user)),
      joined: there.filter(({ user }) => !this.#byUser.has(user)),
    };
    for (const member of there) this.#byUser.set(member.user, member);
    this.#count = count ?? this.#byUser.size;
    return news;
  }

  #missingFrom(members: readonly Member[]): string[] {
    const listed = new Set(members.map(({ user }) => user));
    return [...this.#byUser.keys()].filter((user) => !listed.has(user));
  }
}
