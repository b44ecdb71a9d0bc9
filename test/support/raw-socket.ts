/**
 * A client that may say anything: HTTP text and WebSocket frames over plain TCP, legal or not. No WebSocket
 * library sends what these tests need.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A list sends the header once per entry; undefined leaves it out. */
export type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface Handshake {
  readonly method?: string;
  readonly path?: string;
  readonly version?: string;
  readonly headers?: Headers | undefined;
}

/** The key and its answer of RFC 6455 section 1.3. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
export const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=';

const HEADERS: Headers = {
  Host: 'broker.test',
  Upgrade: 'websocket',
  Connection: 'Upgrade',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': KEY,
  'Sec-WebSocket-Protocol': 'chat.v1',
  Authorization: 'Bearer known.user',
};

export function handshakeText({
  method = 'GET',
  path = '/connect',
  version = 'HTTP/1.1',
  headers = {},
}: Handshake = {}): string {
  const lines = Object.entries({ ...HEADERS, ...headers }).flatMap(([name, value]) => {
    if (value === undefined) return [];
    return [value].flat().map((each) => `${name}: ${each}\r\n`);
  });
  return `${method} ${path} ${version}\r\n${lines.join('')}\r\n`;
}

export interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

export interface FrameOptions {
  readonly opcode?: number;
  readonly payload?: string | Uint8Array;
  readonly fin?: boolean;
  /** The three reserved bits, as in the first byte: 0x40, 0x20, 0x10. */
  readonly rsv?: number;
  readonly masked?: boolean;
  /** Bytes of the length field; chosen by the length unless given. */
  readonly lengthBytes?: 0 | 2 | 8;
  /** What the header claims instead of the true length. */
  readonly claim?: number | bigint;
}

const MASK = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);

/** The bytes of one client frame. */
export function frame(options: FrameOptions = {}): Buffer {
  const { opcode = OPCODE.text, fin = true, rsv = 0, masked = true } = options;
  const payload = Buffer.from(options.payload ?? '');
  const length = BigInt(options.claim ?? payload.length);
  const lengthBytes = options.lengthBytes ?? (length < 126n ? 0 : length < 65_536n ? 2 : 8);
  const head = Buffer.alloc(2 + lengthBytes);
  head[0] = (fin ? 0x80 : 0) | rsv | opcode;
  head[1] = (masked ? 0x80 : 0) | (lengthBytes === 0 ? Number(length) : lengthBytes === 2 ? 126 : 127);
  if (lengthBytes === 2) head.writeUInt16BE(Number(length), 2);
  if (lengthBytes === 8) head.writeBigUInt64BE(length, 2);
  if (!masked) return Buffer.concat([head, payload]);
  return Buffer.concat([head, MASK, payload.map((byte, at) => byte ^ (MASK[at % 4] as number))]);
}

export function closeFrame(code: number, reason = ''): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  return frame({ opcode: OPCODE.close, payload });
}

export interface Received {
  readonly fin: boolean;
  readonly opcode: number;
  readonly payload: Buffer;
}

/** How the server's side of the connection ended. */
export type Ending = 'open' | 'fin' | 'reset';

const DEADLINE_MS = 15_000;

