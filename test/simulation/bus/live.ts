import { RoomEvent } from '../../../src/broker/event.ts';
import type {
  Accepted,
  Clock,
  Publication,
  ReplayPage,
  ReplaySince,
  RoomRef,
  RoomSink,
} from '../../../src/broker/ports.ts';
import type { Truth } from '../truth.ts';

/** Live rooms of one simulated node: it counts for itself, and every event it hands out has its own place. */
export class SimLive {
  readonly epoch: string;
  readonly #clock: Clock;
  readonly #truth: Truth;
  readonly #rooms = new Map<string, { sink: RoomSink; last: number }>();
  #seq = 0;

  constructor(epoch: string, clock: Clock, truth: Truth) {
    this.epoch = epoch;
    this.#clock = clock;
    this.#truth = truth;
  }

  open(ref: RoomRef, sink: RoomSink): void {
    const last = ++this.#seq;
    this.#rooms.set(ref.key, { sink, last });
    sink.opened({ epoch: this.epoch, seq: last });
  }

  shut(ref: RoomRef): void {
    this.#rooms.delete(ref.key);
  }

  /** An event of this node, or of another. */
  publish({ room, payload, from, msgId, key, ephemeral, expireMs, skip }: Publication): Accepted {
    const { epoch } = this;
    const seq = ephemeral ? undefined : ++this.#seq;
    const open = this.#rooms.get(room.key);
    const fields = { room: room.name, payload, ts: this.#clock.now(), from, msgId, key, expireMs };
    if (open !== undefined) {
      const prev = open.last;
      if (seq !== undefined) {
        open.last = seq;
        // A retry is another event here, so its id says nothing.
        this.#truth.order(epoch, room.key).add({ seq, payload, from, msgId: undefined, key });
      }
      open.sink.event(new RoomEvent({ ...fields, ...(seq !== undefined && { seq, prev }), skip }));
    }
    return { ok: true, epoch, duplicate: false, ...(seq !== undefined && { seq }) };
  }

  /** Something of other nodes has passed by. */
  missed(ref: RoomRef): void {
    const open = this.#rooms.get(ref.key);
    if (open === undefined) return;
    const from = open.last;
    open.last = ++this.#seq;
    open.sink.gap(from, open.last, 'bus');
  }

  replay(ref: RoomRef, since: ReplaySince): ReplayPage {
    const { epoch } = this;
    const page = { ok: true, epoch, recovered: 'full', events: [], remaining: 0 } as const;
    const to = this.#rooms.get(ref.key)?.last ?? this.#seq;
    if ('last' in since || (since.epoch === epoch && since.seq === to)) return page;
    const from = since.seq;
    if (since.epoch !== epoch || from > to)
      return { ...page, recovered: 'none', gap: { from, to, reason: 'epoch' } };
    return { ...page, recovered: 'partial', gap: { from, to, reason: 'retention' } };
  }
}
