/** Who is in a room of this node: several connections of one user are one member. */
import type { Member } from '../protocol/frames.ts';

interface Present {
  info: Readonly<Record<string, unknown>> | undefined;
  connections: number;
}

export interface PresenceDelta {
  readonly joined: readonly Member[];
  readonly left: readonly string[];
  readonly count: number;
}

interface Arrival {
  readonly user: string;
  readonly info: Readonly<Record<string, unknown>> | undefined;
}

export class PresenceView {
  readonly #members = new Map<string, Present>();
  /** What changed since the last delta: true for joined. A user who came and went leaves no trace. */
  readonly #changes = new Map<string, boolean>();
  watchersJson = 0;
  watchersMsgpack = 0;

  constructor(present: Iterable<Arrival>) {
    for (const arrival of present) this.add(arrival);
    this.#changes.clear();
  }

  get count(): number {
    return this.#members.size;
  }

  get changed(): boolean {
    return this.#changes.size > 0;
  }

  add(arrival: Arrival): void {
    const known = this.#members.get(arrival.user);
    if (known !== undefined) {
      known.connections++;
      known.info = arrival.info ?? known.info;
      return;
    }
    this.#members.set(arrival.user, { info: arrival.info, connections: 1 });
    this.#change(arrival.user, true);
  }

  remove(user: string): void {
    const known = this.#members.get(user);
    if (known === undefined) return;
    known.connections--;
    if (known.connections > 0) return;
    this.#members.delete(user);
    this.#change(user, false);
  }

  list(): Member[] {
    return [...this.#members.keys()].map((user) => this.#member(user));
  }

  /** The changes since the last call. */
  take(): PresenceDelta {
    const joined: Member[] = [];
    const left: string[] = [];
    for (const [user, present] of this.#changes) {
      if (present) joined.push(this.#member(user));
      else left.push(user);
    }
    this.#changes.clear();
    return { joined, left, count: this.count };
  }

  #change(user: string, present: boolean): void {
    if (this.#changes.get(user) === !present) this.#changes.delete(user);
    else this.#changes.set(user, present);
  }

  #member(user: string): Member {
    const present = this.#members.get(user) as Present;
    const { info, connections } = present;
    return info === undefined ? { user, connections } : { user, info, connections };
  }
}
