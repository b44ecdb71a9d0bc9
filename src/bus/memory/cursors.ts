import type { Cursors, Fault, RoomRef } from '../../broker/ports.ts';
import type { Position } from '../../protocol/frames.ts';
import { covers, cursorKey } from '../cursor.ts';

type OfTenant = Map<string, Position>;

/** Cursors of a single node. Like its history, they do not survive the process. */
export class MemoryCursors implements Cursors {
  readonly #byTenant = new Map<string, OfTenant>();
  readonly #max: number;
  #size = 0;

  /**
   * `max`: cursors kept, about 200 bytes each. Beyond it a tenant with more than tenants have on average loses its own,
   * those not moved for longest first.
   */
  constructor(max: number) {
    this.#max = max;
  }

  get(room: RoomRef, user: string, done: (cursor: Position | undefined | Fault) => void): void {
    done(this.#byTenant.get(room.tenant)?.get(cursorKey(room, user)));
  }

  put(room: RoomRef, user: string, cursor: Position): undefined {
    const key = cursorKey(room, user);
    let own = this.#byTenant.get(room.tenant);
    if (covers(own?.get(key), cursor)) return;
    if (own === undefined) {
      own = new Map();
      this.#byTenant.set(room.tenant, own);
    }
    // Taken out first, so that the map stands in the order of the moves.
    if (!own.delete(key)) this.#size++;
    own.set(key, cursor);
    if (this.#size > this.#max) this.#dropOldest(own);
  }

  flush(): void {}

  #dropOldest(own: OfTenant): void {
    const average = this.#size / this.#byTenant.size;
    let [tenant, giver]: [string | undefined, OfTenant] = [undefined, own];
    if (own.size < average)
      for (const [name, cursors] of this.#byTenant)
        if (cursors.size > giver.size) [tenant, giver] = [name, cursors];
    for (const key of giver.keys()) {
      giver.delete(key);
      this.#size--;
      break;
    }
    if (giver.size === 0 && tenant !== undefined) this.#byTenant.delete(tenant);
  }
}
