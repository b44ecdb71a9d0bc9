/** What a simulated node answers to replay and history, with as much of the room as it has been told of. */
import type { HistoryPage, HistoryQuery, ReplayPage, ReplaySince } from '../../../src/broker/ports.ts';
import { historyAnswer, type RoomView, replayAnswer } from '../../../src/bus/answers.ts';
import { type Page, Tail } from '../../../src/bus/tail.ts';
import { copied, type SimFeed } from './feed.ts';
import type { RoomLog, SimStore } from './store.ts';

const WIDE = { count: 1e9, bytes: 1e15, ageMs: 1e15 };

/** Events of (floor, last], as far as they are kept. */
function viewOf(log: RoomLog, floor: number, last: number): RoomView {
  const tail = new Tail(WIDE, { events: 0, bytes: 0 });
  for (let at = log.kept; at < log.events.length; at++) {
    const event = log.events[at];
    if (event !== undefined && event.seq > floor && event.seq <= last) tail.push(event, 0);
  }
  return { start: 0, last, tail: tail.length === 0 ? undefined : tail };
}

/** `ahead`: the position is one that this node has yet to reach. */
export function simReplay(
  feed: SimFeed,
  log: RoomLog,
  store: SimStore,
  since: ReplaySince,
  page: Page,
): ReplayPage | 'ahead' {
  const epoch = feed.epoch as string;
  const view = viewOf(log, feed.floor, feed.last);
  // Of a stream that is no more this node knows what it was told.
  const end = epoch === store.epoch ? store.seq : feed.last;
  const known = 'seq' in since && since.epoch === epoch && since.seq <= end;
  if (known && since.seq > feed.last && log.next(feed.last, since.seq)) return 'ahead';
  // What stands between the newest event that is gone and the position of a silent room is nothing.
  if (known && view.tail === undefined && since.seq >= Math.max(feed.floor, log.goneBy(feed.last)))
    return { ok: true, epoch, recovered: 'full', events: [], remaining: 0 };
  const last = known ? Math.max(view.last, since.seq) : view.last;
  return linked(replayAnswer({ ...view, last }, epoch, since, page), since);
}

export function simHistory(
  log: RoomLog,
  epoch: string,
  floor: number,
  last: number,
  query: HistoryQuery,
): HistoryPage {
  return historyAnswer(viewOf(log, floor, last), epoch, query);
}

/** The first event of a replay follows the position that was asked for, also where no event has that position. */
function linked(page: ReplayPage, since: ReplaySince): ReplayPage {
  const [first, ...rest] = page.events;
  if (first === undefined || 'last' in since || page.recovered !== 'full' || first.prev === since.seq)
    return page;
  return { ...page, events: [copied(first, since.seq), ...rest] };
}
