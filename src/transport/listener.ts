import {
  type TemplatedApp,
  type us_listen_socket,
  us_listen_socket_close,
  us_socket_local_port,
} from 'uWebSockets.js';
import type { Log } from '../broker/ports.ts';

/** LIBUS_LISTEN_EXCLUSIVE_PORT: otherwise a forgotten older process shares the port in silence. */
const EXCLUSIVE_PORT = 1;

/** The full signature of `listen`, which the published types lack. */
type Listen = (
  host: string,
  port: number,
  options: number,
  done: (socket: us_listen_socket | false) => void,
) => TemplatedApp;

/** Accepting starts again when so many sockets below the limit are free. */
const REOPEN_MARGIN = 64;

/**
 * The listen socket, closed while the process holds too many sockets: out of file descriptors, uWebSockets.js
 * spins at 100 % in accept, and everything else that opens a file fails (rule 9). Idle plain HTTP connections
 * count too, or an attacker who never upgrades would get there.
 */
export class Listener {
  readonly #app: TemplatedApp;
  readonly #maxSockets: number;
  readonly #log: Log;
  #socket: us_listen_socket | undefined;
  #host = '';
  #port = 0;
  #sockets = 0;
  #stopped = false;

  constructor(app: TemplatedApp, maxSockets: number, log: Log) {
    this.#app = app;
    this.#maxSockets = maxSockets;
    this.#log = log;
    // Counts plain HTTP sockets up and down; one that has become a WebSocket is never counted down here.
    app.filter((_response, change) => this.#changed(change as number));
  }

  /** Resolves with the real port. Rejects when the address cannot be had. */
  async listen(host: string, port: number): Promise<number> {
    this.#host = host;
    this.#port = port;
    if (!this.#open())
      throw new Error(`cannot listen on ${host}:${port}: the address is in use or not of this machine`);
    return this.#port;
  }

  webSocketClosed(): void {
    this.#changed(-1);
  }

  stop(): void {
    this.#stopped = true;
    this.#shut();
  }

  #changed(by: number): void {
    this.#sockets += by;
    if (by > 0 && this.#socket !== undefined && this.#sockets >= this.#maxSockets) {
      this.#log.warn({ sockets: this.#sockets }, 'too many sockets: accepting is suspended');
      this.#shut();
    } else if (by < 0 && this.#socket === undefined && !this.#stopped && this.#port !== 0) {
      if (this.#sockets <= this.#maxSockets - REOPEN_MARGIN && this.#open())
        this.#log.info({ sockets: this.#sockets }, 'accepting again');
    }
  }

  /** uWebSockets.js calls back before `listen` returns. */
  #open(): boolean {
    const listen = this.#app.listen.bind(this.#app) as unknown as Listen;
    listen(this.#host, this.#port, EXCLUSIVE_PORT, (socket) => {
      this.#socket = socket || undefined;
    });
    if (this.#socket === undefined) return false;
    this.#port = us_socket_local_port(this.#socket);
    return true;
  }

  #shut(): void {
    if (this.#socket === undefined) return;
    us_listen_socket_close(this.#socket);
    this.#socket = undefined;
  }
}
