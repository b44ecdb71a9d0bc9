import type { Defer, Log } from '../broker/ports.ts';
import type { Limits } from '../broker/settings.ts';
import type { Tally } from '../broker/tally.ts';
import type { UwsConnection } from './connection.ts';
import { FrameQueue } from './frame-queue.ts';
import { Share } from './share.ts';

/** Turns given to waiting frames may take this long together before the loop reads sockets again. */
const TURN_MS = 4;

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
  readonly #log: Log;
  #backlog: UwsConnection[] = [];
  #turn = 0;
  #turning = false;

  constructor(limits: Limits, defer: Defer, tally: Tally, nowMs: () => number, log: Log) {
    this.#limits = limits;
    this.#defer = defer;
    this.#tally = tally;
    this.#nowMs = nowMs;
    this.#log = log;
  }

  receive(connection: UwsConnection, data: ArrayBuffer, isBinary: boolean): void {
    const bytes = new Uint8Array(data);
    if (!this.#limits.rates) return this.#hand(connection, bytes, isBinary);
    const share = shareOf(connection);
    if (share.queue === undefined && this.#hasShare(share)) this.#handle(connection, share, bytes, isBinary);
    else this.#wait(connection, share, bytes, isBinary);
  }

  /**
   * A ping or pong. uWebSockets.js answers pings by itself, whatever the share, so that a flood of them can
   * only be ended (measured: it held the loop for 10 s).
   */
  control(connection: UwsConnection): void {
    if (!this.#limits.rates) return;
    const share = shareOf(connection);
    this.#enterTurn(share);
    share.controls++;
    if (share.controls > this.#limits.turnMessages)
      connection.end(
        4101,
        `more than limits.turnMessages (${this.#limits.turnMessages}) pings or pongs at once`,
      );
  }

  #enterTurn(share: Share): void {
    if (share.turn === this.#turn) return;
    share.turn = this.#turn;
    share.messages = 0;
    share.bytes = 0;
    share.controls = 0;
    this.#endTurnLater();
  }

  /** false when this turn's share is used up. */
  #hasShare(share: Share): boolean {
    this.#enterTurn(share);
    return share.messages < this.#limits.turnMessages && share.bytes < this.#limits.turnBytes;
  }

  #handle(connection: UwsConnection, share: Share, bytes: Uint8Array, isBinary: boolean): void {
    share.messages++;
    share.bytes += bytes.byteLength;
    this.#hand(connection, bytes, isBinary);
  }

  /** An exception in a deferred turn would end the process: one frame's trouble must not become everybody's. */
  #hand(connection: UwsConnection, bytes: Uint8Array, isBinary: boolean): void {
    try {
      connection.peer?.receive(bytes, isBinary);
    } catch (error) {
      this.#log.error({ err: error }, 'message failed');
    }
  }

  #wait(connection: UwsConnection, share: Share, bytes: Uint8Array, isBinary: boolean): void {
    this.#tally.deferred++;
    if (share.queue === undefined) {
      share.queue = new FrameQueue();
      this.#backlog.push(connection);
    }
    share.queue.push(bytes, isBinary);
    if (share.queue.weight > this.#limits.inboundQueueBytes) {
      share.queue = undefined;
      connection.end(
        4101,
        `more than limits.inboundQueueBytes (${this.#limits.inboundQueueBytes}) is waiting`,
      );
      return;
    }
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
    const share = shareOf(connection);
    const { queue } = share;
    if (queue === undefined) return true;
    while (connection.open && this.#nowMs() < until && this.#hasShare(share)) {
      const next = queue.shift();
      if (next === undefined) break;
      this.#handle(connection, share, next.bytes, next.isBinary);
    }
    if (connection.open && queue.length > 0) return false;
    share.queue = undefined;
    return true;
  }
}

function shareOf(connection: UwsConnection): Share {
  connection.share ??= new Share();
  return connection.share;
}
