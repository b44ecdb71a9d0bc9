/** A server that does what a test says, for what a healthy broker never does. It speaks chat.v1 through `ws`. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { type Client, type ConnectOptions, connect } from '../../src/client/index.ts';
import type {
  ClientFrame,
  EventFrame,
  JoinedFrame,
  ServerFrame,
  ServerInfoFrame,
} from '../../src/protocol/frames.ts';

const WAIT_MS = 3000;

type Of<Type extends ClientFrame['type']> = Extract<ClientFrame, { type: Type }>;

/** One connection, seen from the server. */
export class Peer {
  readonly socket: WebSocket;
  /** The subprotocols offered. */
  readonly offered: readonly string[];
  /** How many WebSocket messages brought frames other than pings. */
  messages = 0;
  /** false: pings of the client stay unanswered. */
  answersPings = true;
  readonly #frames: ClientFrame[] = [];
  #arrived: () => void = () => undefined;

  constructor(socket: WebSocket, offered: readonly string[]) {
    this.socket = socket;
    this.offered = offered;
    socket.on('message', (data) => this.#received(JSON.parse(String(data))));
  }

  #received(data: ClientFrame | ClientFrame[]): void {
    const frames = [data].flat();
    if (frames.some(({ type }) => type !== 'ping')) this.messages++;
    for (const frame of frames) {
      if (frame.type !== 'ping') this.#frames.push(frame);
      else if (this.answersPings) this.send({ type: 'pong', ts: frame.ts, now: 0 });
    }
    this.#arrived();
  }

  send(...frames: ServerFrame[]): void {
    this.socket.send(JSON.stringify(frames.length === 1 ? frames[0] : frames));
  }

  info(more: Partial<ServerInfoFrame> = {}): this {
    this.send({
      type: 'server_info',
      serverId: 'scripted',
      region: '',
      version: '0',
      maxFrame: 10_000,
      heartbeat: 30,
      session: 's',
      resumed: false,
      user: 'me',
      tenant: 'default',
      features: [],
      limits: { batch: 10 },
      reconnect: { minMs: 10, maxMs: 50 },
      ...more,
    });
    return this;
  }

  /** The next frame of this type; others before it fail the test. */
  async expect<Type extends ClientFrame['type']>(type: Type): Promise<Of<Type>> {
    const deadline = performance.now() + WAIT_MS;
    while (this.#frames.length === 0) {
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`no ${type} came`);
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
    const frame = this.#frames.shift() as ClientFrame;
    if (frame.type !== type) throw new Error(`${type} expected, got ${JSON.stringify(frame)}`);
    return frame as Of<Type>;
  }

  /** Frames that came and were not expected yet. */
  get unread(): readonly ClientFrame[] {
    return this.#frames;
  }

  /** Lets a join in and returns it. */
  async joins(more: Partial<JoinedFrame> = {}): Promise<Of<'join'>> {
    const frame = await this.expect('join');
    this.send(joined(frame, more));
    return frame;
  }
}

export function joined(frame: Of<'join'>, more: Partial<JoinedFrame> = {}): JoinedFrame {
  const { room, id = 0 } = frame;
  return {
    type: 'joined',
    room,
    id,
    epoch: 'e',
    seq: 0,
    durable: true,
    recovered: 'fresh',
    replay: 0,
    ...more,
  };
}

export function event(seq: number, prev = seq - 1, more: Partial<EventFrame> = {}): EventFrame {
  return { type: 'event', room: 'r', payload: seq, seq, prev, ts: 0, from: 'other', ...more };
}

export interface Scripted {
  readonly url: string;
  /** The next connection. */
  peer(): Promise<Peer>;
  /** No connection is accepted any more; those that are open stay. */
  stop(): void;
  /** A client that is closed when the test ends. */
  client(options?: Partial<ConnectOptions>): Client;
}

export async function scripted(t: TestContext): Promise<Scripted> {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    handleProtocols: (offered) => [...offered][0] ?? false,
  });
  await once(server, 'listening');
  const clients: Client[] = [];
  const peers: Peer[] = [];
  const waiting: ((peer: Peer) => void)[] = [];
  server.on('connection', (socket, request) => {
    const offered = String(request.headers['sec-websocket-protocol']).split(/, */);
    const peer = new Peer(socket, offered);
    const taker = waiting.shift();
    if (taker === undefined) peers.push(peer);
    else taker(peer);
  });
  t.after(() => {
    for (const client of clients) client.close();
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/connect`;
  return {
    url,
    peer: () => {
      const peer = peers.shift();
      return peer === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(peer);
    },
    stop: () => void server.close(),
    client: (options = {}) => {
      const made = connect(url, { token: 'tok', webSocket: WebSocket, ...options });
      clients.push(made);
      return made;
    },
  };
}

/** All values of one kind of event, as they come. */
export function record<Value>(on: (listener: (value: Value) => void) => unknown): Value[] {
  const values: Value[] = [];
  on((value) => values.push(value));
  return values;
}

/** Waits until something holds; fails with what was seen when it does not in time. */
export async function until(holds: () => boolean, what = 'it'): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${WAIT_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
