/** What nodes tell one another of who is in a room, and what a node holds of it. */

export type Info = Readonly<Record<string, unknown>> | undefined;

/** A user in a room, as one node has it. */
export interface Held {
  info: Info;
  /** 0: none; the user is kept by its grace. */
  connections: number;
}

/** `[user, connections, info]`; connections -1: not here any more. A state, not a change: twice is as good as once. */
export type UserState = readonly [string, number] | readonly [string, number, Info];

/**
 * The states that have changed. Versions grow over all rooms of a run of a node; `p` is the version before of this
 * room, 0 where the node has told nothing that still holds. A receiver that is not at `p` has missed something.
 */
export interface Delta {
  /** Incarnation of the node. */
  readonly i: string;
  readonly p: number;
  readonly v: number;
  readonly s: readonly UserState[];
}

/** Of one room, the whole of a node at version `v`, in parts. */
export interface Part {
  readonly key: string;
  readonly v: number;
  readonly s: readonly UserState[];
  /** 0 for the last. */
  readonly more: 0 | 1;
  /** Which it is, from 0. Former builds do not tell: theirs are taken as they come. */
  readonly at?: number;
}

/** What a node tells of its users in place of their names: how many, and `Sample` of them, as text. */
export interface Counted {
  readonly v: number;
  readonly n: number;
  readonly l: number;
  readonly h: string;
}

/** Nothing has changed since version `v`. */
export interface Same {
  readonly key: string;
  readonly v: number;
  readonly same: 1;
}

/** As `Delta`, of a node that names nobody. */
export interface CountTold extends Counted {
  readonly i: string;
}

/** As `Part`, of a node that names nobody. */
export interface CountPart extends Counted {
  readonly key: string;
}

export function stateOf(user: string, held: Held | undefined): UserState {
  if (held === undefined) return [user, -1];
  return held.info === undefined ? [user, held.connections] : [user, held.connections, held.info];
}

export function heldOf([, connections, info]: UserState): Held | undefined {
  return connections < 0 ? undefined : { info: info ?? undefined, connections };
}

/** FNV-1a: 32 bits of which any are as good as others. */
function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return mixed(hash);
}

/** The finalizer of MurmurHash3: every bit of the 32 depends on all. */
export function mixed(hash: number): number {
  let mix = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  mix = Math.imul(mix ^ (mix >>> 13), 0xc2b2ae35);
  return (mix ^ (mix >>> 16)) >>> 0;
}

/** The same for the same members, whatever their order. */
export function digestOf(members: ReadonlyMap<string, Held>): number {
  let digest = 0;
  for (const [user, { connections }] of members) digest ^= hash32(`${connections} ${user}`);
  return digest >>> 0;
}
