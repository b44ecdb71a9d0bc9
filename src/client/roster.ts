/** Who is in a room as a sorted list that keeps itself up to date. */
import type { Member, PresenceMode } from '../protocol/frames.ts';
import { Emitter } from './emitter.ts';
import type { Presence } from './members.ts';

export interface RosterOptions {
  /** The order of two members; those that it gives 0 for stand by user. Default: by user. */
  readonly compare?: (one: Member, other: Member) => number;
}

/** What one message of the server has changed. */
export interface RosterChange {
  readonly joined: readonly Member[];
  readonly left: readonly Member[];
  readonly updated: readonly Member[];
  /** The list is another one: after a join, also that of a reconnect, and when the server tells more or less than before. */
  readonly reset: boolean;
  /** Members in all. */
  readonly count: number;
}

/** For each change first those of single members, or `reset` in their place, then `change`. */
export interface RosterEvents {
  joined: Member;
  /** As it was known last. */
  left: Member;
  /** Other connections, or other `info`. */
  updated: Member;
  /** The whole list, sorted. */
  reset: readonly Member[];
  change: RosterChange;
}

/** What it is made from: a room that was joined with `presence: true`. */
export interface RosterSource {
  readonly members: ReadonlyMap<string, Member>;
  readonly count: number;
  readonly mode: PresenceMode;
  on(name: 'presence', listener: (presence: Presence) => void): () => void;
}

const byUser = (one: Member, other: Member): number =>
  one.user < other.user ? -1 : one.user > other.user ? 1 : 0;

export class Roster implements Iterable<Member> {
  readonly #source: RosterSource;
  readonly #compare: (one: Member, other: Member) => number;
  readonly #events = new Emitter<RosterEvents>();
  /** The members as they are sorted: to find one, its former self is needed. */
  readonly #known = new Map<string, Member>();
  readonly #off: () => void;
  #sorted: Member[] = [];
  #shown: readonly Member[] | undefined;

  /** Made by `room.roster`. */
  constructor(source: RosterSource, { compare }: RosterOptions = {}) {
    this.#source = source;
    this.#compare =
      compare === undefined ? byUser : (one, other) => compare(one, other) || byUser(one, other);
    this.#replace();
    this.#off = source.on('presence', (presence) => this.#apply(presence));
  }

  /** Sorted. The same array until something changes, and another one then. */
  get members(): readonly Member[] {
    this.#shown ??= [...this.#sorted];
    return this.#shown;
  }

  /** How many there are, known by name or not. */
  get count(): number {
    return this.#source.count;
  }

  /** `full`: these are all; `delta`: those who came, or changed, since we did; `count`: nobody is known by name. */
  get mode(): PresenceMode {
    return this.#source.mode;
  }

  get(user: string): Member | undefined {
    return this.#known.get(user);
  }

  [Symbol.iterator](): Iterator<Member> {
    return this.members[Symbol.iterator]();
  }

  /** Returns what takes the listener off again. */
  on<Name extends keyof RosterEvents>(name: Name, listener: (value: RosterEvents[Name]) => void): () => void {
    return this.#events.on(name, listener);
  }

  /** Stays as it is from here on. */
  close(): void {
    this.#off();
  }

  #apply({ joined, left, updated, reset, count }: Presence): void {
    const gone = left.flatMap((user) => this.#known.get(user) ?? []);
    if (reset) {
      this.#replace();
    } else {
      for (const member of gone) this.#remove(member);
      for (const member of updated) this.#update(member);
      for (const member of joined) this.#insert(member);
    }
    this.#shown = undefined;
    if (reset) this.#events.emit('reset', this.members);
    else this.#tell(joined, gone, updated);
    this.#events.emit('change', { joined, left: gone, updated, reset, count });
  }

  #tell(joined: readonly Member[], left: readonly Member[], updated: readonly Member[]): void {
    for (const member of left) this.#events.emit('left', member);
    for (const member of updated) this.#events.emit('updated', member);
    for (const member of joined) this.#events.emit('joined', member);
  }

  #replace(): void {
    this.#sorted = [...this.#source.members.values()].sort(this.#compare);
    this.#known.clear();
    for (const member of this.#sorted) this.#known.set(member.user, member);
  }

  #insert(member: Member): void {
    this.#known.set(member.user, member);
    this.#sorted.splice(this.#placeOf(member), 0, member);
  }

  #remove(member: Member): void {
    this.#known.delete(member.user);
    this.#sorted.splice(this.#placeOf(member), 1);
  }

  #update(member: Member): void {
    const before = this.#known.get(member.user);
    if (before !== undefined) this.#remove(before);
    this.#insert(member);
  }

  /** The place of a member that is there, or where it belongs. */
  #placeOf(member: Member): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(this.#sorted[middle] as Member, member) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
