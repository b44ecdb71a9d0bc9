import type { ErrorCode } from '../../protocol/codes.ts';
import type { GapAction, GapReason } from '../../protocol/frames.ts';
import type { Moment, Remembered, RoomGap } from './ring.ts';
import type { Absence, Refusal, Replay, Stay, ToldGap } from './trail.ts';

/**
 * What became of a message for one session, from the best to the worst; of several memberships the best holds.
 *
 * handed: given to its socket, with everybody's; replayed: given to its socket by a catch-up; own: the publisher asked
 * not to get its own; pending: it is behind, and gets it, or a gap, when it reads on; gap: told that it does not come;
 * cut_off: it was behind when the membership ended; missed: ephemeral, and it was behind at that moment; before_join: its events begin after it; left: its membership
 * ended before; other_epoch: its positions are of another epoch; not_joined: it has not been in the room; unknown: the
 * notes of that time are not kept any more.
 */
export const FATES = [
  'handed',
  'replayed',
  'own',
  'pending',
  'gap',
  'cut_off',
  'missed',
  'left',
  'before_join',
  'other_epoch',
  'not_joined',
  'unknown',
] as const;
export type Fate = (typeof FATES)[number];

/** The message in question, as far as this node knows it. */
export interface Message {
  /** Below 0: ephemeral, known by when it passed. */
  readonly seq: number;
  readonly epoch: string | undefined;
  readonly remembered: Remembered | undefined;
  /** Milliseconds since 1970. */
  readonly ts: number | undefined;
}

/** A membership, over or not, and what was noted during it. */
export interface Membering {
  readonly epoch: string;
  readonly from: number;
  readonly resumed: boolean;
  readonly joined: Moment;
  readonly over?: Pick<Stay, 'ended' | 'to' | 'handed' | 'code'>;
  /** Of one that is not over. */
  readonly now?: Present;
  readonly gaps: readonly ToldGap[];
  readonly replays: readonly Replay[];
  readonly absences: readonly Absence[];
}

/** How a membership stands. */
export interface Present {
  /** The room's last position that has gone out. */
  readonly published: number;
  readonly catchUp?: { readonly from: number; readonly cursor: number; readonly began: Moment } | undefined;
  readonly away?: { readonly from: number; readonly began: Moment } | undefined;
}

/** One session, as far as one room is concerned. */
export interface Testimony {
  readonly stamp: number;
  readonly memberships: readonly Membering[];
  readonly roomGaps: readonly RoomGap[];
  readonly refusals: readonly Refusal[];
  /** Notes until then are not all kept. */
  readonly lostAt: number;
}

export interface Finding {
  readonly fate: Fate;
  /** handed, replayed: when it was given to the socket; left, cut_off, gap: when that was. Milliseconds since 1970. */
  readonly at?: number;
  /** replayed: since when the catch-up ran. */
  readonly since?: number;
  /** left, cut_off: why the server ended the membership; not_joined: why it refused the join. */
  readonly code?: ErrorCode;
  /** gap: as it was told. */
  readonly from?: number;
  readonly to?: number;
  readonly reason?: GapReason;
  readonly action?: GapAction;
  /** before_join: when it joined, and whether with a position of its own, beyond the message. */
  readonly joinedAt?: number;
  readonly resumed?: boolean;
}

export function infer(message: Message, session: Testimony): Finding {
  const findings = session.memberships.map((membership) => ofMembership(message, membership, session));
  findings.sort((one, other) => FATES.indexOf(one.fate) - FATES.indexOf(other.fate));
  return findings[0] ?? ofStranger(message, session);
}

function ofStranger({ ts }: Message, { lostAt, refusals }: Testimony): Finding {
  if (ts === undefined ? lostAt > 0 : ts <= lostAt) return { fate: 'unknown' };
  const refused = refusals.findLast(({ what, at }) => what === 'join' && (ts === undefined || at <= ts));
  return refused === undefined
    ? { fate: 'not_joined' }
    : { fate: 'not_joined', code: refused.code, at: refused.at };
}

