import type { ClientFrame, RequestId, ServerFrame } from '../protocol/frames.ts';
import { CarillonError } from './errors.ts';

export interface Answer {
  done(frame: ServerFrame): void;
  failed(error: CarillonError): void;
}

export interface Terms {
  /** Milliseconds by the caller's clock; Infinity: as long as the connection lives. */
  readonly deadline: number;
  /** Ask again on the next connection; otherwise a lost connection is the answer. */
  readonly lasting: boolean;
}

interface Pending extends Answer, Terms {
  readonly frame: ClientFrame;
}

const UINT32 = 2 ** 32;

/** Requests until their answer, which runs at once, so that the frames of one message keep their order. */
export class Requests {
  readonly #pending = new Map<RequestId, Pending>();
  #id = 0;

  get size(): number {
    return this.#pending.size;
  }

  /** Returns the frame with the id that its answer will carry. */
  register<Frame extends ClientFrame>(
    frame: Frame,
    { done, failed, deadline, lasting }: Answer & Terms,
  ): Frame {
    this.#id = (this.#id + 1) % UINT32;
    const asked = { ...frame, id: this.#id };
    this.#pending.set(this.#id, { frame: asked, done, failed, deadline, lasting });
    return asked;
  }

  /** true: the frame was the answer to a request. */
  answered(frame: ServerFrame & { readonly id?: RequestId }): boolean {
    const pending = this.#pull(frame.id);
    pending?.done(frame);
    return pending !== undefined;
  }

  /** true: the error was the answer to a request. */
  failed(id: RequestId | undefined, error: CarillonError): boolean {
    const pending = this.#pull(id);
    pending?.failed(error);
    return pending !== undefined;
  }

  /** The connection is lost. */
  detached(): void {
    const error = new CarillonError('disconnected', 'the connection was lost', { retry: true });
    for (const [id, { lasting }] of [...this.#pending]) if (!lasting) this.failed(id, error);
  }

  /** What has to be asked on a new connection. */
  lasting(): ClientFrame[] {
    return [...this.#pending.values()].filter(({ lasting }) => lasting).map(({ frame }) => frame);
  }

  expire(now: number): void {
    const error = new CarillonError('timeout', 'no answer in time', { retry: true });
    for (const [id, { deadline }] of [...this.#pending]) if (now >= deadline) this.failed(id, error);
  }

  rejectAll(error: CarillonError): void {
    for (const id of [...this.#pending.keys()]) this.failed(id, error);
  }

  #pull(id: RequestId | undefined): Pending | undefined {
    if (id === undefined) return undefined;
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }
}
