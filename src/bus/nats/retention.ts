/**
 * What a stream may have dropped of a room. Every limit of ours (per subject, age, bytes) and every purge of a stream's
 * front takes the oldest events of a room first, so what is left of it is always its newest run. Two things follow:
 *
 * - an event that is still there proves that nothing after it was dropped;
 * - a limit per subject drops only while the room fills it, and the other limits move the first place of the stream. A
 *   stream that begins at a place, and has fewer of the room than the limit, has dropped none of the room from there on.
 *
 * Both hold at the moment when the leader says so. So a read is judged by what the leader says after it: events may go
 * between two pages of a read, and between two messages of one page.
 */

/** Where a stream says so, in its metadata: `carillon streams apply` writes it. */
export const GROWN_AT = 'carillon.grown';

export interface Remains {
  /** The first place that the stream has, and how many places after it are empty. */
  readonly firstSeq: number;
  readonly deleted: number;
  /** The stream keeps so many events of a room; 0 or less: no limit. */
  readonly perSubject: number;
  /** That limit was a smaller one when this was the last place of the stream; 0: it never was, as far as is known. */
  readonly grownAt: number;
  /** The stream has no more events of the room than this, after the place that matters. */
  readonly atMost: number;
  /** The room's oldest event in the stream, 0: there is none; undefined: not asked. */
  readonly oldest?: number | undefined;
  /**
   * An event that the room is known to have had, and that was not there when the read began; 0: there is no such. If it
   * stood behind the first place of the stream, the room was purged by itself, or its limit was another.
   */
  readonly absent?: number;
}

/** The stream has dropped no event of the room that stood after this place. */
export function droppedUpTo({ firstSeq, oldest = 0, ...remains }: Remains): number {
  const byLimits = byPlace({ firstSeq, ...remains });
  const byOldest = oldest === 0 ? Number.POSITIVE_INFINITY : oldest - 1;
  return Math.min(byLimits, byOldest);
}

function byPlace({ firstSeq, deleted, perSubject, grownAt, atMost, absent = 0 }: Remains): number {
  if (deleted === 0) return firstSeq - 1;
  const belowLimit = perSubject <= 0 || atMost < perSubject;
  return belowLimit && absent < firstSeq ? Math.max(firstSeq - 1, grownAt) : Number.POSITIVE_INFINITY;
}

/** The position of a room of which nothing is kept: whatever it had lies before the first place of the stream. */
export function positionOfEmpty(firstSeq: number): number {
  return Math.max(0, firstSeq - 1);
}

/**
 * Whether a position where the room has no event cannot be one of this stream: it lies behind an event that is kept,
 * so an event there would be kept too. It may be of an end that the stream has lost, which nobody may have noticed.
 */
export function isForeign(position: number, oldest: number | undefined): boolean {
  return oldest !== undefined && oldest < position;
}

/** The same for a position behind all that the node knows of; `newest` is the room's, `head` the stream's. */
export function isBeyond(position: number, newest: number, head: number): boolean {
  return position > head || (newest > 0 && position > newest);
}