function ofMembership(message: Message, membership: Membering, session: Testimony): Finding {
  if (message.seq < 0) return ephemeral(message, membership, session);
  if (message.epoch !== undefined && message.epoch !== membership.epoch) return { fate: 'other_epoch' };
  return (
    told(message.seq, membership) ??
    outside(message.seq, membership) ??
    byCatchUp(message.seq, membership) ??
    waiting(message.seq, membership) ??
    byTopic(message, membership, session)
  );
}

function outside(seq: number, { from, over, joined, resumed }: Membering): Finding | undefined {
  if (seq <= from) return { fate: 'before_join', joinedAt: joined.at, resumed };
  if (over === undefined) return undefined;
  if (seq > over.to) return left(over);
  return seq > over.handed ? { ...left(over), fate: 'cut_off' } : undefined;
}

const covers = (seq: number) => (range: { readonly from: number; readonly to: number }) =>
  range.from < seq && seq <= range.to;

/** Behind a gap of `latest` stand events that came all the same. */
function told(seq: number, { gaps, absences }: Membering): Finding | undefined {
  const absence = absences.find(covers(seq));
  if (absence !== undefined) {
    const { from, to, at, action, began, kept } = absence;
    if (kept.includes(seq)) return { fate: 'replayed', at, since: began.at };
    return { fate: 'gap', at, from, to, reason: 'backpressure', action };
  }
  const gap = gaps.find(covers(seq));
  if (gap === undefined) return undefined;
  const { from, to, at, reason, action } = gap;
  return { fate: 'gap', at, from, to, reason, action };
}

function byCatchUp(seq: number, { now, replays }: Membering): Finding | undefined {
  const replay = replays.find(covers(seq));
  if (replay !== undefined) return { fate: 'replayed', at: replay.at, since: replay.began.at };
  const underWay = now?.catchUp;
  if (underWay === undefined || seq <= underWay.from || seq > underWay.cursor) return undefined;
  return { fate: 'replayed', since: underWay.began.at };
}

function waiting(seq: number, { now }: Membering): Finding | undefined {
  if (now === undefined) return undefined;
  const { published, catchUp, away } = now;
  return seq > (catchUp?.cursor ?? away?.from ?? published) ? { fate: 'pending' } : undefined;
}

function byTopic(
  { seq, remembered }: Message,
  { joined, over }: Membering,
  { stamp, roomGaps }: Testimony,
): Finding {
  const until = over?.ended.nth ?? Number.POSITIVE_INFINITY;
  const lost = roomGaps.filter(({ nth }) => joined.nth < nth && nth <= until).find(covers(seq));
  if (lost !== undefined) {
    const { from, to, reason, at } = lost;
    return { fate: 'gap', from, to, reason, at, action: 'skip' };
  }
  return handed(remembered, stamp);
}

function handed(remembered: Remembered | undefined, stamp: number): Finding {
  if (remembered?.skipped === stamp) return { fate: 'own', at: remembered.at };
  const at = remembered?.at ?? Number.NaN;
  return Number.isNaN(at) ? { fate: 'handed' } : { fate: 'handed', at };
}

/** It has no position: what counts is who was served by the topic when it passed. */
function ephemeral({ seq, remembered }: Message, membership: Membering, session: Testimony): Finding {
  if (remembered === undefined) return { fate: 'unknown' };
  const { joined, resumed, over } = membership;
  const nth = -seq;
  if (nth <= joined.nth) return { fate: 'before_join', joinedAt: joined.at, resumed };
  if (over !== undefined && nth > over.ended.nth) return left(over);
  return behind(nth, membership) ? { fate: 'missed' } : handed(remembered, session.stamp);
}

function behind(nth: number, { now, replays, absences }: Membering): boolean {
  const since = now?.catchUp?.began.nth ?? now?.away?.began.nth ?? Number.POSITIVE_INFINITY;
  return (
    nth > since || [...replays, ...absences].some(({ began, ended }) => began.nth < nth && nth <= ended.nth)
  );
}

function left({ ended, code }: Pick<Stay, 'ended' | 'code'>): Finding {
  return { fate: 'left', at: ended.at, ...(code !== undefined && { code }) };
}
