/**
 * A client that knows the specification and nothing of the code: a plain WebSocket, JSON or MessagePack from a
 * library of its own. Every frame that it receives is held against the fields that docs/protocol.md names.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import type { JWTPayload } from 'jose';
import { Packr } from 'msgpackr';
import { WebSocket } from 'ws';
import { type BrokerOptions, type RunningBroker, startBroker } from '../../support/broker.ts';
import { misshapen } from './spec.ts';

export const ENCODINGS = ['json', 'msgpack'] as const;
export type Encoding = (typeof ENCODINGS)[number];

export interface Member {
  readonly user: string;
  readonly info?: unknown;
  readonly connections: number;
}

/** Every field that some frame of the server has. Which are there is for the tests to find out. */
export interface Frame {
  readonly type: string;
  readonly room: string;
  readonly id: string | number;
  readonly seq: number;
  readonly prev: number;
  readonly epoch: string;
  readonly payload: unknown;
  readonly from: string;
  readonly to: number;
  readonly ts: number;
  readonly msgId: string;
  readonly key: string;
  readonly ephemeral: boolean;
  readonly expireMs: number;
  readonly duplicate: boolean;
  readonly durable: boolean;
  readonly recovered: string;
  readonly replay: number;
  readonly unread: number;
  readonly members: readonly Member[];
  readonly joined: readonly Member[];
  readonly left: readonly string[];
  readonly count: number;
  readonly mode: string;
  readonly events: readonly Frame[];
  readonly more: boolean;
  readonly truncated: boolean;
  readonly code: string;
  readonly reason: string;
  readonly action: string;
  readonly retry: boolean;
  readonly limit: number;
  readonly used: number;
  readonly retryAfterMs: number;
  readonly exp: number;
  readonly now: number;
  readonly user: string;
  readonly tenant: string;
  readonly session: string;
  readonly resumed: boolean;
  readonly last: { readonly code: number; readonly reason: string; readonly at: number };
  readonly ticket: string;
  readonly ticketTtl: number;
  readonly maxFrame: number;
  readonly heartbeat: number;
  readonly limits: Readonly<Record<string, number>>;
  readonly reconnect: { readonly minMs: number; readonly maxMs: number };
  readonly features: readonly string[];
  readonly traceparent: string;
  readonly serverId: string;
  readonly path: string;
  readonly warning: { readonly code: string; readonly reason: string; readonly path: string };
}

export type Request = { readonly type: string } & Readonly<Record<string, unknown>>;

export interface Message {
  readonly bytes: Buffer;
  readonly isBinary: boolean;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

export interface ConnectOptions {
  readonly encoding?: Encoding;
  /** Added to a token for a user of its own who may do everything everywhere. */
  readonly claims?: JWTPayload;
  readonly token?: string;
  /** In the place of a token. */
  readonly ticket?: string;
}

const WAIT_MS = 15_000;
const SUBPROTOCOL = { json: 'chat.v1', msgpack: 'chat.v1.msgpack' } as const;

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

export function pack(value: unknown): Buffer {
  // A copy: the packer's buffer is reused.
  return Buffer.from(packr.pack(value));
}

export class Client {
  readonly encoding: Encoding;
  readonly socket: WebSocket;
  /** All messages received, as they came. */
  readonly messages: Message[] = [];
  /** Frames of the type ticket, which may come at any time and are not among the others. */
  readonly tickets: Frame[] = [];
  readonly closed: Promise<Closed>;
  info = {} as Frame;
  readonly #frames: Frame[] = [];
  #wake: () => void = () => {};
  #ending: Closed | undefined;
  /** What the socket said before its end: how it ended is for the tests to judge. */
  #error: Error | undefined;
  #fault: Error | undefined;
  #ids = 0;

