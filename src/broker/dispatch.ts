import type { Inbound } from '../protocol/inbound.ts';
import { history } from './commands/history.ts';
import { join } from './commands/join.ts';
import { leave } from './commands/leave.ts';
import { ping } from './commands/ping.ts';
import { presence } from './commands/presence.ts';
import { publish } from './commands/publish.ts';
import { refresh } from './commands/refresh.ts';
import { seen } from './commands/seen.ts';
import type { Domain } from './domain.ts';
import type { Session } from './session.ts';

/** The one switch: what a session does with each frame of the client. */
export function dispatch(
  session: Session,
  frame: Inbound,
  domain: Domain,
  renewed: (session: Session) => void,
): void {
  switch (frame.type) {
    case 'pub':
      return publish(session, frame, domain);
    case 'ping':
      return ping(session, frame, domain);
    case 'join':
      return join(session, frame, domain);
    case 'leave':
      return leave(session, frame);
    case 'seen':
      return seen(session, frame, domain);
    case 'history':
      return history(session, frame, domain);
    case 'presence':
      return presence(session, frame, domain);
    case 'refresh':
      return refresh(session, frame, domain, renewed);
    case 'fault':
      return session.protest(frame, frame);
  }
}
