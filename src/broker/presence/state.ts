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
}

export function stateOf(user: string, held: Held | undefined): UserState {
  if (held === undefined) return [user, -1];
  return held.info === undefined ? [user, held.connections] : [user, held.connections, held.info];
}

export function heldOf([, connections, info]: UserState): Held | undefined {
  return connections < 0 ? undefined : { info: info ?? undefined, connections };
}

/** FNV-1a, then the finalizer of MurmurHash3: 32 bits of which any are as good as others. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** The same for the same members, whatever their order. */
export function digestOf(members: ReadonlyMap<string, Held>): number {
  let digest = 0;
  for (const [user, { connections }] of members) digest ^= hash32(`${connections} ${user}`);
  return digest >>> 0;
}
