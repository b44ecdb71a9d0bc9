/** Who of a tenant is here, by user. Most users have one connection: only a second one makes a set. */
export class Users<T extends object> {
  readonly #byUser = new Map<string, T | Set<T>>();

  add(user: string, item: T): void {
    const known = this.#byUser.get(user);
    if (known === undefined) this.#byUser.set(user, item);
    else if (known instanceof Set) known.add(item);
    else this.#byUser.set(user, new Set([known, item]));
  }

  delete(user: string, item: T): void {
    const known = this.#byUser.get(user);
    if (known === item) this.#byUser.delete(user);
    else if (known instanceof Set) {
      known.delete(item);
      if (known.size === 0) this.#byUser.delete(user);
    }
  }

  count(user: string): number {
    const known = this.#byUser.get(user);
    if (known === undefined) return 0;
    return known instanceof Set ? known.size : 1;
  }

  /** A copy: what is done with them may change who is here. */
  of(user: string): T[] {
    const known = this.#byUser.get(user);
    if (known === undefined) return [];
    return known instanceof Set ? [...known] : [known];
  }

  *all(): Generator<T> {
    for (const known of this.#byUser.values()) {
      if (known instanceof Set) yield* known;
      else yield known;
    }
  }
}
