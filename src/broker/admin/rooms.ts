import type { Room } from '../room.ts';
import type { NodeView } from './view.ts';

export const ROOM_SORTS = ['members', 'rate', 'bytes'] as const;
export type RoomSort = (typeof ROOM_SORTS)[number];

export interface RoomQuery {
  readonly tenant?: string | undefined;
  readonly sort: RoomSort;
  readonly limit: number;
}

export interface RoomInfo {
  readonly tenant: string;
  readonly room: string;
  /** Connections, on all nodes that have answered. */
  readonly members: number;
  readonly durable: boolean;
  /** Events per second and bytes of events per second, over the last ten seconds or so. */
  readonly eventsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly nodes: number;
}

const FIELD = { members: 'members', rate: 'eventsPerSecond', bytes: 'bytesPerSecond' } as const;

/** The first of this node. More than asked for: a room that is second everywhere may be the first of all. */
export function topRooms(view: NodeView, { tenant, sort, limit }: RoomQuery): RoomInfo[] {
  const now = view.now();
  const found: RoomInfo[] = [];
  for (const room of view.rooms()) {
    if (tenant === undefined || room.ref.tenant === tenant) found.push(infoOf(room, now));
    if (found.length >= 16 * limit) cut(found, sort, 4 * limit);
  }
  cut(found, sort, 4 * limit);
  return found;
}

export function mergeRooms(
  lists: readonly (readonly RoomInfo[])[],
  sort: RoomSort,
  limit: number,
): RoomInfo[] {
  const merged = new Map<string, RoomInfo>();
  for (const info of lists.flat()) {
    const key = `${info.tenant}\0${info.room}`;
    const known = merged.get(key);
    merged.set(key, known === undefined ? info : joined(known, info));
  }
  const rooms = [...merged.values()];
  cut(rooms, sort, limit);
  return rooms;
}

/** Members add up; every node sees all events of the room. */
function joined(one: RoomInfo, other: RoomInfo): RoomInfo {
  return {
    ...one,
    members: one.members + other.members,
    eventsPerSecond: Math.max(one.eventsPerSecond, other.eventsPerSecond),
    bytesPerSecond: Math.max(one.bytesPerSecond, other.bytesPerSecond),
    nodes: one.nodes + other.nodes,
  };
}

function cut(rooms: RoomInfo[], sort: RoomSort, limit: number): void {
  const field = FIELD[sort];
  rooms.sort((one, other) => other[field] - one[field]);
  rooms.length = Math.min(rooms.length, limit);
}

function infoOf(room: Room, now: number): RoomInfo {
  const { events, bytes } = room.meter?.perSecond(now) ?? { events: 0, bytes: 0 };
  return {
    tenant: room.ref.tenant,
    room: room.ref.name,
    members: room.members.length,
    durable: room.ref.policy.history !== undefined,
    eventsPerSecond: rounded(events),
    bytesPerSecond: rounded(bytes),
    nodes: 1,
  };
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
