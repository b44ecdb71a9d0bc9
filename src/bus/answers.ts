/** What a bus answers to replay and history, from what is kept of a room. */
import type { HistoryPage, HistoryQuery, ReplayPage, ReplaySince } from '../broker/ports.ts';
import type { Page, Tail } from './tail.ts';

/** A room as an answer needs it; `start` as in RoomState. */
export interface RoomView {
  readonly start: number;
  readonly last: number;
  readonly tail: Tail | undefined;
}

/** Everything up to this position is gone, everything after it is kept. */
function lostUpTo({ tail, last }: RoomView): number {
  return tail?.oldest?.prev ?? last;
}

export function replayAnswer(room: RoomView, epoch: string, since: ReplaySince, page: Page): ReplayPage {
  const kept = room.tail?.length ?? 0;
  if ('last' in since)
    return replayFrom(room, epoch, Math.max(0, kept - since.last), page, { recovered: 'full' });
  const lost = lostUpTo(room);
  // A position that the room has not reached was not given out in this epoch, whatever it says.
  if (since.epoch !== epoch || since.seq > room.last) {
    const gap = { from: since.seq, to: lost, reason: 'epoch' } as const;
    return replayFrom(room, epoch, 0, page, { recovered: 'none', gap });
  }
  if (since.seq >= lost)
    return replayFrom(room, epoch, room.tail?.after(since.seq) ?? 0, page, { recovered: 'full' });
  const gap = { from: since.seq, to: lost, reason: 'retention' } as const;
  return replayFrom(room, epoch, 0, page, { recovered: 'partial', gap });
}

function replayFrom(
  { tail }: RoomView,
  epoch: string,
  place: number,
  page: Page,
  outcome: Pick<ReplayPage, 'recovered' | 'gap'>,
): ReplayPage {
  const kept = tail?.length ?? 0;
  const events = tail?.take(place, kept, page) ?? [];
  return { ok: true, epoch, ...outcome, events, remaining: kept - place - events.length };
}

export function historyAnswer(room: RoomView, epoch: string, query: HistoryQuery): HistoryPage {
  const page = { count: query.limit, maxBytes: query.maxBytes };
  return query.after === undefined
    ? pageBefore(room, epoch, query.before, page)
    : pageAfter(room, epoch, query.after, query.before, page);
}

/** The newest events before a position, or of all. */
function pageBefore(room: RoomView, epoch: string, before: number | undefined, page: Page): HistoryPage {
  const end = endOf(room, before);
  const events = room.tail?.takeNewest(end, page) ?? [];
  const more = events.length < end;
  return { ok: true, epoch, events, more, truncated: !more && lostBefore(room, before) };
}

/** The oldest events after a position. */
function pageAfter(
  room: RoomView,
  epoch: string,
  after: number,
  before: number | undefined,
  page: Page,
): HistoryPage {
  const end = endOf(room, before);
  const place = Math.min(room.tail?.after(after) ?? 0, end);
  const events = room.tail?.take(place, end, page) ?? [];
  const truncated = after < lostUpTo(room) && after + 1 < (before ?? Number.POSITIVE_INFINITY);
  return { ok: true, epoch, events, more: place + events.length < end, truncated };
}

function endOf({ tail }: RoomView, before: number | undefined): number {
  return (before === undefined ? tail?.length : tail?.after(before - 1)) ?? 0;
}

/** Whether the room is known to have had events before this position that are gone. */
function lostBefore(room: RoomView, before: number | undefined): boolean {
  return lostUpTo(room) > room.start && (before ?? Number.POSITIVE_INFINITY) > room.start + 1;
}
