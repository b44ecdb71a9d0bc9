import { networkOf } from '../broker/exclusion/network.ts';

/**
 * uWebSockets.js ends a plain socket that says nothing after 12 s (20.49) or 32 s (20.57), and does not say which one it
 * was: its address is not known any more. So what an address has opened counts for this long, unless it is known to be
 * over: upgraded, refused, or answered and closed.
 */
const SECONDS = 36;

interface Opened {
  /** By second, the newest last. */
  readonly bySecond: number[];
  open: number;
}

/**
 * The plain sockets of each address: those that are no WebSocket (yet). One address may have as many as the listener has
 * room left for others. So one that opens sockets without end gets half of the room, two get a third each, and there is
 * always some for the next.
 */
export class PlainSockets {
  readonly #byAddress = new Map<string, Opened>();
  readonly #now: () => number;
  #second = Number.NEGATIVE_INFINITY;

  /** @param nowMs milliseconds of any clock that only goes forward */
  constructor(nowMs: () => number) {
    this.#now = nowMs;
  }

  get addresses(): number {
    return this.#byAddress.size;
  }

  /** How many an address has, at most. */
  of(address: string): number {
    this.#advance();
    return this.#byAddress.get(keyOf(address))?.open ?? 0;
  }

  opened(address: string): void {
    this.#advance();
    const key = keyOf(address);
    let opened = this.#byAddress.get(key);
    if (opened === undefined) {
      opened = { bySecond: new Array<number>(SECONDS).fill(0), open: 0 };
      this.#byAddress.set(key, opened);
    }
    opened.bySecond[SECONDS - 1] = (opened.bySecond[SECONDS - 1] ?? 0) + 1;
    opened.open++;
  }

  /** One of its sockets is a WebSocket now, or is closed. */
  settled(address: string): void {
    this.#advance();
    const key = keyOf(address);
    const opened = this.#byAddress.get(key);
    if (opened === undefined) return;
    const oldest = opened.bySecond.findIndex((count) => count > 0);
    if (oldest < 0) return;
    opened.bySecond[oldest] = (opened.bySecond[oldest] as number) - 1;
    if (--opened.open === 0) this.#byAddress.delete(key);
  }

  /** One of its sockets has said something: it lives on. */
  active(address: string): void {
    this.settled(address);
    this.opened(address);
  }

  #advance(): void {
    const second = Math.floor(this.#now() / 1000);
    const passed = Math.min(SECONDS, second - this.#second);
    if (passed <= 0) return;
    this.#second = second;
    for (const [key, opened] of this.#byAddress) {
      for (const count of opened.bySecond.splice(0, passed)) opened.open -= count;
      while (opened.bySecond.length < SECONDS) opened.bySecond.push(0);
      if (opened.open === 0) this.#byAddress.delete(key);
    }
  }
}

/** IPv6 by the first 64 bits, which one customer has to itself. */
function keyOf(address: string): string {
  return networkOf(address) ?? address;
}