  private constructor(url: string, credential: { token: string } | { ticket: string }, encoding: Encoding) {
    this.encoding = encoding;
    this.socket =
      'ticket' in credential
        ? new WebSocket(url, [SUBPROTOCOL[encoding], `ticket.${credential.ticket}`])
        : new WebSocket(url, SUBPROTOCOL[encoding], {
            headers: { Authorization: `Bearer ${credential.token}` },
          });
    this.socket.on('message', (data, isBinary) => this.#received(data as Buffer, isBinary));
    this.closed = new Promise((resolve) => {
      this.socket.once('close', (code, reason) => {
        this.#ending = { code, reason: reason.toString() };
        this.#wake();
        resolve(this.#ending);
      });
    });
  }

  /** Connected, and `server_info` read. */
  static async connect(
    url: string,
    credential: { token: string } | { ticket: string },
    encoding: Encoding = 'json',
  ): Promise<Client> {
    const client = new Client(url, credential, encoding);
    await once(client.socket, 'open');
    // What the server cuts off is seen in `closed`.
    client.socket.on('error', (error) => {
      client.#error = error;
    });
    client.info = await client.expect('server_info');
    return client;
  }

  /** One frame, or a batch. */
  send(frames: Request | readonly unknown[]): void {
    this.socket.send(this.encoding === 'json' ? JSON.stringify(frames) : pack(frames));
  }

  sendRaw(data: string | Uint8Array, binary = typeof data !== 'string'): void {
    this.socket.send(data, { binary });
  }

  /** The next frame. */
  async next(): Promise<Frame> {
    await this.#until(() => this.#frames.length > 0);
    return this.#frames.shift() as Frame;
  }

  /** The next frame, which has to be of this type and have these fields. */
  async expect(type: string, fields: Readonly<Record<string, unknown>> = {}): Promise<Frame> {
    const frame = await this.next();
    assert.equal(frame.type, type, `a frame of the type ${type} is due, came: ${JSON.stringify(frame)}`);
    matches(frame, fields);
    return frame;
  }

  /** The frames up to the first of this type, that one included. */
  async until(type: string, fields: Readonly<Record<string, unknown>> = {}): Promise<Frame[]> {
    const frames: Frame[] = [];
    for (;;) {
      const frame = await this.next();
      frames.push(frame);
      if (
        frame.type === type &&
        Object.entries(fields).every(([name, value]) => frame[name as keyof Frame] === value)
      )
        return frames;
    }
  }

  /** Sends a request; the answer, by its `id`, is taken out of the order, whatever else came before it stays. */
  async ask(request: Request, type?: string): Promise<Frame> {
    const { id = `ask-${++this.#ids}` } = request;
    this.send({ ...request, id });
    let at = -1;
    await this.#until(() => {
      at = this.#frames.findIndex((frame) => frame.id === id);
      return at >= 0;
    });
    const [answer] = this.#frames.splice(at, 1) as [Frame];
    if (type !== undefined) assert.equal(answer.type, type, JSON.stringify(answer));
    return answer;
  }

  join(room: string, extra: Readonly<Record<string, unknown>> = {}): Promise<Frame> {
    return this.ask({ type: 'join', room, ...extra }, 'joined');
  }

  pub(room: string, payload: unknown, extra: Readonly<Record<string, unknown>> = {}): Promise<Frame> {
    return this.ask({ type: 'pub', room, payload, ...extra }, 'ack');
  }

  history(room: string, extra: Readonly<Record<string, unknown>> = {}): Promise<Frame> {
    return this.ask({ type: 'history', room, ...extra }, 'history');
  }

  /** Sends a request that has to be refused with this code; the `id` is echoed. */
  async refused(request: Request, code: string): Promise<Frame> {
    const answer = await this.ask(request, 'error');
    assert.equal(answer.code, code, JSON.stringify(answer));
    return answer;
  }

  /**
   * All that has come when everything that was under way at the server has been answered. Two round trips: a
   * `pong` may overtake the answers of the server's present turn, not those of the one before.
   */
  async fence(): Promise<Frame[]> {
    const frames: Frame[] = [];
    for (const ts of ['fence 1', 'fence 2']) {
      this.send({ type: 'ping', ts });
      frames.push(...(await this.until('pong', { ts })).slice(0, -1));
    }
    return frames;
  }

  async quiet(): Promise<void> {
    assert.deepEqual(await this.fence(), [], 'nothing is due');
  }

  async close(): Promise<Closed> {
    this.socket.close();
    return this.closed;
  }

  #received(bytes: Buffer, isBinary: boolean): void {
    this.messages.push({ bytes, isBinary });
    try {
      assert.equal(isBinary, this.encoding === 'msgpack', 'the kind of a message');
      const value: unknown = isBinary ? packr.unpack(bytes) : JSON.parse(bytes.toString());
      const frames = (Array.isArray(value) ? value : [value]) as Frame[];
      assert.ok(frames.length > 0, 'an array without frames');
      for (const frame of frames) check(frame);
      for (const frame of frames) if (frame.type === 'ticket') this.tickets.push(frame);
      this.#frames.push(...frames.filter(({ type }) => type !== 'ticket'));
    } catch (error) {
      this.#fault ??= error as Error;
    }
    this.#wake();
  }

