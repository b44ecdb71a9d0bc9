import type { SeenFrame } from '../../protocol/frames.ts';
import type { Domain } from '../domain.ts';
import { fault, type Session } from '../session.ts';
import { keepsCursor } from './cursor.ts';

/**
 * Sent behind a join that is not answered yet, a position may be of the epoch before: in this one it would name events
 * that the user has not seen. Names are strangers', `constructor` among them.
 */
function isOf(present: string, { epochs }: SeenFrame, room: string): boolean {
  return epochs === undefined || !Object.hasOwn(epochs, room) || epochs[room] === present;
}

/** Cumulative: a position stands for everything up to it. Nothing is answered but refusals. */
export function seen(session: Session, frame: SeenFrame, domain: Domain): void {
  for (const [name, seq] of Object.entries(frame.rooms)) {
    const member = session.rooms.get(name);
    if (member === undefined) {
      session.refuse({ ...frame, room: name }, fault('not_joined', 'this session is not in the room'));
      continue;
    }
    const { room } = member;
    if (!keepsCursor(domain, room.ref) || !isOf(room.epoch, frame, name)) continue;
    // What has not been published yet cannot have been seen: it would hide the next events from this user.
    const cursor = { epoch: room.epoch, seq: Math.min(seq, room.last) };
    const refused = domain.cursors.put(room.ref, session.identity.user, cursor);
    if (refused !== undefined) session.refuse({ ...frame, room: name }, refused);
  }
}
