import type { PingFrame } from '../../protocol/frames.ts';
import type { Domain } from '../domain.ts';
import type { Session } from '../session.ts';

export function ping(session: Session, frame: PingFrame, domain: Domain): void {
  session.send({
    type: 'pong',
    ...(frame.id !== undefined && { id: frame.id }),
    ...(frame.ts !== undefined && { ts: frame.ts }),
    now: domain.clock.now(),
  });
}
