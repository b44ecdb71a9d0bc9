/** Just enough of RFC 6455 for a load generator: handshake, masked frames out, a frame walk in. */

export const TEXT = 1;
export const BINARY = 2;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

export function handshake({ path, host, port, protocol, token }) {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}:${port}`,
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  ];
  if (protocol !== undefined) lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
  if (token !== undefined) lines.push(`Authorization: Bearer ${token}`);
  return `${lines.join('\r\n')}\r\n\r\n`;
}

/** A client frame. The mask is zero, which is legal and spares the generator a pass over the payload. */
export function clientFrame(payload, opcode = TEXT) {
  const size = payload.length;
  if (size > 0xffff) throw new RangeError('the load generator sends no frame over 64 KiB');
  const head = Buffer.alloc(size < 126 ? 6 : 8);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | Math.min(size, 126);
  if (size >= 126) head.writeUInt16BE(size, 2);
  return Buffer.concat([head, payload]);
}

const PONG_FRAME = clientFrame(Buffer.alloc(0), PONG);

/**
 * Walks the frames of one connection without looking into them: what it costs is one header per frame, so that
 * thousands of connections fit beside the server under test. `wants` collects the payloads too.
 */
export class FrameWalker {
  frames = 0;
  bytes = 0;
  #left = 0;
  #opcode = 0;
  #size = 0;
  #head = Buffer.alloc(10);
  #headBytes = 0;
  #parts = [];
  #on;

  /** `on.frame(payload, opcode)` only where `wants`; `on.ping(pong)` has to send; `on.closed(code, reason)`. */
  constructor(on, wants = false) {
    this.#on = on;
    this.wants = wants;
  }

  reset() {
    this.frames = 0;
    this.bytes = 0;
  }

  push(chunk, end) {
    let at = 0;
    while (at < end) {
      if (this.#left > 0) at += this.#payload(chunk, at, end);
      else if (this.#headBytes === 0 && end - at >= 10) at += this.#begin(chunk, at);
      else this.#headByte(chunk[at++]);
    }
  }

  #payload(chunk, at, end) {
    const take = Math.min(this.#left, end - at);
    if (this.wants || this.#opcode >= CLOSE) this.#parts.push(Buffer.from(chunk.subarray(at, at + take)));
    this.#left -= take;
    if (this.#left === 0) this.#done();
    return take;
  }

  /** Near the end of a read a header may be cut anywhere. */
  #headByte(byte) {
    this.#head[this.#headBytes++] = byte;
    if (this.#headBytes < 2 || this.#headBytes !== headSize(this.#head[1])) return;
    this.#headBytes = 0;
    this.#begin(this.#head, 0);
  }

  #begin(from, at) {
    const first = from[at];
    if ((first & 0x80) === 0) throw new Error('a fragmented message: the servers under test send none');
    this.#opcode = first & 15;
    const short = from[at + 1];
    let size = short;
    if (short === 126) size = (from[at + 2] << 8) | from[at + 3];
    else if (short === 127) size = Number(from.readBigUInt64BE(at + 2));
    this.#size = size;
    this.#left = size;
    if (size === 0) this.#done();
    return headSize(short);
  }

  #done() {
    if (this.#opcode === TEXT || this.#opcode === BINARY) {
      this.frames++;
      this.bytes += this.#size;
      if (this.wants) this.#on.frame(this.#take(), this.#opcode);
    } else if (this.#opcode === PING) {
      this.#take();
      this.#on.ping(PONG_FRAME);
    } else if (this.#opcode === CLOSE) {
      const body = this.#take();
      this.#on.closed(body.length >= 2 ? body.readUInt16BE(0) : 1005, body.subarray(2).toString());
    } else {
      this.#take();
    }
  }

  #take() {
    const parts = this.#parts;
    if (parts.length === 0) return Buffer.alloc(0);
    this.#parts = [];
    return parts.length === 1 ? parts[0] : Buffer.concat(parts);
  }
}

function headSize(second) {
  if (second < 126) return 2;
  return second === 126 ? 4 : 10;
}