  async #until(done: () => boolean): Promise<void> {
    const deadline = performance.now() + WAIT_MS;
    while (!done()) {
      if (this.#fault !== undefined) throw this.#fault;
      const waiting = `waiting: ${JSON.stringify(this.#frames.slice(0, 5)).slice(0, 2000)}`;
      if (this.#ending !== undefined)
        throw new Error(`closed with ${this.#ending.code} ${this.#ending.reason}; ${waiting}`, {
          cause: this.#error,
        });
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`nothing came in ${WAIT_MS} ms; ${waiting}`);
      await new Promise<void>((resolve) => {
        const late = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(late);
          resolve();
        };
      });
    }
    if (this.#fault !== undefined) throw this.#fault;
  }
}

function check(frame: Frame): void {
  const fault = misshapen(frame as unknown as Record<string, unknown>);
  assert.equal(fault, undefined, `${fault}: ${JSON.stringify(frame).slice(0, 500)}`);
  if (frame.type === 'history') for (const event of frame.events) check(event);
}

/** The frame has these fields with these values; undefined: it does not have the field. */
export function matches(frame: Frame, fields: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(fields))
    assert.deepEqual(frame[name as keyof Frame], value, `"${name}" of ${JSON.stringify(frame)}`);
}

export interface Suite {
  readonly broker: RunningBroker;
  connect(options?: ConnectOptions): Promise<Client>;
}

let names = 0;

/** A name that no other test of the file uses. */
export function fresh(prefix = 'room'): string {
  return `${prefix}-${++names}`;
}

/** One broker for a file. When its tests are through, it has to be as healthy as at the start. */
export function suite(options?: BrokerOptions): Suite {
  let broker: RunningBroker | undefined;
  const clients: Client[] = [];
  const running = (): RunningBroker => {
    if (broker === undefined) throw new Error('the broker runs within tests only');
    return broker;
  };
  before(async () => {
    broker = await startBroker(options);
  });
  after(async () => {
    if (broker === undefined) return;
    await Promise.all(clients.map((client) => client.close()));
    try {
      await healthy(running());
    } finally {
      const exit = await running().stop();
      assert.deepEqual(exit, { code: 0, signal: null }, running().logs.slice(-20).join('\n'));
    }
  });
  return {
    get broker() {
      return running();
    },
    connect: async ({ encoding, claims, token, ticket } = {}) => {
      const signed = token ?? (await running().token({ sub: fresh('user'), ...claims }));
      const credential = ticket === undefined ? { token: signed } : { ticket };
      const client = await Client.connect(running().url, credential, encoding);
      clients.push(client);
      return client;
    },
  };
}

/** The same test for both encodings. */
export function both(title: string, body: (encoding: Encoding) => Promise<void>): void {
  for (const encoding of ENCODINGS) test(`${title} (${encoding})`, { timeout: 30_000 }, () => body(encoding));
}

/** The samples of /metrics by name and labels, as they are printed. */
export async function metrics(broker: RunningBroker): Promise<ReadonlyMap<string, number>> {
  const answer = await fetch(`${broker.adminUrl}/metrics`);
  assert.equal(answer.status, 200);
  const lines = (await answer.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(' ');
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

/** The process lives, has let go of every connection, and has nothing to be ashamed of in its log. */
export async function healthy(broker: RunningBroker): Promise<void> {
  for (const probe of ['livez', 'startupz'])
    assert.equal((await fetch(`${broker.adminUrl}/${probe}`)).status, 200, probe);
  await settled(async () => {
    const samples = await metrics(broker);
    for (const name of ['carillon_connections', 'carillon_memberships', 'carillon_rooms'])
      assert.equal(samples.get(name), 0, name);
    assert.equal(samples.get('carillon_errors_total{code="internal"}'), 0);
    for (const [name, value] of samples) assert.ok(value >= 0, `${name} ${value}`);
  });
  const grave = broker.logs.filter((line) => /"level":(50|60)|"level":"(error|fatal)"/.test(line));
  assert.deepEqual(grave, [], 'nothing in the log at error or above');
}

/** Tries until it holds: for what another socket's close brings about. */
export async function settled(attempt: () => Promise<void> | void, ms = 5000): Promise<void> {
  const deadline = performance.now() + ms;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
