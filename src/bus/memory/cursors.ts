import type { Cursors, Fault, RoomRef } from '../../broker/ports.ts';
import type { Position } from '../../protocol/frames.ts';

/** Cursors kept; those not moved for longest go first. About 150 bytes each. */
const CURSORS_MAX = 200_000;

/** Cursors of a single node. Like its history, they do not survive the process. */
export class MemoryCursors implements Cursors {
  readonly #cursors = new Map<string, Position>();

  get(room: RoomRef, user: string, done: (cursor: Position | undefined | Fault) => void): void {
    done(this.#cursors.get(cursorKey(room, user)));
  }

  put(room: RoomRef, user: string, cursor: Position): void {
    const key = cursorKey(room, user);
    const known = this.#cursors.get(key);
    if (known !== undefined && known.epoch === cursor.epoch && known.seq >= cursor.seq) return;
    // Taken out first, so that the map stands in the order of the moves.
    this.#cursors.delete(key);
    this.#cursors.set(key, cursor);
    if (this.#cursors.size > CURSORS_MAX) this.#dropOldest();
  }

  #dropOldest(): void {
    for (const key of this.#cursors.keys()) {
      this.#cursors.delete(key);
      return;
    }
  }
}

function cursorKey(room: RoomRef, user: string): string {
  return `${room.key}\0${user}`;
}
