/** Who is in a room, on all nodes: several connections of one user are one member. */

import type { Encoding, Member, PresenceMode as Mode } from '../../protocol/frames.ts';
import type { Tenant } from '../limits/tenant.ts';
import type { RoomRef } from '../ports.ts';
import type { RoundRobinItem } from '../round-robin.ts';
import { type ModeBounds, modeOf } from './mode.ts';
import { type Arrival, Own } from './own.ts';
import { differentShare, type Sample, together } from './sketch.ts';
import { type Load, Slice } from './slice.ts';
import type { Held, Info } from './state.ts';

export interface PresenceDelta {
  readonly joined: readonly Member[];
  readonly left: readonly string[];
}

/** A room of this node, as far as its watchers need it. */
export interface WatchedRoom {
  readonly ref: RoomRef;
  readonly tenant: Tenant;
  presence: RoomPresence | undefined;
  presenceTopic(encoding: Encoding): string;
}

/** What it takes to share a room with other nodes. */
export interface Shared {
  /** The most hashes of a sample. */
  readonly sketch: number;
  readonly load: Load;
}

export class RoomPresence implements RoundRobinItem {
  readonly key: string;
  roundRobinIndex = -1;
  /** undefined: nobody of this node is in it. */
  room: WatchedRoom | undefined;
  readonly own: Own;
  /** Of the other nodes, by incarnation. */
  readonly slices = new Map<string, Slice>();
  /** What changed since the last frame: true for joined. A user who came and went leaves no trace. */
  readonly #changes = new Map<string, boolean>();
  readonly #shared: Shared | undefined;
  /** Users whose names are known here. */
  #named = 0;
  #counted = false;
  /** Which part of the users of all nodes are different ones. */
  #share = 1;
  /** Whether that may have changed. */
  stale = false;
  /** What the other nodes are asked for; undefined: whichever they have. */
  wants: 'names' | 'count' | undefined;
  /** As of the last frame. */
  toldCount = 0;
  mode: Mode = 'full';
  /** Of the last frame. */
  toldMode: Mode = 'full';
  watchersJson = 0;
  watchersMsgpack = 0;
  /** Who asks for it keeps it for a while. */
  askedUntil = 0;
  /** Joins and queries that wait until all nodes have told who is there. */
  readonly waiting = new Set<() => void>();
  lastCountAt = Number.NEGATIVE_INFINITY;
  /** A count waits for its second. */
  countDue = false;

