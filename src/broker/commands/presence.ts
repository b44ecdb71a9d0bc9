import type { PresenceFrame } from '../../protocol/frames.ts';
import type { Domain } from '../domain.ts';
import { roomKey } from '../rooms.ts';
import { fault, type Session } from '../session.ts';

export function presence(session: Session, frame: PresenceFrame, domain: Domain): void {
  if (!session.may('presence', frame.room))
    return session.refuse(frame, fault('forbidden', 'the token does not allow "presence" in this room'));
  const room = domain.rooms.get(roomKey(session.identity.tenant, frame.room));
  const members = room === undefined ? [] : domain.notices.list(room);
  session.send({
    type: 'presence',
    room: frame.room,
    ...(frame.id !== undefined && { id: frame.id }),
    mode: 'full',
    members,
    count: members.length,
  });
}
