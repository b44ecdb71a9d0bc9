import type { Member } from '../protocol/frames.ts';

/** Who is in a room, as the server's frames tell it. */
export interface PresenceChange {
  readonly members?: readonly Member[] | undefined;
  readonly joined?: readonly Member[] | undefined;
  readonly left?: readonly string[] | undefined;
  readonly count?: number | undefined;
}

export class Members {
  readonly #byUser = new Map<string, Member>();
  #count = 0;

  /** By user; empty where the server only counts. */
  get all(): ReadonlyMap<string, Member> {
    return this.#byUser;
  }

  get count(): number {
    return this.#count;
  }

  /** A whole list replaces what was known; a delta changes it. */
  apply(change: PresenceChange): void {
    if (change.members !== undefined) {
      this.#byUser.clear();
      for (const member of change.members) this.#byUser.set(member.user, member);
    }
    for (const member of change.joined ?? []) this.#byUser.set(member.user, member);
    for (const user of change.left ?? []) this.#byUser.delete(user);
    this.#count = change.count ?? this.#byUser.size;
  }
}
