import type { Defer } from '../broker/ports.ts';
import type { Limits } from '../broker/settings.ts';
import type { Tally } from '../broker/tally.ts';
import type { UwsConnection } from './connection.ts';

/** What a waiting frame costs beside its bytes. Makes a flood of tiny frames reach the limit early. */
const ENTRY_BYTES = 128;
/** Turns given to waiting frames may take this long together before the loop reads sockets again. */
const TURN_MS = 4;

interface Waiting {
  readonly bytes: Uint8Array;
  readonly isBinary: boolean;
}

/** The share of one connection in a turn of the loop. */
class Share {
  turn = -1;
  messages = 0;
  bytes = 0;
  queue: Waiting[] = [];
  head = 0;
  queued = 0;
}

/**
 * The work that one socket may cause per turn of the loop. uWebSockets.js reads a socket again for as long as
 * full 512 KB reads come back and has no pause, so that one flooding client can hold the loop for seconds
 * (measured: 5.8 million messages in one turn). Beyond its share a connection's frames wait, in order, for
 * later turns; when too much waits, the connection is ended with 4101, which does stop the reading.
 */
export class InboundShares {
  readonly #limits: Limits;
  readonly #defer: Defer;
  readonly #tally: Tally;
  readonly #nowMs: () => number;
  readonly #shares = new WeakMap<UwsConnection, Share>();
  #backlog: UwsConnection[] = [];
  #turn = 0;
  #turning = false;

  constructor(limits: Limits, defer: Defer, tally: Tally, nowMs: () => number) {
    this.#limits = limits;
    this.#defer = defer;
    this.#tally = tally;
    this.#nowMs = nowMs;
  }

  receive(connection: UwsConnection, data: ArrayBuffer, isBinary: boolean): void {
    const bytes = new Uint8Array(data);
    if (!this.#limits.rates) {
      connection.peer?.receive(bytes, isBinary);
      return;
    }
    const share = this.#shareOf(connection);
    if (share.queue.length === 0 && this.#spend(share, bytes.byteLength))
      connection.peer?.receive(bytes, isBinary);
    else this.#wait(connection, share, bytes, isBinary);
  }

  #shareOf(connection: UwsConnection): Share {
    let share = this.#shares.get(connection);
    if (share === undefined) {
      share = new Share();
      this.#shares.set(connection, share);
    }
    return share;
  }

  /** false when this turn's share is used up. */
  #spend(share: Share, bytes: number): boolean {
    if (share.turn !== this.#turn) {
      share.turn = this.#turn;
      share.messages = 0;
      share.bytes = 0;
      this.#endTurnLater();
    }
    if (share.messages >= this.#limits.turnMessages || share.bytes >= this.#limits.turnBytes) return false;
    share.messages++;
    share.bytes += bytes;
    return true;
  }

  #wait(connection: UwsConnection, share: Share, bytes: Uint8Array, isBinary: boolean): void {
    this.#tally.deferred++;
    if (share.queue.length === 0) this.#backlog.push(connection);
    share.queued += bytes.byteLength + ENTRY_BYTES;
    if (share.queued > this.#limits.inboundQueueBytes) {
      share.queue = [];
      share.head = 0;
      connection.end(
        4101,
        `more than limits.inboundQueueBytes (${this.#limits.inboundQueueBytes}) is waiting`,
      );
      return;
    }
    // uWS takes its buffer back after the callback.
    share.queue.push({ bytes: bytes.slice(), isBinary });
    this.#endTurnLater();
  }

  #endTurnLater(): void {
    if (this.#turning) return;
    this.#turning = true;
    this.#defer(() => this.#nextTurn());
  }

  #nextTurn(): void {
    this.#turning = false;
    this.#turn++;
    const until = this.#nowMs() + TURN_MS;
    const round = this.#backlog;
    this.#backlog = [];
    let at = 0;
    while (at < round.length && this.#nowMs() < until) {
      const connection = round[at++] as UwsConnection;
      if (connection.open && !this.#work(connection, until)) this.#backlog.push(connection);
    }
    this.#backlog = round.slice(at).concat(this.#backlog);
    if (this.#backlog.length > 0) this.#endTurnLater();
  }

  /** Handles a share of what waits. true when nothing waits any more. */
  #work(connection: UwsConnection, until: number): boolean {
    const share = this.#shareOf(connection);
    while (share.head < share.queue.length && connection.open) {
      const { bytes, isBinary } = share.queue[share.head] as Waiting;
      if (!this.#spend(share, bytes.byteLength) || this.#nowMs() >= until) return false;
      share.head++;
      share.queued -= bytes.byteLength + ENTRY_BYTES;
      connection.peer?.receive(bytes, isBinary);
    }
    share.queue = [];
    share.head = 0;
    share.queued = 0;
    return true;
  }
}