export class RawSocket {
  readonly socket: Socket;
  #bytes = Buffer.alloc(0);
  #ending: Ending = 'open';
  /** Bytes received in all. */
  received = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (data) => {
      this.received += data.length;
      this.#bytes = Buffer.concat([this.#bytes, data]);
    });
    socket.on('end', () => this.#end('fin'));
    socket.on('error', () => this.#end('reset'));
    socket.on('close', () => this.#end('fin'));
  }

  /** A TCP connection. Rejects when it is refused. */
  static async open(port: number, host = '127.0.0.1'): Promise<RawSocket> {
    const socket = connect({ port, host, noDelay: true });
    await once(socket, 'connect');
    return new RawSocket(socket);
  }

  /** A WebSocket; throws when the server does not answer 101. */
  static async upgraded(port: number, handshake?: Handshake): Promise<RawSocket> {
    const raw = await RawSocket.open(port);
    raw.send(handshakeText(handshake));
    const answer = await raw.answer();
    if (answer.status !== 101) throw new Error(`handshake answered ${answer.status}: ${answer.body}`);
    return raw;
  }

  get ending(): Ending {
    return this.#ending;
  }

  send(data: string | Uint8Array): void {
    if (!this.socket.destroyed) this.socket.write(data);
  }

  /** Sends text as a WebSocket message. */
  say(text: string): void {
    this.send(frame({ payload: text }));
  }

  /** One HTTP answer with its body. */
  async answer(): Promise<Answer> {
    await this.#until(() => this.#bytes.includes('\r\n\r\n'), 'an HTTP answer');
    const end = this.#bytes.indexOf('\r\n\r\n');
    const [first = '', ...lines] = this.#take(end + 4)
      .toString('latin1')
      .trimEnd()
      .split('\r\n');
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    const length = Number(headers.get('content-length') ?? 0);
    await this.#until(() => this.#bytes.length >= length, 'the body of an HTTP answer');
    return { status: Number(first.split(' ')[1]), headers, body: this.#take(length).toString() };
  }

  /** What has come and was not taken yet, as text; waits for something. */
  async peek(): Promise<string> {
    await this.#until(() => this.#bytes.length > 0, 'an answer');
    return this.#bytes.toString('latin1');
  }

  /** The next frame of the server; undefined when the connection ends before a whole one. */
  async frame(): Promise<Received | undefined> {
    let found = readFrame(this.#bytes);
    while (found === undefined && this.#ending === 'open') {
      const before = this.received;
      await this.#until(() => this.received > before || this.#ending !== 'open', 'a frame');
      found = readFrame(this.#bytes);
    }
    if (found !== undefined) this.#take(found.length);
    return found;
  }

  /** The text of the next message. */
  async text(): Promise<string> {
    const received = await this.frame();
    if (received === undefined) throw new Error(`no message: the connection ended (${this.#ending})`);
    return received.payload.toString();
  }

  /** The next message as a JSON object. */
  async json(): Promise<Record<string, unknown>> {
    return JSON.parse(await this.text());
  }

  /** Code and reason of the close frame, other frames passed over; undefined when the connection just ended. */
  async closing(): Promise<{ code: number; reason: Buffer } | undefined> {
    for (let next = await this.frame(); next !== undefined; next = await this.frame()) {
      if (next.opcode !== OPCODE.close) continue;
      const code = next.payload.length < 2 ? 1005 : next.payload.readUInt16BE();
      return { code, reason: next.payload.subarray(2) };
    }
    return undefined;
  }

  /** Resolves when the server has ended the connection; rejects when it has not within the time. */
  async ended(ms = DEADLINE_MS): Promise<Ending> {
    await this.#until(() => this.#ending !== 'open', 'the end of the connection', ms);
    return this.#ending;
  }

  /** Leaves with a TCP reset, where that is still possible: after a shutdown Node would never let the socket go. */
  reset(): void {
    if (this.socket.writableEnded) this.socket.destroy();
    else this.socket.resetAndDestroy();
  }

  destroy(): void {
    this.socket.destroy();
  }

  #end(how: Ending): void {
    if (this.#ending === 'open') this.#ending = how;
    this.socket.emit('progress');
  }

  #take(length: number): Buffer {
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }

  async #until(done: () => boolean, what: string, ms = DEADLINE_MS): Promise<void> {
    const deadline = performance.now() + ms;
    while (!done()) {
      if (this.#ending !== 'open')
        throw new Error(`${what} expected, but the connection ended (${this.#ending})`);
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`${what} expected, but nothing came in ${ms} ms`);
      await this.#progress(left);
    }
  }

  /** Resolves when something arrived or ended, or after the time. */
  #progress(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.socket.off('data', done);
        this.socket.off('progress', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.socket.on('data', done);
      this.socket.on('progress', done);
    });
  }
}

function readFrame(bytes: Buffer): (Received & { readonly length: number }) | undefined {
  if (bytes.length < 2) return undefined;
  const [first, second] = bytes as unknown as [number, number];
  const short = second & 0x7f;
  const head = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < head) return undefined;
  const size =
    short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  if (bytes.length < head + size) return undefined;
  return {
    fin: (first & 0x80) !== 0,
    opcode: first & 0x0f,
    payload: Buffer.from(bytes.subarray(head, head + size)),
    length: head + size,
  };
}
