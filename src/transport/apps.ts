import type { TemplatedApp } from 'uWebSockets.js';
import type { Encoding } from '../protocol/frames.ts';
import { secureApp, type TlsFiles } from './tls.ts';
import { App } from './uws.ts';

/** An App with its certificates, which it has for life, and how many WebSockets it holds. */
export interface Generation {
  readonly app: TemplatedApp;
  sockets: number;
}

/** Gives an App its routes; what it opens belongs to that generation. */
type Route = (app: TemplatedApp, generation: () => Generation) => void;

/**
 * One App for plain HTTP. With TLS an App has its certificates for life: new ones come with a new App, which takes over
 * the port, while the older one goes on with the connections that it has (docs/transport.md, rule 25). Topics belong to
 * an App: what is published goes to all that hold connections.
 */
export class Apps {
  readonly #tls: TlsFiles | undefined;
  readonly #route: Route;
  /** Called with every new App. */
  readonly #made: (app: TemplatedApp) => void;
  #newest: Generation;
  /** The newest, and older ones while they hold connections. */
  readonly #live: Generation[];

  constructor(tls: TlsFiles | undefined, route: Route, made: (app: TemplatedApp) => void) {
    this.#tls = tls;
    this.#route = route;
    this.#made = made;
    this.#newest = this.#make();
    this.#live = [this.#newest];
  }

  get newest(): TemplatedApp {
    return this.#newest.app;
  }

  /**
   * Reads the files again, for new connections.
   * @param takeOver has the new App listen in the place of the old one
   * @throws when the files cannot be used, or `takeOver` throws; then nothing has changed
   */
  renew(takeOver: (app: TemplatedApp) => void): void {
    const before = this.#newest;
    const next = this.#make();
    takeOver(next.app);
    this.#newest = next;
    this.#live.push(next);
    this.#forget(before);
  }

  opened(generation: Generation): void {
    generation.sockets++;
    // An older one that was empty, whose handshake was still being checked.
    if (!this.#live.includes(generation)) this.#live.push(generation);
  }

  closed(generation: Generation): void {
    generation.sockets--;
    this.#forget(generation);
  }

  publish(topic: string, data: string | Uint8Array, encoding: Encoding): void {
    for (const { app } of this.#live) app.publish(topic, data, encoding === 'msgpack');
  }

  /** To the connections of all other generations. */
  publishBeside(own: Generation, topic: string, data: string | Uint8Array, encoding: Encoding): void {
    for (const generation of this.#live)
      if (generation !== own) generation.app.publish(topic, data, encoding === 'msgpack');
  }

  /** Ends whatever is open, without close frames. */
  close(): void {
    // A copy: the closing of connections takes older ones out of the list.
    for (const { app } of [...this.#live]) app.close();
  }

  #make(): Generation {
    const tls = this.#tls;
    // Routes name the generation before it is there; they are not called before it is.
    const route = (app: TemplatedApp) => this.#route(app, () => generation);
    const app = tls === undefined ? App() : secureApp(tls, route);
    const generation: Generation = { app, sockets: 0 };
    if (tls === undefined) route(app);
    this.#made(app);
    return generation;
  }

  #forget(generation: Generation): void {
    if (generation.sockets > 0 || generation === this.#newest) return;
    this.#live.splice(this.#live.indexOf(generation), 1);
  }
}
