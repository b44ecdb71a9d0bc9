/** Brings events of the past from the store into a room's ring, so that one place answers replay and history. */
import type { RoomRef } from '../../broker/ports.ts';
import type { NoAnswer } from './acks.ts';
import type { Arrival } from './arrival.ts';
import { readKept, readRange } from './backfill.ts';
import type { Env } from './env.ts';
import { chainOf } from './events.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import type { Store } from './store.ts';

export interface LoadParts extends Env {
  readonly store: Store;
}

/** Whose past is loaded. */
export interface Loadable {
  readonly ref: RoomRef;
  readonly log: string;
  readonly ring: Ring;
}

export type Loaded = 'loaded' | NoAnswer;

/** Places of the stream looked at in the first step back; each further step takes eight times as many. */
const FIRST_STEP = 4096;

/** After this, whatever the room keeps of the events after `since` is in its ring, or `ring.complete`. */
export async function loadSince(
  parts: LoadParts,
  shard: Shard,
  room: Loadable,
  since: number,
): Promise<Loaded> {
  const { ring } = room;
  const { floor, generation } = ring;
  const range = await shard.reads.run(() =>
    readRange(
      parts.store,
      { shard: shard.number, log: room.log },
      { from: since, to: floor, anchor: since },
      parts.sleep,
    ),
  );
  if (typeof range === 'string') return range;
  if (ring.generation !== generation || ring.floor !== floor) return 'loaded';
  // Whoever asked has missed something for good: everything that is left is what it gets.
  if (range.lostTo > since) return loadAll(parts, shard, room, since);
  ring.prepend(chainOf(room.ref, range.events, since), since, parts.now());
  return 'loaded';
}

/** After this everything that the room keeps is in its ring. `since`: a position that its stream did not have any more. */
export async function loadAll(parts: LoadParts, shard: Shard, room: Loadable, since = 0): Promise<Loaded> {
  const { ring } = room;
  const { floor, generation } = ring;
  // One more than the room keeps: the position before the first one kept comes from it.
  const wanted = ring.policy.count + 1 - ring.length;
  const read = await shard.reads.run(() => readBack(parts, shard, room.log, floor, wanted));
  if (typeof read === 'string') return read;
  const dropped = await parts.store.droppedUpTo(shard.number, room.log, {
    from: read.from,
    upTo: Math.max(ring.last, floor),
    events: read.count + ring.length,
    absent: since,
  });
  if (typeof dropped === 'string') return dropped;
  if (ring.generation !== generation || ring.floor !== floor) return 'loaded';
  const { events, begin, cut } = keptOf(read, dropped, wanted);
  const from = Math.min(begin, floor);
  ring.prepend(chainOf(room.ref, events, from), events.length === 0 ? floor : from, parts.now());
  if (cut) ring.start = 0;
  ring.complete = true;
  return 'loaded';
}

/** What is left of a read; `begin` is the position before it. `cut`: the room is known to have had events up to there. */
function keptOf(read: ReadBack, dropped: number, wanted: number) {
  const events = read.events.filter(({ seq }) => seq > dropped);
  const before = events[0] === undefined ? undefined : events[0].seq - 1;
  const full = events.length >= wanted;
  const cut = full || events.length < read.events.length || (dropped > read.from && dropped === before);
  const begin = cut && before !== undefined ? before : Math.max(read.from, dropped);
  return { events, begin, cut };
}

interface ReadBack {
  /** Ascending, ending at `to`; at least as many as wanted, or all there are. */
  readonly events: readonly Arrival[];
  readonly count: number;
  /** Everything after this place, and up to `to`, has been read. */
  readonly from: number;
}

/** The newest events of a room up to this place: a stream can only be read forwards, so it goes back in steps. */
async function readBack(
  { store, sleep }: LoadParts,
  shard: Shard,
  log: string,
  to: number,
  wanted: number,
): Promise<ReadBack | NoAnswer> {
  const state = await store.state(shard.number);
  if (state === 'missing') return 'nobody';
  if (typeof state === 'string') return state;
  const { firstSeq } = state;
  let events: readonly Arrival[] = [];
  let count = 0;
  let end = to;
  for (let step = FIRST_STEP; end >= firstSeq && events.length < wanted; step *= 8) {
    const begin = Math.max(firstSeq - 1, end - step);
    const kept = await readKept(store, { shard: shard.number, log }, begin, end, sleep);
    if (typeof kept === 'string') return kept;
    events = [...kept.events, ...events];
    count += kept.count;
    end = begin;
  }
  return { events, count, from: Math.min(end, to) };
}
