import type { Since } from '../../protocol/frames.ts';
import { isInbox } from '../../protocol/room.ts';
import type { Domain } from '../domain.ts';
import type { Fault, RoomRef } from '../ports.ts';

/** Inboxes do unless their pattern says otherwise; a room without history has nothing to come back to. */
export function keepsCursor({ bus }: Pick<Domain, 'bus'>, ref: RoomRef): boolean {
  return bus.keeps(ref) && (ref.policy.cursor ?? isInbox(ref.name));
}

/** Where a user without a position of their own begins: after what they have seen, or with all that is kept. */
export function cursorOf(
  domain: Domain,
  ref: RoomRef,
  user: string,
  done: (since: Since | Fault) => void,
): void {
  domain.cursors.get(ref, user, (cursor) => {
    done(cursor ?? { last: Number.MAX_SAFE_INTEGER });
  });
}
