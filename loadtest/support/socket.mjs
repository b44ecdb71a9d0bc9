import { connect } from 'node:net';
import { clientFrame, FrameWalker, handshake, TEXT } from './wire.mjs';

/** One buffer for all sockets: libuv reads into it and calls back before the next read. */
const shared = Buffer.alloc(256 * 1024);
const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * A raw WebSocket client for load: no parsing beyond frame headers unless `wants` is set.
 * `closed(text)` is called once, however the connection ends.
 */
export class LoadSocket {
  walker;
  #socket;
  #open;
  #head = Buffer.alloc(0);
  #upgraded = false;
  #frame;
  #closed;
  #activity;
  #ended = false;

  /** `activity` is called after every read. */
  constructor(address, { closed, frame, activity }) {
    this.#closed = closed;
    this.#frame = frame;
    this.#activity = activity;
    this.walker = new FrameWalker({
      frame: (payload, opcode) => this.#frame?.(payload, opcode, this),
      ping: (pong) => this.#socket.write(pong),
      closed: (code, reason) => this.#lost(`closed by the server: ${code} ${reason}`),
    });
    this.address = address;
  }

  /** Resolves when the server has answered 101. */
  open() {
    const { host, port, localAddress } = this.address;
    return new Promise((resolve, reject) => {
      this.#open = { resolve, reject };
      this.#socket = connect({
        host,
        port,
        ...(localAddress === undefined ? {} : { localAddress }),
        noDelay: true,
        onread: {
          buffer: shared,
          callback: (size, buffer) => {
            this.#read(buffer, size);
            return true;
          },
        },
      });
      this.#socket.on('connect', () => this.#socket.write(handshake(this.address)));
      this.#socket.on('error', (error) => this.#lost(error.message));
      this.#socket.on('close', () => this.#lost('connection closed'));
    });
  }

  /** Replaces the receiver of frames. */
  onFrame(frame) {
    this.#frame = frame;
  }

  /** Sends text as one frame, or bytes that already are frames. */
  send(data) {
    this.#socket.write(typeof data === 'string' ? clientFrame(Buffer.from(data), TEXT) : data);
  }

  /** From here on the kernel keeps what comes, as much as it takes. */
  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  end() {
    this.#ended = true;
    this.#socket.destroy();
  }

  #read(buffer, size) {
    if (this.#upgraded) {
      this.walker.push(buffer, size);
      this.#activity?.();
      return;
    }
    this.#head = Buffer.concat([this.#head, buffer.subarray(0, size)]);
    const end = this.#head.indexOf(HEAD_END);
    if (end < 0) return;
    const head = this.#head.subarray(0, end).toString('latin1');
    if (!head.startsWith('HTTP/1.1 101')) {
      this.#lost(`upgrade refused: ${head.split('\r\n')[0]} ${this.#head.subarray(end + 4)}`);
      return;
    }
    this.#upgraded = true;
    this.#open.resolve(this);
    const rest = this.#head.subarray(end + 4);
    this.#head = Buffer.alloc(0);
    if (rest.length > 0) this.walker.push(rest, rest.length);
  }

  #lost(why) {
    if (this.#ended) return;
    this.end();
    if (this.#upgraded) this.#closed(why);
    else this.#open.reject(new Error(why));
  }
}
