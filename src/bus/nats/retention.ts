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

export interface Remains {
  /** The first place that the stream has. */
  readonly firstSeq: number;
  /** The stream keeps so many events of a room; 0 or less: no limit. */
  readonly perSubject: number;
  /** The stream has no more events of the room than this, after the place that matters. */
  readonly atMost: number;
  /** The room's oldest event in the stream, 0: there is none; undefined: not asked. */
  readonly oldest?: number | undefined;
}

/** The stream has dropped no event of the room that stood after this place. */
export function droppedUpTo({ firstSeq, perSubject, atMost, oldest = 0 }: Remains): number {
  const byLimits = perSubject <= 0 || atMost < perSubject ? firstSeq - 1 : Number.POSITIVE_INFINITY;
  const byOldest = oldest === 0 ? Number.POSITIVE_INFINITY : oldest - 1;
  return Math.min(byLimits, byOldest);
}
