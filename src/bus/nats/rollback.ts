/**
 * Whether a stream still is what this node has seen of it. A disk that is put back as it was, or that lost in a power
 * cut what was not synced yet, looks as before, but for its end: places after it are given away a second time. So
 * messages that this node has met are compared with what stands at their places now.
 */
import type { Feed } from './feed.ts';
import { type Anchor, isSame } from './identity.ts';
import type { Marks } from './marks.ts';
import type { Shard } from './shard.ts';
import type { Store, StreamState } from './store.ts';

/** 'open': NATS has not answered. */
export type Verdict = 'whole' | 'rolled back' | 'open';

/** What a node knew of a stream before it asked. */
export interface Known {
  readonly seen: number;
  readonly anchors: readonly Anchor[];
}

export function knownOf(shard: Shard): Known {
  return { seen: shard.seen, anchors: shard.anchors };
}

export async function judge(
  parts: { readonly store: Store; readonly marks: Marks },
  shard: Shard,
  known: Known,
  state: StreamState,
): Promise<Verdict> {
  if (state.lastSeq < known.seen) {
    const place = await parts.marks.probe(shard.number);
    if (typeof place === 'string') return 'open';
    if (place <= known.seen) return 'rolled back';
    // The leader had not caught up yet.
  }
  let gone = false;
  for (const anchor of known.anchors) {
    const verdict = await compare(parts.store, shard, anchor);
    if (verdict === 'gone') gone = true;
    else if (verdict !== 'whole') return verdict;
  }
  return gone ? byRooms(parts.store, shard) : 'whole';
}

/** 'whole': as far as this message tells; 'gone': it tells nothing. */
async function compare(store: Store, shard: Shard, { seq, witness }: Anchor): Promise<Verdict | 'gone'> {
  const kept = await store.kept(shard.number, seq);
  if (typeof kept === 'string') return 'open';
  if (kept === undefined) return 'gone';
  return isSame(witness, kept) ? 'whole' : 'rolled back';
}

/**
 * The message is not kept any more, by its age or by its room's count; it says nothing. The newest events of open
 * rooms may: the latest of them, then some that lie ever further back, until one is still there.
 */
async function byRooms(store: Store, shard: Shard): Promise<Verdict> {
  const anchors = [...shard.feeds.values()].map(anchorOf).filter((anchor) => anchor !== undefined);
  anchors.sort((one, other) => other.seq - one.seq);
  for (let at = 0; at < anchors.length; at = 2 * at + 1) {
    const verdict = await compare(store, shard, anchors[at] as Anchor);
    if (verdict !== 'gone') return verdict;
  }
  return 'whole';
}

/** The newest event that the room was handed and still has in memory. */
export function anchorOf({ log, ring, rule }: Feed): Anchor | undefined {
  const newest = rule === undefined ? undefined : ring?.tail?.newest;
  return newest && { seq: newest.seq, witness: { log, ts: newest.ts } };
}
