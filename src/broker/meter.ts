const WINDOW_MS = 5000;

/** Events and bytes per second of late: of the window before this one and what has passed of this one. */
export class Meter {
  #start = 0;
  #events = 0;
  #bytes = 0;
  #eventsBefore = 0;
  #bytesBefore = 0;

  add(events: number, bytes: number, now: number): void {
    this.#turn(now);
    this.#events += events;
    this.#bytes += bytes;
  }

  perSecond(now: number): { readonly events: number; readonly bytes: number } {
    this.#turn(now);
    const seconds = (WINDOW_MS + now - this.#start) / 1000;
    return {
      events: (this.#events + this.#eventsBefore) / seconds,
      bytes: (this.#bytes + this.#bytesBefore) / seconds,
    };
  }

  #turn(now: number): void {
    const passed = now - this.#start;
    if (passed >= 0 && passed < WINDOW_MS) return;
    const fresh = passed >= 0 && passed < 2 * WINDOW_MS;
    this.#eventsBefore = fresh ? this.#events : 0;
    this.#bytesBefore = fresh ? this.#bytes : 0;
    this.#events = 0;
    this.#bytes = 0;
    this.#start = fresh ? this.#start + WINDOW_MS : now;
  }
}
