import type { HistoryFrame } from '../../protocol/frames.ts';
import { encodeMsgpackWith } from '../../protocol/msgpack.ts';
import type { Domain } from '../domain.ts';
import type { Encoded } from '../encode.ts';
import type { HistoryPage } from '../ports.ts';
import { fault, NO_SUCH_ROOM, type Session } from '../session.ts';

const DEFAULT_LIMIT = 100;

export function history(session: Session, frame: HistoryFrame, domain: Domain): void {
  const { limits } = domain;
  if (!session.may('history', frame.room))
    return session.refuse(frame, fault('forbidden', 'the token does not allow "history" in this room'));
  const target = session.target(frame.room);
  if (target === undefined) return session.refuse(frame, NO_SUCH_ROOM);
  const query = {
    before: frame.before,
    after: frame.after,
    limit: Math.min(frame.limit ?? DEFAULT_LIMIT, limits.historyPage),
    maxBytes: limits.historyPageBytes,
  };
  const answered = session.awaits();
  domain.bus.history(target.ref, query, (page) => {
    if (!session.ended) {
      if (page.ok) domain.tally.replayed += page.events.length;
      if (page.ok) session.sendEncoded(encodePage(session, frame, page));
      else session.refuse(frame, page);
    }
    answered();
  });
}

/** The events stand in the page as they are kept: encoded once, for delivery, replay and history alike. */
function encodePage(session: Session, frame: HistoryFrame, page: HistoryPage): Encoded {
  const head = {
    type: 'history',
    room: frame.room,
    ...(frame.id !== undefined && { id: frame.id }),
    epoch: page.epoch,
    more: page.more,
    ...(page.truncated && { truncated: true }),
  };
  if (session.connection.encoding === 'msgpack') {
    const encoded = page.events
      .map((event) => event.msgpack)
      .filter((_, at) => !page.events[at]?.unencodable);
    const whole = encoded.length === page.events.length;
    return encodeMsgpackWith({ ...head, ...(!whole && { truncated: true }) }, 'events', encoded);
  }
  const events = page.events.map((event) => event.json).join(',');
  return `${JSON.stringify(head).slice(0, -1)},"events":[${events}]}`;
}
