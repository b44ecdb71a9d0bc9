import type { WebSocket } from 'uWebSockets.js';
import type { Connection, Peer } from '../broker/ports.ts';
import type { Encoding } from '../protocol/frames.ts';
import type { Generation } from './apps.ts';
import type { Compression } from './compression.ts';
import type { Share } from './share.ts';

/** uWebSockets.js copies this object onto the socket: only what it refers to keeps its identity. */
export interface SocketData {
  connection: UwsConnection;
}

/** RFC 6455 section 5.5: the reason of a close frame, in bytes. Longer ones are cut in mid-character by uWS. */
const REASON_BYTES = 123;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * One socket behind guards: every method of a closed uWS socket throws, and closing from inside its `dropped`
 * callback crashes the process (docs/transport.md, rules 1 and 13).
 */
export class UwsConnection implements Connection {
  readonly encoding: Encoding;
  readonly address: string;
  peer: Peer | undefined;
  /** Of the work of a turn; undefined: it has not asked for any. */
  share: Share | undefined;
  #socket: WebSocket<SocketData> | undefined;
  #generation: Generation | undefined;
  readonly #binary: boolean;
  readonly #compression: Compression | undefined;
  /** uWS has dropped bytes for this socket: how many events, nobody knows. */
  #lost = false;
  /** What this side has ended it for. */
  #ending: string | undefined;

  /** @param compression where the client has offered permessage-deflate and this node takes it */
  constructor(encoding: Encoding, address: string, compression?: Compression) {
    this.encoding = encoding;
    this.address = address;
    this.#binary = encoding === 'msgpack';
    this.#compression = compression;
  }

  get open(): boolean {
    return this.#socket !== undefined;
  }

  /** Whose topics it has; undefined before it is open. */
  get generation(): Generation | undefined {
    return this.#generation;
  }

  opened(socket: WebSocket<SocketData>, generation: Generation): void {
    this.#socket = socket;
    this.#generation = generation;
  }

  /** From the socket's close callback: the socket must not be touched any more. */
  gone(): void {
    this.#socket = undefined;
  }

  send(data: string | Uint8Array): boolean {
    if (this.#socket === undefined || this.#lost) return false;
    const compress = this.#compression?.takes(data.length) ?? false;
    if (compress) this.#compression?.sample(data);
    return this.#socket.send(data, this.#binary, compress) !== 2;
  }

  buffered(): number {
    return this.#socket === undefined ? 0 : this.#socket.getBufferedAmount();
  }

  subscribe(topic: string): void {
    this.#socket?.subscribe(topic);
  }

  unsubscribe(topic: string): void {
    this.#socket?.unsubscribe(topic);
  }

  subscribedTo(topic: string): boolean {
    return this.#socket?.isSubscribed(topic) ?? false;
  }

  /** To everybody subscribed but this socket, which has to be subscribed to something itself. */
  publish(topic: string, data: string | Uint8Array, encoding: Encoding): void {
    this.#socket?.publish(topic, data, encoding === 'msgpack');
  }

  end(code: number, reason: string): void {
    if (this.#socket === undefined) return;
    this.#ending = cut(reason);
    this.#socket.end(code, this.#ending);
  }

  get ending(): string | undefined {
    return this.#ending;
  }

  /** true the first time: the caller has to end the connection, but not before this turn's native work is done. */
  markLost(): boolean {
    const first = !this.#lost;
    this.#lost = true;
    return first;
  }
}

/** At most 123 bytes of UTF-8, whole characters only. */
export function cut(reason: string): string {
  const bytes = encoder.encode(reason);
  if (bytes.byteLength <= REASON_BYTES) return reason;
  let end = REASON_BYTES;
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end--;
  return decoder.decode(bytes.subarray(0, end));
}
