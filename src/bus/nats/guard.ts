/**
 * What the domain does when it is called must not break the caller: an error thrown into the client's reader leaves
 * the connection deaf, and one thrown into a timer ends the process. A room or a publish pays for its own error.
 */
import type { RoomEvent } from '../../broker/event.ts';
import type { Fault, Log, RoomSink } from '../../broker/ports.ts';
import type { GapReason, Position } from '../../protocol/frames.ts';

export function guarded<A extends unknown[]>(
  log: Log,
  what: string,
  task: (...args: A) => void,
): (...args: A) => void {
  return (...args) => {
    try {
      task(...args);
    } catch (error) {
      log.error({ err: error }, `${what} has thrown`);
    }
  };
}

export class GuardedSink implements RoomSink {
  readonly #sink: RoomSink;
  readonly #log: Log;

  constructor(sink: RoomSink, log: Log) {
    this.#sink = sink;
    this.#log = log;
  }

  opened(position: Position): void {
    this.#safely(() => this.#sink.opened(position));
  }

  failed(fault: Fault): void {
    this.#safely(() => this.#sink.failed(fault));
  }

  /** Without the closure: this is the hot path. */
  event(event: RoomEvent): void {
    try {
      this.#sink.event(event);
    } catch (error) {
      this.#broken(error);
    }
  }

  gap(from: number, to: number, reason: GapReason): void {
    this.#safely(() => this.#sink.gap(from, to, reason));
  }

  #safely(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#broken(error);
    }
  }

  #broken(error: unknown): void {
    this.#log.error({ err: error }, 'a room has thrown');
  }
}
