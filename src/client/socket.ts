import { CLOSE_CODES } from '../protocol/codes.ts';
import type { ServerFrame, ServerInfoFrame } from '../protocol/frames.ts';
import type { Codec, Data } from './codec.ts';
import { Heartbeat, type Pace } from './heartbeat.ts';
import type { WebSocketConstructor, WebSocketLike } from './websocket.ts';

export interface SocketEnd {
  readonly code: number;
  readonly reason: string;
  /** Whether the server had sent `server_info`. */
  readonly opened: boolean;
}

export interface SocketOwner {
  opened(info: ServerInfoFrame): void;
  /** The frames of one message after `server_info`, in order. */
  received(frames: readonly ServerFrame[]): void;
  latency(rttMs: number): void;
  /** A ping waits for too long; false: something has come after all. */
  silence(silent: boolean): void;
  /** Exactly once, after which the socket calls nothing any more. */
  ended(end: SocketEnd): void;
}

export interface SocketParts {
  readonly url: string;
  /** The subprotocol entry that says who we are: `bearer.…` or `ticket.…`. */
  readonly credential: string;
  readonly codec: Codec;
  readonly webSocket: WebSocketConstructor;
  readonly connectTimeoutMs: number;
  readonly pace: Pace;
}

/** RFC 6455: no close frame was received. */
const ABNORMAL = 1006;
/** The server broke the protocol; a client may not send 1002 in a browser. */
const PROTOCOL_ERROR = 4000;
/** Milliseconds from `error` to `close`, at most. */
const ABANDON_MS = 100;

interface CloseEventLike {
  readonly code: number;
  readonly reason: string;
}

/** One connection, from the attempt to its end; it does not come back. */
export class Socket {
  readonly #owner: SocketOwner;
  readonly #codec: Codec;
  readonly #socket: WebSocketLike;
  readonly #pace: Pace;
  readonly #deadline: ReturnType<typeof setTimeout>;
  #heartbeat: Heartbeat | undefined;
  #info: ServerInfoFrame | undefined;
  #failure = '';
  #abandon: ReturnType<typeof setTimeout> | undefined;
  #ended = false;

  constructor(parts: SocketParts, owner: SocketOwner) {
    this.#owner = owner;
    this.#codec = parts.codec;
    this.#pace = parts.pace;
    // The credential is no part of the URL: URLs end up in logs.
    this.#socket = new parts.webSocket(parts.url, [parts.codec.subprotocol, parts.credential]);
    this.#socket.binaryType = 'arraybuffer';
    this.#socket.onmessage = (event: { readonly data: unknown }) => this.#message(event.data);
    this.#socket.onerror = (event: { readonly message?: string }) => this.#failed(event.message ?? '');
    this.#socket.onclose = ({ code, reason }: CloseEventLike) => this.#end(code, reason || this.#failure);
    const { connectTimeoutMs } = parts;
    this.#deadline = setTimeout(
      () => this.close(PROTOCOL_ERROR, `no server_info within ${connectTimeoutMs} ms`, ABNORMAL),
      connectTimeoutMs,
    );
  }

  send(data: Data): void {
    if (!this.#ended) this.#socket.send(data);
  }

  /**
   * Ends the connection without waiting for the server, which may be unreachable. `seen` is the code that the
   * owner is told, where it is not the one sent.
   */
  close(code: number, reason: string, seen = code): void {
    if (this.#ended) return;
    this.#socket.close(code, reason);
    this.#end(seen, reason);
  }

  /** A `close` follows at once, except in Node's own WebSocket when the server cannot be reached. */
  #failed(message: string): void {
    if (this.#ended) return;
    this.#failure = message;
    this.#abandon ??= setTimeout(() => {
      this.#socket.close();
      this.#end(ABNORMAL, message);
    }, ABANDON_MS);
  }

  #message(data: unknown): void {
    if (this.#ended) return;
    const frames = this.#decode(data);
    if (frames === undefined) return;
    this.#heartbeat?.heard();
    const rest = this.#info === undefined ? this.#open(frames) : frames;
    if (rest.length === 0 || this.#ended) return;
    this.#clockPongs(rest);
    this.#owner.received(rest);
  }

  #decode(data: unknown): readonly ServerFrame[] | undefined {
    try {
      return this.#codec.decode(data);
    } catch (error) {
      this.close(PROTOCOL_ERROR, `unreadable message: ${String(error)}`.slice(0, 100), ABNORMAL);
      return undefined;
    }
  }

  /** `server_info` comes first, always; what follows it in the same message is returned. */
  #open(frames: readonly ServerFrame[]): readonly ServerFrame[] {
    const [info] = frames;
    if (info?.type !== 'server_info') {
      this.close(PROTOCOL_ERROR, `${info?.type} before server_info`, ABNORMAL);
      return [];
    }
    clearTimeout(this.#deadline);
    this.#info = info;
    this.#owner.opened(info);
    if (!this.#ended) this.#beat(info.heartbeat);
    return frames.slice(1);
  }

  #beat(seconds: number): void {
    const heart = {
      ping: (ts: number) => this.send(this.#codec.encode({ type: 'ping', ts })),
      dead: () => this.close(CLOSE_CODES.heartbeat_timeout.code, 'the server fell silent', ABNORMAL),
      silence: (silent: boolean) => this.#owner.silence(silent),
    };
    this.#heartbeat = new Heartbeat(heart, seconds, this.#pace, () => performance.now());
    this.#heartbeat.start();
  }

  #clockPongs(frames: readonly ServerFrame[]): void {
    for (const frame of frames) {
      const rttMs = frame.type === 'pong' ? this.#heartbeat?.pong(frame.ts) : undefined;
      if (rttMs !== undefined) this.#owner.latency(rttMs);
    }
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#abandon);
    this.#heartbeat?.stop();
    this.#owner.ended({ code, reason, opened: this.#info !== undefined });
  }
}
