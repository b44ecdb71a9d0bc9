/** How much of a room's presence is told, by its size. */
import type { PresenceMode } from '../../protocol/frames.ts';

export interface ModeBounds {
  /** The most members of a room whose list is told. */
  readonly fullMembers: number;
  /** The most members of a room whose changes are told. */
  readonly deltaMembers: number;
}

/** A room goes back to telling more only when it is this much below the bound: else it would go to and fro. */
export const BACK = 0.8;

export function modeOf(
  count: number,
  before: PresenceMode,
  { fullMembers, deltaMembers }: ModeBounds,
): PresenceMode {
  const full = before === 'full' ? fullMembers : fullMembers * BACK;
  const delta = before === 'count' ? deltaMembers * BACK : deltaMembers;
  if (count <= full) return 'full';
  return count <= delta ? 'delta' : 'count';
}
