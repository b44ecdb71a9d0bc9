import type { Connection, Peer } from '../../src/broker/ports.ts';
import type { Encoding, ServerFrame } from '../../src/protocol/frames.ts';
import { encodeMsgpack, readMsgpack } from '../../src/protocol/msgpack.ts';

/** What a socket does wrong on purpose, to show that the model sees it. */
export interface Sabotage {
  /** Subscribing takes effect at the end of the turn: the classic hole between replay and live. */
  readonly lateSubscribe?: boolean;
  /** Unsubscribing does. */
  readonly lateUnsubscribe?: boolean;
  /** Every so many messages from a topic one is not delivered, delivered twice, or overtaken by the next. */
  readonly lose?: number;
  readonly repeat?: number;
}

interface Waiting {
  readonly frames: readonly ServerFrame[];
  readonly bytes: number;
}

/**
 * A socket with a reader behind it: what is sent waits until the reader takes it, and is lost with the connection.
 * A fast reader's bytes are taken by its kernel; a slow one's are waiting, up to the hard limit of the node.
 */
export class ModelSocket implements Connection {
  readonly encoding: Encoding;
  readonly address = '127.0.0.1';
  readonly topics = new Set<string>();
  peer: Peer | undefined;
  closedWith: number | undefined;
  slow = false;
  /** Has been slow once: it may be taken off native delivery, and closed for it. */
  wasSlow = false;
  readonly #hard: number;
  readonly #defer: (task: () => void) => void;
  readonly #sabotage: Sabotage;
  #queue: Waiting[] = [];
  #waiting = 0;
  #lost = false;
  #topical = 0;

  constructor(encoding: Encoding, hard: number, defer: (task: () => void) => void, sabotage: Sabotage = {}) {
    this.encoding = encoding;
    this.#hard = hard;
    this.#defer = defer;
    this.#sabotage = sabotage;
  }

  /** From a topic that this socket is subscribed to. */
  publish(data: string | Uint8Array): void {
    this.#topical++;
    const { lose = 0, repeat = 0 } = this.#sabotage;
    if (lose > 0 && this.#topical % lose === 0) return;
    this.send(data);
    if (repeat > 0 && this.#topical % repeat === 0) this.send(data);
  }

  send(data: string | Uint8Array): boolean {
    if (this.closedWith !== undefined || this.#lost) return false;
    if (this.slow && this.#waiting + data.length > this.#hard) {
      // As the transport does it: nothing more is sent, and the end comes after this turn's work.
      this.#lost = true;
      this.#defer(() => this.end(4102));
      return false;
    }
    if (this.slow) this.#waiting += data.length;
    this.#queue.push({ frames: decoded(data), bytes: data.length });
    return true;
  }

  buffered(): number {
    return this.#waiting;
  }

  subscribe(topic: string): void {
    if (this.#sabotage.lateSubscribe) this.#defer(() => this.#subscribe(topic));
    else this.#subscribe(topic);
  }

  unsubscribe(topic: string): void {
    if (this.#sabotage.lateUnsubscribe) this.#defer(() => this.topics.delete(topic));
    else this.topics.delete(topic);
  }

  end(code: number): void {
    if (this.closedWith !== undefined) return;
    this.closedWith = code;
    this.topics.clear();
    this.peer?.closed(code);
  }

  /** The reader takes so many messages; what the kernel has taken of a fast one is not waiting. */
  take(messages: number): ServerFrame[] {
    const taken = this.#queue.splice(0, messages);
    if (this.#waiting > 0) {
      for (const { bytes } of taken) this.#waiting = Math.max(0, this.#waiting - bytes);
      if (this.#queue.length === 0) this.#waiting = 0;
      if (this.closedWith === undefined) this.peer?.drained();
    }
    return taken.flatMap(({ frames }) => frames);
  }

  write(frames: readonly object[]): void {
    const message = frames.length === 1 ? frames[0] : frames;
    const binary = this.encoding === 'msgpack';
    this.peer?.receive(binary ? encodeMsgpack(message) : Buffer.from(JSON.stringify(message)), binary);
  }

  #subscribe(topic: string): void {
    if (this.closedWith === undefined) this.topics.add(topic);
  }
}

/** A fan-out sends the same bytes to many. */
let last: { data: string | Uint8Array; frames: readonly ServerFrame[] } = { data: '', frames: [] };

function decoded(data: string | Uint8Array): readonly ServerFrame[] {
  if (last.data !== data) {
    const value = typeof data === 'string' ? JSON.parse(data) : readMsgpack(data);
    last = { data, frames: Array.isArray(value) ? value : [value] };
  }
  return last.frames;
}
