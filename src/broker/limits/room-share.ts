import type { Fault } from '../ports.ts';
import type { Limits } from '../settings.ts';
import type { Refused } from './tenant.ts';

/** Stored events expire and members leave: a later try may find a place. */
const RETRY_MS = 1000;

/** The first that a tenant has too many of, if any. Rooms are counted on this node. */
export function overRoomShare(
  { rooms, roomsPerTenant }: Pick<Limits, 'rooms' | 'roomsPerTenant'>,
  used: number,
  all: number,
): Refused | undefined {
  // With a share of all there is no share, and the node's own limit holds.
  if (roomsPerTenant > 0)
    return used < roomsPerTenant || roomsPerTenant >= rooms
      ? undefined
      : refused(`the tenant may have ${roomsPerTenant} rooms on this node`, roomsPerTenant, used);
  // As with plain sockets of an address: whatever tenants do together, a further one finds some places.
  const left = rooms - all;
  if (used < left || left <= 0) return undefined;
  const limit = Math.floor((used + left) / 2);
  return refused(
    `the tenant has ${used} rooms on this node, as many as are left for all others`,
    Math.max(1, limit),
    used,
  );
}

/** @param used rooms of the tenant with members, or with stored events where the bus of this node keeps them */
export function overOpenRooms(openRooms: number, used: number): Refused | undefined {
  if (openRooms === 0 || used < openRooms) return undefined;
  return refused(`the tenant may have ${openRooms} open rooms`, openRooms, used);
}

function refused(reason: string, limit: number, used: number): Refused {
  const fault = { ok: false, code: 'quota_exceeded', reason, limit, used } satisfies Fault;
  return { ...fault, retryAfterMs: RETRY_MS, by: 'tenant_rooms' };
}
