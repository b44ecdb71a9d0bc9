/** Keeps one connection open: asks for a credential, connects, and comes back after every loss that allows it. */
import { CLOSE_CODES } from '../protocol/codes.ts';
import type { ClientFrame, DrainFrame, ServerFrame, ServerInfoFrame } from '../protocol/frames.ts';
import { afterLoss, type BackoffPolicy } from './backoff.ts';
import { type Codec, type Data, loadCodec } from './codec.ts';
import type { Credentials } from './credentials.ts';
import { CarillonError, closeError } from './errors.ts';
import { type ConnectOptions, DEFAULTS } from './options.ts';
import { qualityLimits } from './quality.ts';
import { Socket, type SocketEnd } from './socket.ts';
import { connectUrl, type WebSocketConstructor, webSocketClass } from './websocket.ts';

export type State =
  | { readonly name: 'connecting'; readonly attempt: number }
  | { readonly name: 'open'; readonly info: ServerInfoFrame }
  /** Attempt number `attempt` follows after `delayMs`. */
  | {
      readonly name: 'waiting';
      readonly attempt: number;
      readonly delayMs: number;
      readonly error: CarillonError;
    }
  /** For good; `error` says why, unless the owner closed. */
  | { readonly name: 'closed'; readonly error?: CarillonError };

export interface ConnectionOwner {
  opened(info: ServerInfoFrame): void;
  received(frames: readonly ServerFrame[]): void;
  latency(rttMs: number): void;
  /** A ping waits for too long; false: something has come after all. */
  silence(silent: boolean): void;
  /** The open connection is lost; `dropPositions`: positions in rooms are void. */
  lost(dropPositions: boolean): void;
  changed(state: State): void;
}

export class Connection {
  readonly #url: string;
  readonly #options: ConnectOptions;
  readonly #credentials: Credentials;
  readonly #webSocket: WebSocketConstructor;
  readonly #owner: ConnectionOwner;
  readonly #random: () => number;
  #codec: Codec | undefined;
  #socket: Socket | undefined;
  #state: State = { name: 'connecting', attempt: 0 };
  #policy: BackoffPolicy;
  /** Attempts since the last stable connection. */
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #openedAt = 0;
  /** When the slot of the last `drain` begins. */
  #slotAt: number | undefined;
  readonly #stopListening: () => void;

