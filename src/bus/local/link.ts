/**
 * A stream between a worker and the hub that carries messages in order: one write for all that a turn of the loop has
 * to say, MessagePack values behind the length of the whole.
 */
import type { Socket } from 'node:net';
import { Packr } from 'msgpackr';
import type { Talk } from './wire.ts';

/** What to do with each message. Both ends are this program at this version: there are no others. */
export type Handlers<In extends Talk> = { readonly [N in keyof In]: (...content: In[N]) => void };
type Handle = (...content: unknown[]) => void;

export interface LinkParts<In extends Talk> {
  /** What may wait for the other end to read. Bytes. */
  readonly queueBytes: number;
  readonly handlers: Handlers<In>;
  /** Once: the other end is gone, or `close` was called. */
  readonly closed: () => void;
}

const HEAD_BYTES = 4;
const packr = new Packr({ useRecords: false });

/** For several links: encoded once. */
export function packed<Out extends Talk, N extends keyof Out & string>(
  name: N,
  ...content: Out[N]
): Uint8Array {
  return packr.pack([name, ...content]);
}

export class Link<Out extends Talk, In extends Talk> {
  readonly #stream: Socket;
  readonly #parts: LinkParts<In>;
  readonly #handlers: Readonly<Record<string, Handle>>;
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #chunks: Buffer[] = [];
  #chunkBytes = 0;
  /** Bytes that have to be there before anything more can be read. */
  #needed = HEAD_BYTES;
  #open = true;

  constructor(stream: Socket, parts: LinkParts<In>) {
    this.#stream = stream;
    this.#parts = parts;
    this.#handlers = parts.handlers as unknown as Readonly<Record<string, Handle>>;
    stream.on('data', (chunk: Buffer) => this.#data(chunk));
    // What has broken the stream is the end of the other process; `close` follows.
    stream.on('error', () => this.close());
    stream.on('end', () => this.close());
    stream.on('close', () => this.close());
  }

  get open(): boolean {
    return this.#open;
  }

  /** Said and not taken by the kernel yet. */
  get queued(): number {
    return this.#waitingBytes + this.#stream.writableLength;
  }

  /** Whoever can refuse what it is asked for should, until the other end has read. */
  get full(): boolean {
    return this.queued > this.#parts.queueBytes;
  }

  send<N extends keyof Out & string>(name: N, ...content: Out[N]): void {
    this.sendPacked(packed<Out, N>(name, ...content));
  }

  sendPacked(bytes: Uint8Array): void {
    if (!this.#open) return;
    if (this.#waiting.length === 0) setImmediate(() => this.#flush());
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.byteLength;
  }

  /** What was said before still goes out. */
  close(): void {
    this.#flush();
    this.#ended(() => this.#stream.end());
  }

  /** For an end that does not read. */
  cut(): void {
    this.#ended(() => this.#stream.destroy());
  }

  #ended(end: () => void): void {
    if (!this.#open) return;
    this.#open = false;
    end();
    this.#parts.closed();
  }

  #flush(): void {
    if (!this.#open || this.#waiting.length === 0) return;
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head.writeUInt32BE(this.#waitingBytes);
    const batch = Buffer.concat([head, ...this.#waiting], HEAD_BYTES + this.#waitingBytes);
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#stream.write(batch);
  }

  #data(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#chunkBytes += chunk.byteLength;
    if (this.#chunkBytes < this.#needed) return;
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#chunkBytes);
    while (bytes.byteLength >= HEAD_BYTES) {
      const end = HEAD_BYTES + bytes.readUInt32BE();
      this.#needed = end;
      if (bytes.byteLength < end) break;
      this.#batch(bytes.subarray(HEAD_BYTES, end));
      bytes = bytes.subarray(end);
      this.#needed = HEAD_BYTES;
    }
    this.#chunks = bytes.byteLength === 0 ? [] : [bytes];
    this.#chunkBytes = bytes.byteLength;
  }

  /** All of it is decoded first: a receiver may say something, which the codec must not be busy for. */
  #batch(bytes: Buffer): void {
    for (const [name, ...content] of packr.unpackMultiple(bytes) as unknown as [string, ...unknown[]][])
      if (this.#open) this.#handlers[name]?.(...content);
  }
}
