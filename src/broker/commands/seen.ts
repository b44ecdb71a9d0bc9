import type { SeenFrame } from '../../protocol/frames.ts';
import type { Domain } from '../domain.ts';
import type { Fault } from '../ports.ts';
import type { Room } from '../room.ts';
import { fault, type Session } from '../session.ts';
import { keepsCursor } from './cursor.ts';

/**
 * Sent behind a join that is not answered yet, a position may be of the epoch before: in this one it would name events
 * that the user has not seen. Names are strangers', `constructor` among them.
 */
function isOf(present: string, { epochs }: SeenFrame, room: string): boolean {
  return epochs === undefined || !Object.hasOwn(epochs, room) || epochs[room] === present;
}

/** Names in the text of a refusal. */
const NAMED = 5;
/** Positions that one point pays for: each looks into a map or two. */
const PER_POINT = 8;

/** Cumulative: a position stands for everything up to it. Only refusals are answered, all of a frame by one error of each code. */
export function seen(session: Session, frame: SeenFrame, domain: Domain): void {
  const places = Object.entries(frame.rooms);
  session.charge(Math.floor(places.length / PER_POINT));
  const foreign: string[] = [];
  let refused: { readonly room: string; readonly fault: Fault } | undefined;
  for (const [name, seq] of places) {
    const member = session.rooms.get(name);
    if (member === undefined) foreign.push(name);
    else {
      const fault = put(session, member.room, seq, frame, domain);
      if (fault !== undefined) refused ??= { room: name, fault };
    }
  }
  if (foreign.length > 0)
    session.refuse({ ...frame, room: foreign[0] as string }, fault('not_joined', notIn(foreign)));
  if (refused !== undefined) session.refuse({ ...frame, room: refused.room }, refused.fault);
}

function put({ identity }: Session, room: Room, seq: number, frame: SeenFrame, domain: Domain) {
  const { ref, epoch, last } = room;
  if (!keepsCursor(domain, ref) || !isOf(epoch, frame, ref.name)) return undefined;
  // What has not been published yet cannot have been seen: it would hide the next events from this user.
  return domain.cursors.put(ref, identity.user, { epoch, seq: Math.min(seq, last) });
}

function notIn(rooms: readonly string[]): string {
  if (rooms.length === 1) return 'this session is not in the room';
  const more = rooms.length > NAMED ? ', …' : '';
  return `this session is not in ${rooms.length} of these rooms: ${rooms.slice(0, NAMED).join(', ')}${more}`;
}