  /** @param shared undefined: there are no other nodes. */
  constructor(key: string, shared: Shared | undefined) {
    this.key = key;
    this.#shared = shared;
    this.own = new Own(shared?.sketch, (user, local) => this.#put(this.own.members, user, local));
  }

  get watchers(): number {
    return this.watchersJson + this.watchersMsgpack;
  }

  /** Members of this node. */
  get localCount(): number {
    return this.own.members.size;
  }

  get count(): number {
    if (!this.#counted) return this.#named;
    const users = [this.localCount];
    for (const slice of this.slices.values()) users.push(slice.users);
    return together(users, this.#share);
  }

  /** Whether some node tells how many there are in place of names: then the count is estimated. */
  get counted(): boolean {
    return this.#counted;
  }

  get changed(): boolean {
    return this.#changes.size > 0 || this.count !== this.toldCount;
  }

  /** Whether every node that is there has told who is in the room. */
  get whole(): boolean {
    for (const { syncing, endsAt } of this.slices.values()) if (syncing && endsAt === undefined) return false;
    return true;
  }

  /** Whether it is not about to be known better. */
  get ready(): boolean {
    return this.whole && !(this.#counted && this.wants === 'names');
  }

  has(user: string): boolean {
    if (this.own.members.has(user)) return true;
    for (const { members } of this.slices.values()) if (members.has(user)) return true;
    return false;
  }

  arrived(arrival: Arrival): void {
    this.own.arrived(arrival);
  }

  /** What another node tells; made where there is none yet. */
  slice(node: string, incarnation: string): Slice {
    let slice = this.slices.get(incarnation);
    if (slice === undefined) {
      const load = this.#shared?.load ?? { names: 0, hashes: 0 };
      slice = new Slice(
        node,
        incarnation,
        (members, user, held) => this.#putTold(load, members, user, held),
        load,
      );
      this.slices.set(incarnation, slice);
    }
    return slice;
  }

  endSlice(slice: Slice): void {
    slice.end();
    this.slices.delete(slice.incarnation);
    this.settle();
  }

  endSlices(): void {
    for (const slice of this.slices.values()) this.endSlice(slice);
  }

  // Counts in place of names.

  /** A node tells how many there are. */
  heardCount(slice: Slice, version: number, sample: Sample): void {
    this.#count();
    slice.counted(version, sample);
    this.settle();
  }

  /** Goes on with counts in place of the names that other nodes have told. @returns what those had told. */
  forgetNames(): Slice[] {
    const named = [...this.slices.values()].filter(({ members }) => members.size > 0);
    if (named.length > 0) this.#count();
    for (const slice of named) slice.forgetNames(this.#shared?.sketch ?? 0);
    this.settle();
    return named;
  }

  /** After a change of what other nodes tell: once all tell names, these hold. */
  settle(): void {
    this.stale = this.#counted;
    if (!this.#counted) return;
    for (const { sample } of this.slices.values()) if (sample !== undefined) return;
    this.#counted = false;
    this.stale = false;
    this.#share = 1;
    this.own.forgetSample();
  }

  /** Estimates anew. @returns the hashes that were looked at, as its cost. */
  weigh(): number {
    const samples = [this.own.sample()];
    for (const slice of this.slices.values()) samples.push(slice.sampled(this.#shared?.sketch ?? 0));
    this.#share = differentShare(samples);
    this.stale = false;
    return samples.reduce((sum, { hashes }) => sum + (hashes?.length ?? 0), 0);
  }

  #count(): void {
    this.#counted = true;
    this.#changes.clear();
  }

  // What is told to watchers.

  list(): Member[] {
    const users = new Set(this.own.members.keys());
    for (const { members } of this.slices.values()) for (const user of members.keys()) users.add(user);
    return [...users].map((user) => this.#member(user));
  }

  /** The changes since the last call. */
  take(): PresenceDelta {
    const joined: Member[] = [];
    const left: string[] = [];
    for (const [user, present] of this.#changes) {
      if (present) joined.push(this.#member(user));
      else left.push(user);
    }
    this.forgetChanges();
    return { joined, left };
  }

  forgetChanges(): void {
    this.#changes.clear();
    this.toldCount = this.count;
  }

  /** By how many there are now. */
  adoptMode(bounds: ModeBounds): void {
    this.mode = this.#counted ? 'count' : modeOf(this.count, this.mode, bounds);
  }

  readonly #put = <T extends Held>(members: Map<string, T>, user: string, held: T | undefined): void => {
    const before = this.has(user);
    if (held === undefined) members.delete(user);
    else members.set(user, held);
    const after = held !== undefined || this.has(user);
    if (before === after) return;
    this.#named += after ? 1 : -1;
    if (this.#counted) this.stale = true;
    else if (this.#changes.get(user) === !after) this.#changes.delete(user);
    else this.#changes.set(user, after);
  };

  #putTold(load: Load, members: Map<string, Held>, user: string, held: Held | undefined): void {
    const before = members.size;
    this.#put(members, user, held);
    load.names += members.size - before;
  }

  #member(user: string): Member {
    let info: Info;
    let connections = 0;
    for (const held of this.#holding(user)) {
      info ??= held.info;
      connections += held.connections;
    }
    // One that its grace keeps is there as if it were connected.
    connections = Math.max(1, connections);
    return info === undefined ? { user, connections } : { user, info, connections };
  }

  *#holding(user: string): Generator<Held> {
    const local = this.own.members.get(user);
    if (local !== undefined) yield local;
    for (const { members } of this.slices.values()) {
      const held = members.get(user);
      if (held !== undefined) yield held;
    }
  }
}
