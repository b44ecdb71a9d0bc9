import type { Cursors, Fault, RoomRef } from '../../broker/ports.ts';
import type { Position } from '../../protocol/frames.ts';
import type { HubLine } from './line.ts';
import { LOST, wireRoom } from './wire.ts';

/** Cursors that the hub keeps: a question stands behind every move that was made before it. */
export class LocalCursors implements Cursors {
  readonly #line: HubLine;

  constructor(line: HubLine) {
    this.#line = line;
  }

  get(room: RoomRef, user: string, done: (cursor: Position | undefined | Fault) => void): void {
    this.#line.call('cursor', { room: wireRoom(room), user }, (cursor) =>
      done(cursor === undefined ? LOST : (cursor ?? undefined)),
    );
  }

  put(room: RoomRef, user: string, cursor: Position): Fault | undefined {
    if (!this.#line.up) return LOST;
    this.#line.send('cursor', wireRoom(room), user, cursor);
    return undefined;
  }

  flush(): void {}
}
