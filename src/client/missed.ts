/** What a gap has cost, from the history: the nack of chat.v1 is a request for the hole. */
import type { EventFrame } from '../protocol/frames.ts';
import type { HistoryPage, HistoryQuery, Missed } from './room.ts';
import type { Gap } from './sequencer.ts';

/** Rejects as `history` does. */
export async function fetchMissed(
  gap: Gap,
  history: (query: HistoryQuery) => Promise<HistoryPage>,
): Promise<Missed> {
  const events: EventFrame[] = [];
  // `from` belongs to an epoch that is gone: no history has what came after it.
  if (gap.reason === 'epoch') return { events, complete: false };
  let page: HistoryPage;
  let last = gap.from;
  do {
    page = await history({ after: last });
    if (page.epoch !== gap.epoch) return { events, complete: false };
    events.push(...page.events);
    last = page.events.at(-1)?.seq ?? last;
  } while (last < gap.to && page.more && page.events.length > 0);
  const complete = last >= gap.to && unbroken(gap.from, events);
  return { events: events.filter(({ seq = 0 }) => seq <= gap.to), complete };
}

function unbroken(from: number, events: readonly EventFrame[]): boolean {
  const seqs = [from, ...events.map(({ seq = 0 }) => seq)];
  return events.every(({ prev = 0 }, at) => prev <= (seqs[at] ?? from));
}
