import type { AckFrame, PubFrame } from '../protocol/frames.ts';
import type { Data } from './codec.ts';
import { CarillonError } from './errors.ts';

/** A publish from the call to its ack. */
export interface Entry {
  readonly frame: PubFrame & { readonly msgId: string };
  /** Milliseconds, by the clock of the caller. */
  readonly deadline: number;
  /** Place in the order of publishing. */
  readonly number: number;
  readonly resolve: (ack: AckFrame) => void;
  readonly reject: (error: CarillonError) => void;
  data: Data | undefined;
  /** Bytes on the wire; 0 until encoded. */
  bytes: number;
  /** On this connection, and not refused since. */
  sent: boolean;
}

export interface OutboxLimits {
  readonly queue: number;
  readonly inFlight: number;
  readonly inFlightBytes: number;
}

/** Where entries go: the open connection. */
export interface Outlet {
  /** Bytes that a frame may have. */
  readonly maxFrame: number;
  /** Gives the bytes; throws if the payload cannot be encoded. */
  encode(frame: PubFrame): { readonly data: Data; readonly bytes: number };
  send(data: Data): void;
}

/** Codes after which the same message is sent again by itself. */
const AGAIN: ReadonlySet<string> = new Set(['rate_limited', 'unavailable', 'overloaded']);
/** Milliseconds to wait where such an error names no time. */
const RETRY_MS = 500;

/**
 * Publishes that have no ack yet. Each keeps its msgId until it is settled, so that sending it once more after a
 * reconnect cannot store it twice. The order of publishing is kept, except around a message that the server
 * refused for now.
 */
export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #entries = new Map<string, Entry>();
  /** Not sent on this connection, in order. */
  #waiting: Entry[] = [];
  #inFlight = 0;
  #inFlightBytes = 0;
  #pausedUntil = 0;
  #number = 0;

  constructor(limits: OutboxLimits) {
    this.#limits = limits;
  }

  /** Publishes not settled. */
  get size(): number {
    return this.#entries.size;
  }

  /** Until when nothing is sent because the server asked for it. */
  get pausedUntil(): number {
    return this.#pausedUntil;
  }

  /** The error, if the message cannot be taken. */
  add(
    frame: Entry['frame'],
    deadline: number,
    resolve: Entry['resolve'],
    reject: Entry['reject'],
  ): CarillonError | undefined {
    if (this.#entries.size >= this.#limits.queue)
      return new CarillonError('queue_full', `${this.#limits.queue} publishes are waiting for their ack`, {
        retry: true,
      });
    if (this.#entries.has(frame.msgId))
      return new CarillonError('bad_frame', `a publish with msgId ${frame.msgId} is under way already`);
    const number = ++this.#number;
    const entry = { frame, deadline, number, resolve, reject, data: undefined, bytes: 0, sent: false };
    this.#entries.set(frame.msgId, entry);
    this.#waiting.push(entry);
    return undefined;
  }

  /** Sends what may be sent now. */
  pump(outlet: Outlet, now: number): void {
    if (now < this.#pausedUntil) return;
    let done = 0;
    for (const entry of this.#waiting) {
      if (entry.data !== undefined || this.#encoded(entry, outlet)) {
        if (!this.#fits(entry.bytes)) break;
        this.#inFlight++;
        this.#inFlightBytes += entry.bytes;
        entry.sent = true;
        outlet.send(entry.data as Data);
      }
      done++;
    }
    if (done > 0) this.#waiting = this.#waiting.slice(done);
  }

  #fits(bytes: number): boolean {
    if (this.#inFlight === 0) return true;
    return (
      this.#inFlight < this.#limits.inFlight && this.#inFlightBytes + bytes <= this.#limits.inFlightBytes
    );
  }

  /** false: the entry cannot be sent and is settled. */
  #encoded(entry: Entry, outlet: Outlet): boolean {
    try {
      const { data, bytes } = outlet.encode(entry.frame);
      entry.data = data;
      entry.bytes = bytes;
    } catch (cause) {
      return this.#refuse(entry, new CarillonError('bad_frame', 'the payload cannot be encoded', { cause }));
    }
    if (entry.bytes <= outlet.maxFrame) return true;
    // The server would close the connection for it, and the next one would meet the same message again.
    const reason = `the message has ${entry.bytes} bytes, the server takes ${outlet.maxFrame}`;
    return this.#refuse(entry, new CarillonError('frame_too_large', reason));
  }

  #refuse(entry: Entry, error: CarillonError): false {
    this.#entries.delete(entry.frame.msgId);
    entry.reject(error);
    return false;
  }

  /** The entry that the ack settles; undefined if it was settled before. */
  acked(ack: AckFrame): Entry | undefined {
    const entry = this.#settle(ack.msgId);
    entry?.resolve(ack);
    return entry;
  }

  /** An error answer to a publish. false: no such publish. */
  failed(msgId: string, error: CarillonError, now: number): boolean {
    const entry = this.#entries.get(msgId);
    if (entry === undefined) return false;
    if (!entry.sent) return true;
    const at = now + (error.retryAfterMs ?? RETRY_MS);
    // What is ephemeral is stale by then, and must not hold up what waits behind it.
    if (!AGAIN.has(error.code) || entry.frame.ephemeral === true || at >= entry.deadline) {
      this.#settle(msgId);
      entry.reject(error);
      return true;
    }
    this.#landed(entry);
    entry.sent = false;
    this.#pausedUntil = Math.max(this.#pausedUntil, at);
    const place = this.#waiting.findIndex((other) => other.number > entry.number);
    this.#waiting.splice(place === -1 ? this.#waiting.length : place, 0, entry);
    return true;
  }

  /** The connection is lost: everything is to be sent again, in order. */
  detached(): void {
    this.#waiting = [...this.#entries.values()];
    for (const entry of this.#waiting) entry.sent = false;
    this.#inFlight = 0;
    this.#inFlightBytes = 0;
    this.#pausedUntil = 0;
  }

  /** Rejects what is past its deadline. */
  expire(now: number): void {
    for (const entry of [...this.#entries.values()]) {
      if (now < entry.deadline) continue;
      this.#settle(entry.frame.msgId);
      const reason = 'no ack before the deadline; whether the message was stored is not known';
      entry.reject(new CarillonError('timeout', reason, { retry: true }));
    }
  }

  rejectAll(error: CarillonError): void {
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    this.detached();
    for (const entry of entries) entry.reject(error);
  }

  #settle(msgId: string | undefined): Entry | undefined {
    const entry = msgId === undefined ? undefined : this.#entries.get(msgId);
    if (entry === undefined) return undefined;
    this.#entries.delete(entry.frame.msgId);
    if (entry.sent) this.#landed(entry);
    else this.#waiting.splice(this.#waiting.indexOf(entry), 1);
    return entry;
  }

  #landed(entry: Entry): void {
    this.#inFlight--;
    this.#inFlightBytes -= entry.bytes;
  }
}
