import type { HttpResponse, TemplatedApp, us_listen_socket } from 'uWebSockets.js';
import { existsSync, readdirSync } from 'node:fs';
import type { Log } from '../broker/ports.ts';
import type { Tally } from '../broker/tally.ts';
import { addressOf } from './address.ts';
import { PlainSockets } from './plain-sockets.ts';
import { us_listen_socket_close, us_socket_local_port } from './uws.ts';

/** LIBUS_LISTEN_EXCLUSIVE_PORT: otherwise a forgotten older process shares the port in silence. */
const EXCLUSIVE_PORT = 1;
/** For the moment in which one App takes over from another, both are on the port; and all workers always. */
const SHARED_PORT = 0;

/** The full signature of `listen`, which the published types lack. */
type Listen = (
  host: string,
  port: number,
  options: number,
  done: (socket: us_listen_socket | false) => void,
) => TemplatedApp;

/** Accepting starts again when so many sockets below the limit are free. */
const REOPEN_MARGIN = 64;
const REOPEN_MS = 250;

/** One entry per open descriptor, on Linux. */
const DESCRIPTORS = '/proc/self/fd';

interface ListenerParts {
  /** `move` will be called. */
  readonly movable: boolean;
  /** Other processes listen on the port as well. */
  readonly shared: boolean;
  readonly log: Log;
  readonly tally: Pick<Tally, 'socketsRefused'>;
  readonly nowMs: () => number;
}

/**
 * The listen socket, closed while the process holds too many sockets: out of file descriptors, uWebSockets.js
 * spins at 100 % in accept, and everything else that opens a file fails (rule 9). Idle plain HTTP connections
 * count too, or an attacker who never upgrades would get there. So do WebSockets that have been ended: their
 * callback has run, but where the client does not close, uWebSockets.js keeps the descriptor for 16 s.
 */
export class Listener {
  #app: TemplatedApp | undefined;
  readonly plain: PlainSockets;
  readonly #maxSockets: number;
  readonly #parts: ListenerParts;
  #socket: us_listen_socket | undefined;
  #host = '';
  #port = 0;
  #sockets = 0;
  /** At most so many closed WebSockets still have their descriptor: the true number takes a look at the system. */
  #lingering = 0;
  /** Descriptors of the process that are not clients. */
  #others = 0;
  #reopening: NodeJS.Timeout | undefined;

  constructor(maxSockets: number, parts: ListenerParts) {
    this.#maxSockets = maxSockets;
    this.#parts = parts;
    this.plain = new PlainSockets(parts.nowMs);
  }

  /** Counts plain HTTP sockets of this App up and down; one that has become a WebSocket is never counted down here. */
  count(app: TemplatedApp): void {
    const counted = (response: HttpResponse, change: number): void => {
      if (change > 0 && !this.#admits(response)) response.close();
      this.#changed(change);
    };
    app.filter(counted as Parameters<TemplatedApp['filter']>[0]);
  }

  /** Less than a quarter of the sockets is free: whoever is answered makes place for others. */
  get pressed(): boolean {
    return this.#free < this.#maxSockets / 4;
  }

  get #free(): number {
    return this.#maxSockets - this.#sockets;
  }

  /** Closed at once where its address has as many as are left for all. */
  #admits(response: HttpResponse): boolean {
    const address = addressOf(response.getRemoteAddressAsText());
    if (this.plain.of(address) >= this.#free) {
      this.#parts.tally.socketsRefused++;
      return false;
    }
    this.plain.opened(address);
    return true;
  }

  /** Resolves with the real port. Rejects when the address cannot be had. */
  async listen(app: TemplatedApp, host: string, port: number): Promise<number> {
    this.#app = app;
    this.#host = host;
    this.#port = port;
    if (!this.#open() || (port === 0 && !this.#openAgain()))
      throw new Error(`cannot listen on ${host}:${port}: the address is in use or not of this machine`);
    this.#others = openDescriptors() ?? 0;
    return this.#port;
  }

  /**
   * From now on this App accepts. The port is never without a listener; what the kernel has for the old one it gets:
   * that closes right after a poll, in which it has accepted all there was.
   * @throws when the port cannot be had; then nothing has changed
   */
  move(app: TemplatedApp): void {
    const [oldApp, oldSocket] = [this.#app, this.#socket];
    this.#app = app;
    // Suspended, or not begun: the new one is opened next.
    if (oldSocket === undefined) return;
    if (!this.#openAs(SHARED_PORT)) {
      [this.#app, this.#socket] = [oldApp, oldSocket];
      throw new Error(`a second listener cannot be had on ${this.#host}:${this.#port}`);
    }
    setImmediate(() => us_listen_socket_close(oldSocket));
  }

  webSocketClosed(): void {
    this.#lingering++;
    this.#changed(-1);
  }

  stop(): void {
    clearInterval(this.#reopening);
    this.#shut();
  }

  #changed(by: number): void {
    this.#sockets += by;
    if (by < 0 || this.#socket === undefined || !this.#full(this.#maxSockets)) return;
    this.#parts.log.warn({ sockets: this.#sockets }, 'too many sockets: accepting is suspended');
    this.#shut();
    this.#reopening = setInterval(() => this.#reopen(), REOPEN_MS);
  }

  #reopen(): void {
    if (this.#full(this.#maxSockets - REOPEN_MARGIN) || !this.#open()) return;
    clearInterval(this.#reopening);
    this.#parts.log.info({ sockets: this.#sockets }, 'accepting again');
  }

  #full(limit: number): boolean {
    if (this.#sockets + this.#lingering < limit) return false;
    this.#lingering = Math.max(0, (openDescriptors() ?? 0) - this.#others - this.#sockets);
    return this.#sockets + this.#lingering >= limit;
  }

  /** Where the port will be shared, too, nobody may have it before; among workers the supervisor has seen to that. */
  #open(): boolean {
    if (this.#parts.shared) return this.#openAs(SHARED_PORT);
    if (!this.#openAs(EXCLUSIVE_PORT)) return false;
    if (!this.#parts.movable) return true;
    this.#shut();
    return this.#openAs(SHARED_PORT);
  }

  /** uWebSockets.js calls back before `listen` returns. */
  #openAs(sharing: number): boolean {
    const listen = this.#app?.listen.bind(this.#app) as unknown as Listen | undefined;
    listen?.(this.#host, this.#port, sharing, (socket) => {
      this.#socket = socket || undefined;
    });
    if (this.#socket === undefined) return false;
    this.#port = us_socket_local_port(this.#socket);
    return true;
  }

  /** By its number: bound as 0, the port lacks SO_REUSEADDR and could not be opened again beside its connections. */
  #openAgain(): boolean {
    this.#shut();
    return this.#open();
  }

  #shut(): void {
    if (this.#socket === undefined) return;
    us_listen_socket_close(this.#socket);
    this.#socket = undefined;
  }
}

/** undefined where the system does not tell: then lingering sockets are not seen. */
function openDescriptors(): number | undefined {
  return existsSync(DESCRIPTORS) ? readdirSync(DESCRIPTORS).length : undefined;
}
