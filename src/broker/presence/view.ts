/** Who is in a room, on all nodes: several connections of one user are one member. */
import type { Encoding, Member, PresenceMode as Mode } from '../../protocol/frames.ts';
import type { Tenant } from '../limits/tenant.ts';
import type { RoomRef } from '../ports.ts';
import { type ModeBounds, modeOf } from './mode.ts';
import { Slice } from './slice.ts';
import { digestOf, type Held, type Info, stateOf, type UserState } from './state.ts';

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

interface Arrival {
  readonly user: string;
  readonly info: Info;
}

interface Local extends Held {
  /** Lost connections that the grace keeps. */
  lost: number;
}

export class RoomPresence {
  readonly key: string;
  /** undefined: nobody of this node is in it. */
  room: WatchedRoom | undefined;
  readonly #local = new Map<string, Local>();
  /** Of the other nodes, by incarnation. */
  readonly slices = new Map<string, Slice>();
  /** What changed since the last frame: true for joined. A user who came and went leaves no trace. */
  readonly #changes = new Map<string, boolean>();
  /** Users of this node whose state the other nodes have not been told. */
  readonly #untold: Set<string> | undefined;
  /** As the other nodes have been told; 0: nothing that they would have to remember. */
  version = 0;
  count = 0;
  /** As of the last frame. */
  toldCount = 0;
  mode: Mode = 'full';
  /** Of the last frame. */
  toldMode: Mode = 'full';
  watchersJson = 0;
  watchersMsgpack = 0;
  /** Who asks for it keeps it for a while. */
  askedUntil = 0;
  /** Whether the other nodes are listened to. */
  heard = false;
  /** Joins and queries that wait until all nodes have told who is there. */
  readonly waiting = new Set<() => void>();
  lastCountAt = Number.NEGATIVE_INFINITY;
  /** A count waits for its second. */
  countDue = false;

  /** @param gossips whether there are other nodes to be told. */
  constructor(key: string, gossips: boolean) {
    this.key = key;
    this.#untold = gossips ? new Set() : undefined;
  }

  get watchers(): number {
    return this.watchersJson + this.watchersMsgpack;
  }

  /** Members of this node. */
  get localCount(): number {
    return this.#local.size;
  }

  get changed(): boolean {
    return this.#changes.size > 0 || this.count !== this.toldCount;
  }

  get untold(): boolean {
    return (this.#untold?.size ?? 0) > 0;
  }

  /** Whether every node that is there has told who is in the room. */
  get whole(): boolean {
    for (const { syncing, endsAt } of this.slices.values()) if (syncing && endsAt === undefined) return false;
    return true;
  }

  has(user: string): boolean {
    if (this.#local.has(user)) return true;
    for (const { members } of this.slices.values()) if (members.has(user)) return true;
    return false;
  }

  arrived({ user, info }: Arrival): void {
    const known = this.#local.get(user);
    const local = {
      info: info ?? known?.info,
      connections: (known?.connections ?? 0) + 1,
      lost: known?.lost ?? 0,
    };
    this.#putLocal(user, local);
  }

  /** @param kept the connection may come back: the user stays until `released`. */
  departed(user: string, kept: boolean): void {
    const known = this.#local.get(user);
    if (known === undefined) return;
    const local = { ...known, connections: known.connections - 1, lost: known.lost + (kept ? 1 : 0) };
    this.#putLocal(user, local);
  }

  /** The grace of one connection of the user is over, or not needed any more. */
  released(user: string): void {
    const known = this.#local.get(user);
    if (known !== undefined) this.#putLocal(user, { ...known, lost: known.lost - 1 });
  }

  /** What another node tells; made where there is none yet. */
  slice(node: string, incarnation: string): Slice {
    let slice = this.slices.get(incarnation);
    if (slice === undefined) {
      slice = new Slice(node, incarnation, this.#put);
      this.slices.set(incarnation, slice);
    }
    return slice;
  }

  endSlice(slice: Slice): void {
    slice.end();
    this.slices.delete(slice.incarnation);
  }

  endSlices(): void {
    for (const slice of this.slices.values()) this.endSlice(slice);
  }

  list(): Member[] {
    const users = new Set(this.#local.keys());
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
    this.mode = modeOf(this.count, this.mode, bounds);
  }

  // What this node tells the others.

  untoldStates(): UserState[] {
    return [...(this.#untold ?? [])].map((user) => stateOf(user, this.#local.get(user)));
  }

  told(): void {
    this.#untold?.clear();
  }

  localStates(): UserState[] {
    return [...this.#local].map(([user, held]) => stateOf(user, held));
  }

  localDigest(): number {
    return digestOf(this.#local);
  }

  localHas(user: string): boolean {
    return this.#local.has(user);
  }

  #putLocal(user: string, local: Local): void {
    this.#put(this.#local, user, local.connections + local.lost > 0 ? local : undefined);
    this.#untold?.add(user);
  }

  readonly #put = <T extends Held>(members: Map<string, T>, user: string, held: T | undefined): void => {
    const before = this.has(user);
    if (held === undefined) members.delete(user);
    else members.set(user, held);
    const after = held !== undefined || this.has(user);
    if (before === after) return;
    this.count += after ? 1 : -1;
    if (this.#changes.get(user) === !after) this.#changes.delete(user);
    else this.#changes.set(user, after);
  };

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
    const local = this.#local.get(user);
    if (local !== undefined) yield local;
    for (const { members } of this.slices.values()) {
      const held = members.get(user);
      if (held !== undefined) yield held;
    }
  }
}
