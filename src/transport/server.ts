import type { TemplatedApp, WebSocket } from 'uWebSockets.js';
import type { PassedIdentity } from '../broker/exclusion/gate.ts';
import type { Connection, Defer, Fanout, Log, Peer, Resumption } from '../broker/ports.ts';
import type { Limits } from '../broker/settings.ts';
import type { Tally } from '../broker/tally.ts';
import type { WebAnswer, WebHandler } from '../broker/web.ts';
import { CLOSE_CODES } from '../protocol/codes.ts';
import type { Encoding } from '../protocol/frames.ts';
import { Apps, type Generation } from './apps.ts';
import { Compression, type CompressionSettings, NO_COMPRESSION } from './compression.ts';
import type { SocketData, UwsConnection } from './connection.ts';
import { CorkHolder } from './cork.ts';
import type { HandshakePolicy } from './handshake.ts';
import { serveHttp } from './http.ts';
import { InboundShares } from './inbound.ts';
import { Listener } from './listener.ts';
import { Networks } from './networks.ts';
import { Pace } from './pace.ts';
import type { TarpitSettings } from './tarpit.ts';
import type { TlsFiles } from './tls.ts';
import { type Admitted, type HandshakeGate, type UpgradeParts, Upgrades } from './upgrade.ts';

export interface TransportParts {
  readonly host: string;
  readonly port: number;
  /** Other processes listen on the port as well. */
  readonly shared?: boolean;
  /** Absent: plain HTTP. */
  readonly tls?: TlsFiles | undefined;
  readonly policy: HandshakePolicy;
  readonly proxyHops: number;
  readonly idleSeconds: number;
  /** Absent: off. */
  readonly compression?: CompressionSettings;
  readonly limits: Limits;
  readonly tarpit: TarpitSettings;
  readonly tally: Tally;
  readonly log: Log;
  readonly defer: Defer;
  readonly nowMs: () => number;
  /** What stands beside `/connect`. */
  readonly web: WebHandler;
}

/** Gives every admitted connection its session. */
export type Accept = (connection: Connection, identity: PassedIdentity, resumes?: Resumption) => Peer;

/** Decides whether there is a place for a verified client. */
export type Admit = UpgradeParts['admit'];

/** What has to be asked of other nodes before that; undefined: nothing. */
export type Inquire = UpgradeParts['inquire'];

/** What to wait for where there is no place for the tenant's client; undefined: it is refused at once. */
export type AwaitPlace = UpgradeParts['awaitPlace'];

/**
 * The public listener: uWebSockets.js behind the rules of docs/transport.md. Nothing outside this folder
 * knows of it.
 */
export class Transport implements Fanout {
  readonly #parts: TransportParts;
  readonly #apps: Apps;
  readonly #shares: InboundShares;
  readonly #pace: Pace;
  readonly #compression: Compression;
  readonly #listener: Listener;
  #draining = false;
  readonly #cork = new CorkHolder();
  #accept: Accept | undefined;
  #gate: HandshakeGate | undefined;
  #admit: Admit = () => undefined;
  #inquire: Inquire = () => undefined;
  #awaitPlace: AwaitPlace = () => undefined;
  readonly #networks: Networks;

