import type { After } from './ports.ts';
import type { Room } from './room.ts';

/**
 * Rooms whose events may wait for more of them. All rooms with the same ceiling share one timer, set by the first
 * that has to wait: none waits longer than its ceiling, and a subscriber of several gets them in one write.
 */
export class Holding {
  readonly #after: After;
  readonly #due: (rooms: readonly Room[]) => void;
  readonly #waiting = new Map<number, Room[]>();

  /** `due` runs outside every message handler. */
  constructor(after: After, due: (rooms: readonly Room[]) => void) {
    this.#after = after;
    this.#due = due;
  }

  hold(room: Room): void {
    if (room.held) return;
    room.held = true;
    const { batchMs } = room;
    const waiting = this.#waiting.get(batchMs);
    if (waiting !== undefined) {
      waiting.push(room);
      return;
    }
    this.#waiting.set(batchMs, [room]);
    this.#after(batchMs, () => this.#release(batchMs));
  }

  #release(batchMs: number): void {
    const rooms = this.#waiting.get(batchMs) ?? [];
    this.#waiting.delete(batchMs);
    for (const room of rooms) room.held = false;
    this.#due(rooms);
  }
}
