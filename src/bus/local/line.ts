/** A worker's side of its link to the hub. */
import type { Socket } from 'node:net';
import type { Cancel } from '../../broker/cluster.ts';
import type { Log } from '../../broker/ports.ts';
import { Listeners } from '../cluster/listeners.ts';
import { type Handlers, Link } from './link.ts';
import type { Calls, FromHub, FromWorker } from './wire.ts';

type Heard = Omit<Handlers<FromHub>, 'welcome' | 'part' | 'reply'>;

interface Waiting {
  /** undefined: the hub is gone. */
  readonly done: (answer: unknown) => void;
  readonly part: (part: unknown) => void;
}

export interface HubLineParts {
  readonly stream: Socket;
  /** What may wait for the hub to read. Bytes. */
  readonly queueBytes: number;
  readonly log: Log;
}

const unheard = (): void => undefined;

export class HubLine {
  readonly #link: Link<FromWorker, FromHub>;
  readonly #handlers: { -readonly [N in keyof FromHub]: Handlers<FromHub>[N] };
  readonly #waiting = new Map<number, Waiting>();
  readonly #lost: Listeners<[]>;
  #calls = 0;
  #ending = false;
  /** What this worker is to the hub. */
  number = 0;

  constructor({ stream, queueBytes, log }: HubLineParts) {
    this.#lost = new Listeners('a watch of the hub', log);
    this.#handlers = {
      welcome: (number) => {
        this.number = number;
      },
      part: (id, value) => this.#waiting.get(id)?.part(value),
      reply: (id, value) => this.#replied(id, value),
      opened: unheard,
      failed: unheard,
      event: unheard,
      gap: unheard,
      settled: unheard,
      joined: unheard,
      node: unheard,
      told: unheard,
      question: unheard,
      answer: unheard,
      change: unheard,
    };
    this.#link = new Link(stream, { queueBytes, handlers: this.#handlers, closed: () => this.#closed() });
  }

  get up(): boolean {
    return this.#link.open;
  }

  get full(): boolean {
    return this.#link.full;
  }

  get queued(): number {
    return this.#link.queued;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  on(handlers: Partial<Heard>): void {
    Object.assign(this.#handlers, handlers);
  }

  whenLost(heard: () => void): Cancel {
    return this.#lost.add(heard);
  }

  send<N extends keyof FromWorker & string>(name: N, ...content: FromWorker[N]): void {
    this.#link.send(name, ...content);
  }

  /** `done` runs later, with undefined when the hub is gone or this worker says more than it reads. */
  call<M extends keyof Calls>(
    method: M,
    argument: Calls[M][0],
    done: (answer: Calls[M][1] | undefined) => void,
    part: (part: never) => void = unheard,
  ): void {
    if (!this.up || this.full) return void setImmediate(() => done(undefined));
    const id = ++this.#calls;
    this.#waiting.set(id, { done: done as Waiting['done'], part: part as Waiting['part'] });
    this.send('call', id, method, argument);
  }

  /** The same as a promise, which never rejects. */
  asked<M extends keyof Calls>(
    method: M,
    argument: Calls[M][0],
    part?: (part: never) => void,
  ): Promise<Calls[M][1] | undefined> {
    return new Promise((resolve) => this.call(method, argument, resolve, part));
  }

  /** What was said before still goes out; nobody is told of a loss. */
  close(): void {
    this.#ending = true;
    this.#link.close();
  }

  #replied(id: number, value: unknown): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    waiting?.done(value);
  }

  #closed(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { done } of waiting) done(undefined);
    if (!this.#ending) this.#lost.tell();
  }
}
