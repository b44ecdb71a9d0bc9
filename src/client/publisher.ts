import type { AckFrame, PubFrame, ServerInfoFrame } from '../protocol/frames.ts';
import { sizeOf } from './codec.ts';
import type { Connection } from './connection.ts';
import type { CarillonError } from './errors.ts';
import { DEFAULTS, type PublishOptions, type PublishQueueOptions } from './options.ts';
import { Outbox } from './outbox.ts';
import type { Ack } from './room.ts';

/** Publishing: message ids, deadlines and promises around the outbox. */
export class Publisher {
  readonly #connection: Connection;
  readonly #options: PublishQueueOptions;
  readonly #outbox: Outbox;
  readonly #nextId = messageIds();
  readonly #flushed = new Set<() => void>();
  #info: ServerInfoFrame | undefined;

  constructor(connection: Connection, options: PublishQueueOptions = {}) {
    this.#connection = connection;
    this.#options = options;
    const { queue = DEFAULTS.queue, inFlight = DEFAULTS.inFlight } = options;
    this.#outbox = new Outbox({
      queue,
      inFlight,
      inFlightBytes: options.inFlightBytes ?? DEFAULTS.inFlightBytes,
    });
  }

  /** Publishes without an ack. */
  get pending(): number {
    return this.#outbox.size;
  }

  /** `before` runs with the message id once the message is taken. */
  publish(
    room: string,
    payload: unknown,
    options: PublishOptions,
    before: (msgId: string) => void,
  ): Promise<Ack> {
    const { msgId = this.#nextId(), key, ephemeral, echo, traceparent } = options;
    const frame = {
      type: 'pub',
      room,
      payload,
      msgId,
      ...(key !== undefined && { key }),
      ...(ephemeral !== undefined && { ephemeral }),
      ...(echo !== undefined && { echo }),
      ...(traceparent !== undefined && { traceparent }),
    } as const;
    const deadline = performance.now() + this.#timeoutMs(options);
    return new Promise((resolve, reject) => {
      const refused = this.#outbox.add(frame, deadline, (ack) => resolve(ackOf(ack, msgId)), reject);
      if (refused !== undefined) return reject(refused);
      before(msgId);
      this.pump();
    });
  }

  #timeoutMs({ timeoutMs, ephemeral }: PublishOptions): number {
    if (timeoutMs !== undefined) return timeoutMs;
    // What is worth showing for a moment only is not worth sending minutes later.
    if (ephemeral) return DEFAULTS.ephemeralTimeoutMs;
    return this.#options.timeoutMs ?? DEFAULTS.publishTimeoutMs;
  }

  /** Publishes may go out from now on. */
  opened(info: ServerInfoFrame): void {
    this.#info = info;
    this.pump();
  }

  detached(): void {
    this.#info = undefined;
    this.#outbox.detached();
  }

  pump(): void {
    if (this.#info === undefined) return;
    const { maxFrame } = this.#info;
    const outlet = {
      maxFrame,
      encode: (frame: PubFrame) => {
        const data = this.#connection.encode(frame);
        return { data, bytes: sizeOf(data, maxFrame) };
      },
      send: (data: string | Uint8Array<ArrayBuffer>) => this.#connection.send(data),
    };
    this.#outbox.pump(outlet, performance.now());
    if (this.#outbox.size === 0) this.#drained();
  }

  /** The publish that was acked, if it was waiting for that. */
  acked(ack: AckFrame): PubFrame | undefined {
    return this.#outbox.acked(ack)?.frame;
  }

  failed(msgId: string, error: CarillonError): boolean {
    return this.#outbox.failed(msgId, error, performance.now());
  }

  expire(now: number): void {
    this.#outbox.expire(now);
    this.pump();
    if (this.#outbox.size === 0) this.#drained();
  }

  rejectAll(error: CarillonError): void {
    this.#outbox.rejectAll(error);
    this.#drained();
  }

  /** Resolves when every publish so far is settled, one way or the other. */
  flush(): Promise<void> {
    if (this.#outbox.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#flushed.add(resolve));
  }

  #drained(): void {
    for (const resolve of this.#flushed) resolve();
    this.#flushed.clear();
  }
}

function ackOf({ room, seq, epoch, duplicate = false, dedupe, warning }: AckFrame, msgId: string): Ack {
  return {
    room,
    msgId,
    ...(seq !== undefined && { seq }),
    ...(epoch !== undefined && { epoch }),
    duplicate,
    ...(dedupe !== undefined && { dedupe }),
    ...(warning !== undefined && { warning }),
  };
}

/** Ids that no other client makes: 96 random bits, then a count. crypto.randomUUID exists on https pages only. */
function messageIds(): () => string {
  const words = crypto.getRandomValues(new Uint32Array(3));
  const prefix = Array.from(words, (word) => word.toString(36).padStart(7, '0')).join('');
  let count = 0;
  return () => `${prefix}-${(++count).toString(36)}`;
}
