import type { Session } from '../session.ts';
import type { NodeView } from './view.ts';

/** Who is meant. Without a tenant: in every one. At least one of the other three. */
export interface Selector {
  readonly tenant?: string | undefined;
  readonly user?: string | undefined;
  readonly session?: string | undefined;
  readonly room?: string | undefined;
}

/** Ends the sessions meant, with 4009; gives how many. */
export function kick(view: NodeView, selector: Selector, reason: string): number {
  const meant = [...selected(view, selector)];
  for (const session of meant) session.end('kicked', reason);
  return meant.length;
}

/** Members get `left` with room_closed; gives how many there were. They may join again, if they still may. */
export function closeRoom(view: NodeView, tenant: string, name: string, reason: string): number {
  const room = view.room(tenant, name);
  if (room === undefined) return 0;
  const members = [...room.members];
  for (const member of members) member.evicted({ ok: false, code: 'room_closed', reason });
  return members.length;
}

function* selected(view: NodeView, selector: Selector): Generator<Session> {
  const { session } = selector;
  if (session === undefined) {
    for (const candidate of view.sessions.values()) if (isMeant(candidate, selector)) yield candidate;
    return;
  }
  const one = view.sessions.get(session);
  if (one !== undefined && isMeant(one, selector)) yield one;
}

function isMeant({ identity, rooms }: Session, { tenant, user, room }: Selector): boolean {
  if (tenant !== undefined && identity.tenant !== tenant) return false;
  if (user !== undefined && identity.user !== user) return false;
  return room === undefined || rooms.has(room);
}
