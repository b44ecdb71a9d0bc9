import type { Cursors, Fault, RoomRef } from '../../broker/ports.ts';
import type { Position } from '../../protocol/frames.ts';
import { covers, cursorKey } from '../cursor.ts';

/** Cursors of a single node. Like its history, they do not survive the process. */
export class MemoryCursors implements Cursors {
  readonly #cursors = new Map<string, Position>();
  readonly #max: number;

  /** `max`: cursors kept; those not moved for longest go first. About 200 bytes each. */
  constructor(max: number) {
    this.#max = max;
  }

  get(room: RoomRef, user: string, done: (cursor: Position | undefined | Fault) => void): void {
    done(this.#cursors.get(cursorKey(room, user)));
  }

  put(room: RoomRef, user: string, cursor: Position): undefined {
    const key = cursorKey(room, user);
    if (covers(this.#cursors.get(key), cursor)) return;
    // Taken out first, so that the map stands in the order of the moves.
    this.#cursors.delete(key);
    this.#cursors.set(key, cursor);
    if (this.#cursors.size > this.#max) this.#dropOldest();
  }

  flush(): void {}

  #dropOldest(): void {
    for (const key of this.#cursors.keys()) {
      this.#cursors.delete(key);
      return;
    }
  }
}
