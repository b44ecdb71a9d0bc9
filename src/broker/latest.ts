import type { RoomEvent } from './event.ts';

/** Keys kept for those who are away; the oldest goes first, and its event becomes part of a gap. */
const KEYS = 1000;

/** The newest event per key, collected while some member with `overflow: latest` is away from the topic. */
export class Latest {
  readonly #byKey = new Map<string | undefined, RoomEvent>();
  #users = 0;

  retain(): void {
    this.#users++;
  }

  /** The last one who needed it has gone: it goes too. */
  release(holder: { latest: Latest | undefined }): void {
    this.#users--;
    if (this.#users === 0) holder.latest = undefined;
  }

  /** Taken out and put in anew, so that the map stands in the order of the events. */
  add(event: RoomEvent): void {
    this.#byKey.delete(event.key);
    this.#byKey.set(event.key, event);
    if (this.#byKey.size <= KEYS) return;
    for (const oldest of this.#byKey.keys()) {
      this.#byKey.delete(oldest);
      return;
    }
  }

  since(seq: number): RoomEvent[] {
    return [...this.#byKey.values()].filter((event) => event.seq > seq);
  }
}