  /** Throws a TypeError for an address that cannot be one, an Error where there is no WebSocket. */
  constructor(url: string, options: ConnectOptions, credentials: Credentials, owner: ConnectionOwner) {
    this.#url = connectUrl(url);
    this.#options = options;
    this.#credentials = credentials;
    this.#webSocket = webSocketClass(options.webSocket);
    this.#owner = owner;
    this.#random = options.random ?? Math.random;
    this.#policy = this.#policyOf(undefined);
    this.#stopListening = whenOnline(() => this.#hurry());
    // The caller gets to put its listeners on before the first state.
    queueMicrotask(() => this.#connect());
  }

  get state(): State {
    return this.#state;
  }

  get info(): ServerInfoFrame | undefined {
    return this.#state.name === 'open' ? this.#state.info : undefined;
  }

  /** Throws if a payload cannot be encoded, or nothing is open. */
  encode(frames: ClientFrame | readonly ClientFrame[]): Data {
    if (this.#codec === undefined) throw new Error('encode before the codec is loaded');
    return this.#codec.encode(frames);
  }

  /** Does nothing unless open. */
  send(data: Data): void {
    if (this.#state.name === 'open') this.#socket?.send(data);
  }

  drain(frame: DrainFrame): void {
    this.#slotAt = performance.now() + frame.retryAfterMs;
    if (frame.ticket !== undefined) this.#credentials.keep(frame.ticket);
  }

  /** Ends for good, with the close code 1000. */
  close(): void {
    this.#stop();
  }

  #stop(error?: CarillonError): void {
    if (this.#state.name === 'closed') return;
    const socket = this.#socket;
    this.#socket = undefined;
    clearTimeout(this.#timer);
    this.#stopListening();
    this.#change(error === undefined ? { name: 'closed' } : { name: 'closed', error });
    socket?.close(1000, '');
  }

  #change(state: State): void {
    this.#state = state;
    this.#owner.changed(state);
  }

  /** Whether the owner has closed, perhaps in a listener or while something was awaited. */
  get #closed(): boolean {
    return this.#state.name === 'closed';
  }

  async #connect(): Promise<void> {
    if (this.#closed) return;
    this.#change({ name: 'connecting', attempt: this.#attempt });
    const { encoding = 'json' } = this.#options;
    let credential: string;
    try {
      this.#codec ??= await loadCodec(encoding);
      credential = await this.#credentials.next();
    } catch (cause) {
      const code = this.#codec === undefined ? 'connect_failed' : 'token_failed';
      this.#retry(new CarillonError(code, String(cause), { retry: true, cause }), 1006);
      return;
    }
    if (this.#closed) return;
    this.#openSocket(this.#codec, credential);
  }

  #openSocket(codec: Codec, credential: string): void {
    const { connectTimeoutMs = DEFAULTS.connectTimeoutMs, pingMs = Number.POSITIVE_INFINITY } = this.#options;
    const { weakRttMs: suspectMs, silenceMs } = qualityLimits(this.#options.quality);
    const pace = { pingMs, silenceMs, suspectMs };
    const parts = { url: this.#url, credential, codec, webSocket: this.#webSocket, connectTimeoutMs, pace };
    try {
      const socket: Socket = new Socket(parts, {
        opened: (info) => this.#opened(info),
        received: (frames) => this.#owner.received(frames),
        latency: (rttMs) => this.#owner.latency(rttMs),
        silence: (silent) => this.#owner.silence(silent),
        ended: (end) => this.#ended(socket, end),
      });
      this.#socket = socket;
    } catch (cause) {
      // A token that is no HTTP token: no attempt with it can ever succeed, but the next one may be good.
      this.#retry(new CarillonError('connect_failed', String(cause), { retry: true, cause }), 1006);
    }
  }

  #opened(info: ServerInfoFrame): void {
    this.#openedAt = performance.now();
    this.#slotAt = undefined;
    this.#policy = this.#policyOf(info);
    if (info.ticket === undefined) this.#credentials.dropTicket();
    else this.#credentials.keep(info.ticket, info.ticketTtl);
    this.#change({ name: 'open', info });
    if (!this.#closed) this.#owner.opened(info);
  }

  #ended(socket: Socket, end: SocketEnd): void {
    if (socket !== this.#socket) return;
    this.#socket = undefined;
    const { stableMs = DEFAULTS.stableMs } = this.#options.reconnect ?? {};
    if (end.opened && performance.now() - this.#openedAt >= stableMs) this.#attempt = 0;
    if (end.opened) this.#owner.lost(end.code === CLOSE_CODES.state_invalidated.code);
    // Behind the ticket stands the token that has ended.
    if (end.code === CLOSE_CODES.token_expired.code) this.#credentials.dropTicket();
    this.#retry(errorOfEnd(end), end.code);
  }

  #retry(error: CarillonError, code: number): void {
    if (this.#closed) return;
    const { reconnect } = this.#options;
    const slotMs = this.#slotAt === undefined ? undefined : this.#slotAt - performance.now();
    this.#slotAt = undefined;
    const loss = { code, attempt: this.#attempt, slotMs, freshTokens: this.#credentials.renewable };
    const next = afterLoss(loss, this.#policy, this.#random);
    if (next.action === 'stop' || next.attempt > (reconnect?.maxAttempts ?? Infinity))
      return this.#stop(error);
    this.#attempt = next.attempt;
    this.#timer = setTimeout(() => this.#connect(), next.delayMs);
    this.#change({ name: 'waiting', attempt: next.attempt, delayMs: next.delayMs, error });
  }

  /** The network is back: waiting any longer helps nobody, unless the server gave us a slot. */
  #hurry(): void {
    if (this.#state.name !== 'waiting' || this.#state.error.code === 'drain') return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), this.#random() * this.#policy.minMs);
  }

  #policyOf(info: ServerInfoFrame | undefined): BackoffPolicy {
    const { reconnect } = this.#options;
    return {
      minMs: reconnect?.minMs ?? info?.reconnect.minMs ?? DEFAULTS.reconnectMinMs,
      maxMs: reconnect?.maxMs ?? info?.reconnect.maxMs ?? DEFAULTS.reconnectMaxMs,
    };
  }
}

function errorOfEnd({ code, reason, opened }: SocketEnd): CarillonError {
  if (opened || code >= 4000) return closeError(code, reason);
  return new CarillonError('connect_failed', reason || 'no connection; a browser does not say why', {
    retry: true,
  });
}

/** Browsers say when the network is back; elsewhere nothing is heard. */
function whenOnline(listener: () => void): () => void {
  const target = globalThis as Partial<Pick<EventTarget, 'addEventListener' | 'removeEventListener'>>;
  target.addEventListener?.('online', listener);
  return () => target.removeEventListener?.('online', listener);
}
