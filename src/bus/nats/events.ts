import { RoomEvent } from '../../broker/event.ts';
import type { RoomRef, Skip } from '../../broker/ports.ts';
import type { Arrival } from './arrival.ts';
import type { Meta } from './headers.ts';

/** `prev` is the position before it, as the receiver of this feed sees the room. */
export function eventOf(
  room: RoomRef,
  { seq, meta, payload }: Arrival,
  prev: number,
  skip?: Skip,
): RoomEvent {
  const { ts, from, msgId, key, traceparent } = meta;
  return new RoomEvent({ room: room.name, payload, seq, prev, ts, from, msgId, key, skip, traceparent });
}

/** An event outside the order of its room. */
export function passingEvent(room: RoomRef, meta: Meta, payload: string, skip?: Skip): RoomEvent {
  const { ts, from, msgId, key, expireMs, traceparent } = meta;
  return new RoomEvent({ room: room.name, payload, ts, from, msgId, key, expireMs, skip, traceparent });
}

/** Events that follow one another in the store, the first of them after position `prev`. */
export function chainOf(room: RoomRef, arrivals: readonly Arrival[], prev: number): RoomEvent[] {
  let last = prev;
  return arrivals.map((arrival) => {
    const event = eventOf(room, arrival, last);
    last = arrival.seq;
    return event;
  });
}

/** The same event with another `prev`: for somebody who stands at a position that no event has. */
export function linkedTo(event: RoomEvent, prev: number): RoomEvent {
  const { room, from, msgId } = JSON.parse(event.json) as { room: string; from: string; msgId?: string };
  const { payload, seq, ts, key, traceparent } = event;
  return new RoomEvent({ room, payload, seq, prev, ts, from, msgId, key, traceparent });
}