  constructor(parts: TransportParts) {
    this.#parts = parts;
    this.#networks = new Networks(parts.limits.address);
    this.#shares = new InboundShares(parts.limits, parts.defer, parts.tally, parts.nowMs, parts.log);
    this.#pace = new Pace({
      ...parts,
      turnMs: parts.limits.upgradeTurnMs,
      waiting: parts.limits.waitingUpgrades,
    });
    this.#compression = new Compression(parts.compression ?? NO_COMPRESSION, parts.tally, parts.log);
    // Room for the connections, and for plain HTTP requests beside them.
    const sharing = { movable: parts.tls !== undefined, shared: parts.shared === true };
    const { connections, plainSockets } = parts.limits;
    this.#listener = new Listener(connections + plainSockets, { ...parts, ...sharing });
    this.#apps = new Apps(
      parts.tls,
      (app, generation) => this.#route(app, generation),
      (app) => this.#listener.count(app),
    );
  }

  #route(app: TemplatedApp, generation: () => Generation): void {
    const { web, log, tls, proxyHops } = this.#parts;
    // First of all routes: publishing on an App without a WebSocket route crashes the process (rule 5).
    app.ws<Admitted>('/connect', this.#behavior(generation));
    serveHttp(app, (request) => (request.path === '/connect' ? NOT_A_HANDSHAKE : web(request)), {
      log,
      certified: tls?.clientCert === 'require',
      proxyHops,
      sockets: this.#listener,
    });
  }

  /** The address it listens on, with the real port. Rejects when it cannot be had. */
  async listen(
    accept: Accept,
    gate: HandshakeGate,
    admit = this.#admit,
    inquire = this.#inquire,
    awaitPlace = this.#awaitPlace,
  ): Promise<string> {
    this.#accept = accept;
    this.#gate = gate;
    this.#admit = admit;
    this.#inquire = inquire;
    this.#awaitPlace = awaitPlace;
    const { host, port, log } = this.#parts;
    await this.#cork
      .open()
      .catch((error: unknown) => log.warn({ err: error }, 'upgrades will print warnings'));
    const real = await this.#listener.listen(this.#apps.newest, host, port).catch((error: unknown) => {
      this.#cork.close();
      throw error;
    });
    return `${host.includes(':') ? `[${host}]` : host}:${real}`;
  }

  /** New connections are refused by the kernel from now on, handshakes under way by us; the others live on. */
  stopAccepting(): void {
    this.#draining = true;
    this.#listener.stop();
  }

  /** Ends whatever is still open, without close frames. */
  close(): void {
    this.stopAccepting();
    this.#apps.close();
    this.#cork.close();
  }

  /** How late the loop has been of late (p99, milliseconds): it decides whether anything is compressed. */
  observeLag(lagMs: number): void {
    this.#compression.observe(lagMs);
  }

  /**
   * Reads the TLS files again: new connections get the new certificates, those that are there stay.
   * @throws when the files cannot be used; then nothing has changed
   */
  renewCertificates(): void {
    this.#apps.renew((app) => this.#listener.move(app));
  }

  /** Never compressed: each subscriber would be deflated separately (docs/transport.md, rule 23). */
  publish(topic: string, data: string | Uint8Array, encoding: Encoding): void {
    this.#apps.publish(topic, data, encoding);
  }

  publishExcept(skip: Connection, topic: string, data: string | Uint8Array, encoding: Encoding): void {
    const publisher = skip as UwsConnection;
    // A publisher that has closed, or left its last topic, cannot publish; nor is it there to be skipped.
    const { generation } = publisher;
    if (generation === undefined || !publisher.subscribedTo(topic))
      return this.publish(topic, data, encoding);
    publisher.publish(topic, data, encoding);
    this.#apps.publishBeside(generation, topic, data, encoding);
  }

  #behavior(generation: () => Generation) {
    const { limits, idleSeconds, log, tls } = this.#parts;
    const upgrades = new Upgrades({
      ...this.#parts,
      compression: this.#compression,
      certified: tls?.clientCert === 'require',
      draining: () => this.#draining,
      networks: this.#networks,
      plain: this.#listener.plain,
      pace: this.#pace,
      gate: () => {
        if (this.#gate === undefined) throw new Error('a handshake before the transport listens');
        return this.#gate;
      },
      inquire: (identity, resumes) => this.#inquire(identity, resumes),
      admit: (identity, resumes, elsewhere) => this.#admit(identity, resumes, elsewhere),
      awaitPlace: (identity, ms) => this.#awaitPlace(identity, ms),
      besideCork: (task) => this.#cork.hold(task),
    });
    return {
      // Shared: a window of its own would cost each connection 75 KB. What is compressed is decided per message.
      compression: this.#compression.enabled ? SHARED_COMPRESSOR : DISABLED,
      // Of a compressed message this is the inflated length. Above our own limit, so that a frame a little too long gets an answer. uWS gives none: it just closes.
      maxPayloadLength: limits.frameBytes * 2,
      maxBackpressure: limits.bufferedHardBytes,
      idleTimeout: idleSeconds,
      sendPingsAutomatically: true,
      maxLifetime: 0,
      closeOnBackpressureLimit: false,
      upgrade: upgrades.handle.bind(upgrades),
      open: (socket: WebSocket<Admitted>) => guarded(log, () => this.#opened(socket, generation())),
      message: (socket: WebSocket<Admitted>, data: ArrayBuffer, isBinary: boolean) =>
        guarded(log, () => this.#shares.receive(socket.getUserData().connection, data, isBinary)),
      ping: (socket: WebSocket<Admitted>) =>
        guarded(log, () => this.#shares.control(socket.getUserData().connection)),
      pong: (socket: WebSocket<Admitted>) =>
        guarded(log, () => this.#shares.control(socket.getUserData().connection)),
      drain: (socket: WebSocket<Admitted>) =>
        guarded(log, () => socket.getUserData().connection.peer?.drained()),
      dropped: (socket: WebSocket<Admitted>) => this.#dropped(socket.getUserData()),
      close: (socket: WebSocket<Admitted>, code: number, reason: ArrayBuffer) =>
        guarded(log, () => this.#closed(socket.getUserData().connection, generation(), code, reason)),
    };
  }

  #opened(socket: WebSocket<Admitted>, generation: Generation): void {
    const { connection, identity, resumes } = socket.getUserData();
    connection.opened(socket, generation);
    this.#apps.opened(generation);
    this.#networks.opened(connection.address);
    try {
      connection.peer = this.#accept?.(connection, identity, resumes);
    } catch (error) {
      // Without a session the connection would answer nothing and, pinged by uWS, live for ever.
      this.#parts.log.error({ err: error }, 'session failed');
      connection.end(1011, 'the server failed');
    }
  }

  #closed(connection: UwsConnection, generation: Generation, received: number, text: ArrayBuffer): void {
    const code = causeOf(received, text, connection.ending !== undefined);
    connection.gone();
    this.#apps.closed(generation);
    this.#listener.webSocketClosed();
    this.#networks.closed(connection.address);
    const timedOut = code === HEARTBEAT_TIMEOUT.code;
    connection.peer?.closed(code, timedOut ? HEARTBEAT_TIMEOUT.meaning : connection.ending);
  }

  /**
   * uWS dropped bytes for this socket, and reports fewer losses than there were. Closing in here, or in a
   * microtask, crashes the process (rule 1): so the connection is marked and ended in the next phase.
   */
  #dropped({ connection }: SocketData): void {
    if (!connection.markLost()) return;
    this.#parts.tally.slowConsumer('dropped');
    this.#parts.defer(() => connection.end(4102, 'reads too slowly: resume from the last position'));
  }
}

/** uWebSockets.js's values of `compression`; its types have them as types only. */
const DISABLED = 0;
const SHARED_COMPRESSOR = 1;

const NOT_A_HANDSHAKE: WebAnswer = {
  status: 426,
  headers: { 'Content-Type': 'application/json', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13' },
  body: JSON.stringify({
    code: 'bad_request',
    reason:
      'this address takes WebSocket handshakes: GET with Upgrade, Sec-WebSocket-Key and Sec-WebSocket-Protocol: chat.v1',
  }),
};

/** An exception here would reach uncaughtException: one connection's trouble must not become everybody's. */
function guarded(log: Log, run: () => void): void {
  try {
    run();
  } catch (error) {
    log.error({ err: error }, 'socket callback failed');
  }
}

const HEARTBEAT_TIMEOUT = CLOSE_CODES.heartbeat_timeout;
/** 1006 of its own accord, with these words, when nothing was received for idleTimeout (docs/transport.md). */
const IDLE = Buffer.from('WebSocket timed out from inactivity');

/** The code of a client's own close frame says what the client likes: with 4009 it would pass for kicked. */
const CLIENT_OWN = 4999;

function causeOf(code: number, text: ArrayBuffer, endedHere: boolean): number {
  if (endedHere) return code;
  if (code === 1006 && IDLE.equals(new Uint8Array(text))) return HEARTBEAT_TIMEOUT.code;
  return code >= 4000 ? CLIENT_OWN : code;
}
