import type { HttpResponse } from 'uWebSockets.js';
import { randomUUID } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { App, us_listen_socket_close, us_socket_local_port } from './uws.ts';

const LOOPBACK = '127.0.0.1';

/**
 * A request to ourselves that is never answered: its response can hold the one cork buffer of uWebSockets.js at any
 * time, so that another response is written past it. Asynchronous upgrades need that (docs/transport.md, rule 3).
 */
export class CorkHolder {
  readonly #app = App();
  readonly #path = `/${randomUUID()}`;
  #client: Socket | undefined;
  #response: HttpResponse | undefined;
  #closed = false;

  /** Resolves once it can hold the buffer; nothing listens any more by then. Rejects where there is no loopback. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#app.listen(LOOPBACK, 0, (listening) => {
        if (listening === false) return reject(new Error(`cannot listen on ${LOOPBACK}`));
        this.#app.get(this.#path, (response) => {
          response.onAborted(() => {
            this.#response = undefined;
          });
          this.#response = response;
          us_listen_socket_close(listening);
          resolve();
        });
        const client = connect(us_socket_local_port(listening), LOOPBACK);
        client.on('error', reject);
        client.write(`GET ${this.#path} HTTP/1.1\r\nHost: ${LOOPBACK}\r\n\r\n`);
        this.#client = client.unref();
      });
    });
  }

  /** Runs the task while the buffer is held. false: it is closed, or was never open. */
  hold(task: () => void): boolean {
    if (this.#response === undefined) return false;
    this.#response.cork(task);
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#client?.destroy();
    this.#app.close();
  }
}
