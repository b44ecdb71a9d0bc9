/** What every implementation of `Cursors` says of positions and keys alike. */
import type { Fault, RoomRef } from '../broker/ports.ts';
import type { Position } from '../protocol/frames.ts';

export function cursorKey(room: RoomRef, user: string): string {
  return `${room.key}\0${user}`;
}

/** Whether a cursor that stands there has nothing to learn from this position. Another epoch always replaces. */
export function covers(reached: Position | undefined, cursor: Position): boolean {
  return reached !== undefined && reached.epoch === cursor.epoch && reached.seq >= cursor.seq;
}

/** The answer to `Cursors.put` at `limits.cursors`. */
export function tooManyCursors(limit: number): Fault {
  const reason = 'as many cursors wait to be stored as this node may hold';
  return { ok: false, code: 'overloaded', reason, retryAfterMs: 1000, limit };
}

/** Of one tenant: they wait in memory, and NATS may be away for long. */
export function overCursorShare(used: number): Fault {
  const reason = `${used} cursors of the tenant wait to be stored, as many as are left for all others`;
  return { ok: false, code: 'quota_exceeded', reason, retryAfterMs: 1000, limit: used, used };
}
