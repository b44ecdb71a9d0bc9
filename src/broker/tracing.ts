import type { RoomEvent } from './event.ts';
import type { Accepted, Fault, RoomRef } from './ports.ts';

/** A publish that is followed, from the bus being given it to its answer. */
export interface PublishSpan {
  /** Goes on with the event in place of the publisher's own. */
  readonly traceparent: string;
  end(outcome: Accepted | Fault): void;
}

/** Follows publishes through nodes. Each method is called on the hot path and must not throw. */
export interface Tracing {
  /** undefined: not followed; what the publisher sent goes on as it is. */
  publish(room: RoomRef, payload: string, traceparent: string | undefined): PublishSpan | undefined;
  /** An event with a `traceparent` has come to this node, for members that are served natively. */
  arrived(room: RoomRef, event: RoomEvent): void;
  /** Events that have arrived and are not delivered. */
  readonly arriving: number;
  /** Its bytes have been handed to the sockets of so many. */
  delivered(event: RoomEvent, receivers: number): void;
}

export const NO_TRACING: Tracing = {
  publish: () => undefined,
  arrived: () => {},
  arriving: 0,
  delivered: () => {},
};

/** Where spans go, and how many. */
export interface TracingSettings {
  /** The OTLP/HTTP address of traces. */
  readonly endpoint: string;
  /** Sent as the header of that name. */
  readonly authorization?: string;
  /** 0 to 1: of the publishes that come without a `traceparent`. */
  readonly sample: number;
  /** Spans begun per second, at most. */
  readonly perSecond: number;
  /** Spans that wait to be exported, at most. */
  readonly queue: number;
  /** How long they wait for others. */
  readonly exportMs: number;
  /** Of one export, repeats included. */
  readonly timeoutMs: number;
}
