/** Brings events of the past from the store into a room's ring, so that one place answers replay and history. */
import type { RoomRef } from '../../broker/ports.ts';
import type { NoAnswer } from './acks.ts';
import type { Arrival } from './arrival.ts';
import { readRange } from './backfill.ts';
import type { Env } from './env.ts';
import { chainOf } from './events.ts';
import type { Ring } from './ring.ts';
import type { Shard } from './shard.ts';
import type { Store } from './store.ts';

export interface LoadParts extends Env {
  readonly store: Store;
  /** The stream keeps so many events of a room at most. */
  readonly perRoom: number;
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
    readRange(parts.store, { shard: shard.number, log: room.log }, since, floor, parts.sleep),
  );
  if (typeof range === 'string') return range;
  if (ring.generation !== generation || ring.floor !== floor) return 'loaded';
  // Without the event at `since` there is no telling what was before the first one read: all is loaded instead.
  if (!range.anchored) return loadAll(parts, shard, room);
  ring.prepend(chainOf(room.ref, range.events, since), since, parts.now());
  return 'loaded';
}

/** After this everything that the room keeps is in its ring. */
export async function loadAll(parts: LoadParts, shard: Shard, room: Loadable): Promise<Loaded> {
  const { ring } = room;
  const { floor, generation } = ring;
  // One more than the room keeps: the position before the first one kept comes from it.
  const wanted = ring.policy.count + 1 - ring.length;
  const read = await shard.reads.run(() => readBack(parts, shard, room.log, floor, wanted));
  if (typeof read === 'string') return read;
  if (ring.generation !== generation || ring.floor !== floor) return 'loaded';
  const { events, firstSeq } = read;
  const first = events[0];
  const cut =
    first !== undefined && (events.length >= wanted || events.length + ring.length >= parts.perRoom);
  const begin = cut ? first.seq - 1 : Math.min(firstSeq - 1, floor);
  ring.prepend(chainOf(room.ref, events, begin), first === undefined ? floor : begin, parts.now());
  if (cut) ring.start = 0;
  ring.complete = true;
  return 'loaded';
}

interface ReadBack {
  /** Ascending, ending at `to`; at least as many as wanted, or all there are. */
  readonly events: readonly Arrival[];
  /** The first place that the stream had when the reading began. */
  readonly firstSeq: number;
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
  let end = to;
  for (let step = FIRST_STEP; end >= firstSeq && events.length < wanted; step *= 8) {
    const begin = Math.max(firstSeq - 1, end - step);
    const range = await readRange(store, { shard: shard.number, log }, begin, end, sleep, false);
    if (typeof range === 'string') return range;
    events = [...range.events, ...events];
    end = begin;
  }
  return { events, firstSeq };
}
