import type { HttpRequest } from 'uWebSockets.js';

const ONCE = ['content-length', 'transfer-encoding', 'host'] as const;

/**
 * The headers of a request, read in one go: each walk over them makes two texts of every line anew, and a handshake
 * has a dozen questions to ask.
 */
export class Head {
  readonly #first = new Map<string, string>();
  /** Of names that stand on several lines: all their values, joined by commas. */
  #joined: Map<string, string> | undefined;

  constructor(request: HttpRequest) {
    request.forEach((name, value) => {
      const before = this.#first.get(name);
      if (before === undefined) {
        this.#first.set(name, value);
        return;
      }
      this.#joined ??= new Map();
      this.#joined.set(name, `${this.#joined.get(name) ?? before},${value}`);
    });
  }

  /** Of the first line of that name; empty without one. */
  first(name: string): string {
    return this.#first.get(name) ?? '';
  }

  /** A list may stand on several lines (RFC 9110, section 5.3): all of it. */
  all(name: string): string {
    return this.#joined?.get(name) ?? this.first(name);
  }

  /** Whether the header stands on more than one line. */
  repeats(name: string): boolean {
    return this.#joined?.has(name) ?? false;
  }

  /**
   * A header that says where the request ends, or for whom it is, stands there twice. uWebSockets.js goes by the first:
   * behind a proxy that goes by another one, what follows would be a request that the proxy has not seen (RFC 9112,
   * sections 3.2 and 6.3). Such a connection has to be ended with `close`, for after an answer with `Connection: close`
   * uWebSockets.js serves what came in the same segment all the same.
   */
  get ambiguous(): boolean {
    return this.#joined !== undefined && ONCE.some((name) => this.repeats(name));
  }
}
