import type { Shard } from './shard.ts';
import type { Store } from './store.ts';

/** Where a room stands in its stream. */
export interface Place {
  /** The position before the next event. */
  readonly position: number;
  /** The room has no events in (position, sure]. */
  readonly sure: number;
  /** The room has no events that are kept. */
  readonly empty: boolean;
}

/** By the leader; undefined: it has not answered. */
export async function placeOf(store: Store, shard: Shard, log: string): Promise<Place | undefined> {
  const { seen } = shard;
  const tail = await store.last(shard.number, log);
  if (typeof tail === 'string') return undefined;
  if (tail.seq > 0) {
    shard.saw(tail.seq);
    return { position: tail.seq, sure: Math.max(tail.seq, seen), empty: false };
  }
  const state = await store.state(shard.number);
  if (typeof state === 'string') return undefined;
  // Whatever the room had lies before the first place that the stream has left. So this position is not before
  // any that the room ever had, and it is the same for all nodes as long as the stream drops nothing.
  const position = Math.max(0, state.firstSeq - 1);
  return { position, sure: Math.max(position, seen), empty: true };
}
