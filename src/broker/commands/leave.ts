import type { LeaveFrame } from '../../protocol/frames.ts';
import { fault, type Session } from '../session.ts';

export function leave(session: Session, frame: LeaveFrame): void {
  const membership = session.rooms.get(frame.room);
  if (membership === undefined)
    return session.refuse(frame, fault('not_joined', 'this session is not in the room'));
  session.drop(membership);
  session.send({ type: 'left', room: frame.room, ...(frame.id !== undefined && { id: frame.id }) });
}
