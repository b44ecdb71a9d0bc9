import type { Session } from '../session.ts';
import type { Peer } from '../socket.ts';

/** What happens to a socket, of whichever session. */
export interface Ways {
  readonly receive: (session: Session, bytes: Uint8Array, isBinary: boolean) => void;
  readonly drained: (session: Session) => void;
  readonly closed: (session: Session, code: number, reason?: string) => void;
}

/** Not three closures: there is one for each connection. */
export class SessionPeer implements Peer {
  readonly #session: Session;
  readonly #ways: Ways;

  constructor(session: Session, ways: Ways) {
    this.#session = session;
    this.#ways = ways;
  }

  receive(bytes: Uint8Array, isBinary: boolean): void {
    this.#ways.receive(this.#session, bytes, isBinary);
  }

  drained(): void {
    this.#ways.drained(this.#session);
  }

  closed(code: number, reason?: string): void {
    this.#ways.closed(this.#session, code, reason);
  }
}
