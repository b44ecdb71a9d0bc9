/**
 * Reads from a stream by batch direct get: one request, many messages, an end. Any replica may answer, a stale one
 * too: what an answer proves is up to the caller. The client's own `getBatch` leaves a subscription for 5 s.
 */
import type { Msg, NatsConnection, Subscription } from '@nats-io/nats-core';
import type { NoAnswer } from './acks.ts';
import type { Env } from './env.ts';
import { guarded } from './guard.ts';
import { headerText, NUM_PENDING, numberIn, statusOf, UP_TO_SEQUENCE } from './headers.ts';
import type { Cancel } from './timers.ts';

export interface ReadEnd {
  readonly status: number;
  /** Only from `multi_last`: everything up to this place of the stream has been looked at. */
  readonly upTo: number | undefined;
  /** Messages that the answer had no room for. */
  readonly pending: number;
}

/** Each message with its headers as text, in order; valid during the call only. */
export type Each = (msg: Msg, text: string) => void;

interface Read {
  readonly each: Each;
  readonly ended: (end: ReadEnd | NoAnswer) => void;
  until: number;
}

const SWEEP_MS = 100;
/** Between two messages of one answer. */
const SILENCE_MS = 2000;

export class DirectReads {
  readonly #connection: NatsConnection;
  readonly #inbox: string;
  readonly #ticks: () => number;
  readonly #reads = new Map<number, Read>();
  readonly #subscription: Subscription;
  readonly #stop: Cancel;
  #last = 0;

  constructor(connection: NatsConnection, inbox: string, { timers, ticks, log }: Env) {
    this.#connection = connection;
    this.#inbox = `${inbox}.d.`;
    this.#ticks = ticks;
    this.#subscription = connection.subscribe(`${this.#inbox}*`, {
      callback: guarded(log, 'an answer from NATS', (error, msg) => {
        if (error === null) this.#received(msg);
      }),
    });
    this.#stop = timers.every(SWEEP_MS, () => this.#sweep());
  }

  get active(): number {
    return this.#reads.size;
  }

  read(stream: string, request: object, each: Each): Promise<ReadEnd | NoAnswer> {
    const number = ++this.#last;
    return new Promise((ended) => {
      this.#reads.set(number, { each, ended, until: this.#ticks() + SILENCE_MS });
      this.#connection.publish(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify(request), {
        reply: this.#inbox + number.toString(36),
      });
    });
  }

  /** The connection broke: no read goes on. */
  lost(): void {
    const reads = [...this.#reads.values()];
    this.#reads.clear();
    for (const { ended } of reads) ended('lost');
  }

  close(): void {
    this.#stop();
    this.#subscription.unsubscribe();
    this.lost();
  }

  #received(msg: Msg): void {
    const { subject } = msg;
    const number = Number.parseInt(subject.slice(this.#inbox.length), 36);
    const read = this.#reads.get(number);
    if (read === undefined) return;
    const text = headerText(msg, subject.length);
    const status = statusOf(text);
    if (status === 200) {
      read.until = this.#ticks() + SILENCE_MS;
      read.each(msg, text);
      return;
    }
    this.#reads.delete(number);
    const pending = numberIn(text, NUM_PENDING) ?? 0;
    read.ended(status === 503 ? 'nobody' : { status, upTo: numberIn(text, UP_TO_SEQUENCE), pending });
  }

  #sweep(): void {
    const now = this.#ticks();
    for (const [number, read] of this.#reads) {
      if (read.until > now) continue;
      this.#reads.delete(number);
      read.ended('timeout');
    }
  }
}
