import type { PresenceFrame } from '../../protocol/frames.ts';
import type { Domain } from '../domain.ts';
import { fault, NO_PRESENCE, NO_SUCH_ROOM, type Session } from '../session.ts';

export function presence(session: Session, frame: PresenceFrame, domain: Domain): void {
  const { tenant } = session;
  if (!session.may('presence', frame.room))
    return session.refuse(frame, fault('forbidden', 'the token does not allow "presence" in this room'));
  if (tenant.policy.presence === 'off') return session.refuseLimited(frame, NO_PRESENCE);
  const target = session.target(frame.room);
  if (target === undefined) return session.refuse(frame, NO_SUCH_ROOM);
  const answered = session.awaits();
  domain.presence.ask(target.ref.key, tenant.policy.presence, frame.users, (answer) => {
    if (!session.ended)
      session.send({
        type: 'presence',
        room: frame.room,
        ...(frame.id !== undefined && { id: frame.id }),
        ...answer,
      });
    answered();
  });
}
