/** Sockets, as the domain sees them. */
import type { Encoding } from '../protocol/frames.ts';

/** One socket. Every method is safe after the socket has closed and does nothing then. */
export interface Connection {
  readonly encoding: Encoding;
  /** The client's address as text, after trusted proxies. */
  readonly address: string;
  /** false when the bytes were not taken: the socket is closed or over its hard limit (it is being ended then). */
  send(data: string | Uint8Array): boolean;
  /** Bytes that the kernel has not taken yet. */
  buffered(): number;
  subscribe(topic: string): void;
  unsubscribe(topic: string): void;
  end(code: number, reason: string): void;
}

/** What the domain is to a socket: the session behind it. */
export interface Peer {
  /** One WebSocket message. The bytes are valid during the call only. */
  receive(bytes: Uint8Array, isBinary: boolean): void;
  /** Buffered bytes have gone down. */
  drained(): void;
  /** The socket is gone; the last call. `reason`: this side has ended it, and what for. */
  closed(code: number, reason?: string): void;
}

/** Native fan-out: bytes to every subscriber of a topic, without JavaScript per subscriber. */
export interface Fanout {
  publish(topic: string, data: string | Uint8Array, encoding: Encoding): void;
  publishExcept(skip: Connection, topic: string, data: string | Uint8Array, encoding: Encoding): void;
}

/** A publisher that asked for `echo: false`, carried from its publish to the delivery of the event. */
export interface Skip {
  readonly connection: Connection;
  /** Of its session. */
  readonly stamp: number;
  /** The event has just gone out to everybody else: the ack may take its place at the publisher. No `seq`: ephemeral. */
  placed(seq: number | undefined): void;
}
