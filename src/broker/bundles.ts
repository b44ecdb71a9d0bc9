import type { ServerFrame } from '../protocol/frames.ts';
import { bytesOf, type Encoded, encodeEvent, encodeFrame, joinEncoded } from './encode.ts';
import type { RoomEvent } from './event.ts';
import type { Usage } from './ledger.ts';
import type { Tenant } from './limits/tenant.ts';
import type { After, Connection, Defer, Ticks } from './ports.ts';
import type { Batching } from './settings.ts';
import type { Tally } from './tally.ts';

/** What all bundles that are due may take of one turn of the loop. */
const TURN_MS = 5;

export interface BundleParts {
  readonly batching: Batching;
  readonly ticks: Ticks;
  readonly defer: Defer;
  readonly after: After;
  readonly tally: Tally;
}

/** Two brackets, and one comma less than there are frames. */
const EMPTY_BYTES = 1;

/** Whose connection, and on whose account: a session, or one of its memberships. */
export interface Addressee {
  readonly connection: Connection;
  readonly tenant: Tenant;
}

/** Frames for one connection that have not been sent. */
class Bundle {
  readonly usage: Usage;
  frames: Encoded[] = [];
  events = 0;
  /** With their brackets and commas. */
  bytes = EMPTY_BYTES;

  constructor(usage: Usage) {
    this.usage = usage;
  }
}

/**
 * What is sent to one connection in many small pieces (the replays of its rooms, the newest event of each key) leaves
 * in few arrays instead. Whatever else is sent to the connection alone sends these first, so nothing is overtaken;
 * what reaches it by a topic is not seen here: a bundle is sent before its connection is subscribed to anything that
 * the bundle says something of, or in the same step.
 *
 * Without a ceiling (`batchMs: 0`) whoever adds also flushes, within the same step.
 */
export class Bundles {
  readonly #parts: BundleParts;
  readonly #open = new Map<Connection, Bundle>();
  #armed = false;
  #settle: (connection: Connection) => void = () => {};

  constructor(parts: BundleParts) {
    this.#parts = parts;
  }

  /** Whether bundles wait for more, up to the ceiling. */
  get wait(): boolean {
    return this.#parts.batching.batchMs > 0;
  }

  /** `settle` runs for each connection whose bundle is due, before it is sent. */
  whenDue(settle: (connection: Connection) => void): void {
    this.#settle = settle;
  }

  /** How long it is. */
  tell(to: Addressee, frame: ServerFrame): number {
    const data = encodeFrame(frame, to.connection.encoding);
    this.#add(to.connection, this.#of(to), data, data.length);
    return data.length;
  }

  add(to: Addressee, event: RoomEvent): void {
    const { connection } = to;
    const bundle = this.#of(to);
    if (bundle.events >= this.#parts.batching.batchEvents) this.#send(connection, bundle);
    this.#add(connection, bundle, encodeEvent(event, connection.encoding), event.size);
    bundle.events++;
    bundle.usage.deliveries++;
  }

  /** Nothing may be there to wait with, but `settle` has to run within the ceiling. */
  open(to: Addressee): void {
    this.#of(to);
  }

  flush(connection: Connection): void {
    if (this.#open.size === 0) return;
    const bundle = this.#open.get(connection);
    if (bundle === undefined) return;
    // With a ceiling the place is kept until it is due: somebody may wait for that.
    if (!this.wait) this.#open.delete(connection);
    this.#send(connection, bundle);
  }

  #add(connection: Connection, bundle: Bundle, data: Encoded, bytes: number): void {
    if (bundle.bytes + bytes + 1 > this.#parts.batching.batchBytes) this.#send(connection, bundle);
    bundle.frames.push(data);
    bundle.bytes += bytes + 1;
  }

  #of({ connection, tenant }: Addressee): Bundle {
    let bundle = this.#open.get(connection);
    if (bundle === undefined) {
      bundle = new Bundle(tenant.usage);
      this.#open.set(connection, bundle);
      if (this.wait) this.#arm();
    }
    return bundle;
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#parts.after(this.#parts.batching.batchMs, () => this.#due());
  }

  #due(): void {
    const { ticks, defer } = this.#parts;
    const until = ticks() + TURN_MS;
    for (const [connection, bundle] of this.#open) {
      if (ticks() >= until) {
        defer(() => this.#due());
        return;
      }
      this.#settle(connection);
      this.#send(connection, bundle);
      this.#open.delete(connection);
    }
    this.#armed = false;
  }

  #send(connection: Connection, bundle: Bundle): void {
    if (bundle.frames.length === 0) return;
    const data = joinEncoded(bundle.frames, connection.encoding);
    bundle.frames = [];
    bundle.events = 0;
    bundle.bytes = EMPTY_BYTES;
    this.#parts.tally.framesOut++;
    const bytes = bytesOf(data);
    this.#parts.tally.bytesOut += bytes;
    bundle.usage.bytesOut += bytes;
    connection.send(data);
  }
}
