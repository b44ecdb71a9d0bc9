import type { JoinedFrame, JoinFrame } from '../../protocol/frames.ts';
import { isInbox } from '../../protocol/room.ts';
import { REPLAY_PAGE } from '../catchup.ts';
import type { Domain } from '../domain.ts';
import { overOpenRooms, overRoomShare } from '../limits/room-share.ts';
import type { Refused } from '../limits/tenant.ts';
import { Membership, type Target } from '../membership.ts';
import { type Places, roomFull } from '../places.ts';
import type { Fault, ReplayPage } from '../ports.ts';
import type { Room } from '../room.ts';
import { fault, full, NO_PRESENCE, NO_SUCH_ROOM, type Session } from '../session.ts';
import { cursorOf, keepsCursor } from './cursor.ts';

type Refusal = (session: Session, frame: JoinFrame) => Fault | undefined;

const notTwice: Refusal = (session, frame) =>
  session.rooms.has(frame.room) ? fault('already_joined', 'this session is in the room already') : undefined;

const allowed: Refusal = (session, frame) => {
  if (session.may('join', frame.room)) return undefined;
  return isInbox(frame.room)
    ? fault('forbidden', 'an inbox is joined by its own user only')
    : fault('forbidden', 'the token does not allow "join" in this room');
};

const allowedExtras: Refusal = (session, frame) => {
  if (frame.presence === true && !session.may('presence', frame.room))
    return fault('forbidden', 'the token does not allow "presence" in this room');
  if (frame.since !== undefined && 'last' in frame.since && !session.may('history', frame.room))
    return fault('forbidden', 'the token does not allow "history" in this room, which since.last needs');
  return undefined;
};

const REFUSALS: readonly Refusal[] = [notTwice, allowed, allowedExtras];

export function join(session: Session, frame: JoinFrame, domain: Domain): void {
  for (const rule of REFUSALS) {
    const wrong = rule(session, frame);
    if (wrong !== undefined) return session.refuse(frame, wrong);
  }
  const target = session.target(frame.room);
  if (target === undefined) return session.refuse(frame, NO_SUCH_ROOM);
  const room = domain.rooms.get(target.ref.key);
  const refused =
    overPresence(session, frame) ??
    overRooms(session) ??
    overRoomsOfTenant(session, room, domain) ??
    overMembers(room, domain.places);
  if (refused !== undefined) return session.refuseLimited(frame, refused);
  enter(session, frame, domain, target);
}

function overPresence({ tenant }: Session, frame: JoinFrame): Refused | undefined {
  return frame.presence === true && tenant.policy.presence === 'off' ? NO_PRESENCE : undefined;
}

function overRooms({ rooms, roomsMax }: Session): Refused | undefined {
  if (rooms.size < roomsMax) return undefined;
  return full(
    'connection_rooms',
    'too_many_rooms',
    `a session may be in ${roomsMax} rooms`,
    roomsMax,
    rooms.size,
  );
}

/** Of the tenant: a room more with members. The embedded bus counts those with stored events too. */
function overRoomsOfTenant(
  { tenant }: Session,
  room: Room | undefined,
  { limits, rooms }: Domain,
): Refused | undefined {
  if (room !== undefined) return undefined;
  return (
    overOpenRooms(tenant.policy.openRooms, tenant.rooms) ?? overRoomShare(limits, tenant.rooms, rooms.size)
  );
}

/** Full already by this node's members: refused without opening it. */
function overMembers(room: Room | undefined, places: Places): Refused | undefined {
  if (room === undefined || room.capacity === 0) return undefined;
  const taken = places.taken(room.ref.key);
  return taken < room.capacity ? undefined : roomFull(room.capacity, taken);
}

function enter(session: Session, frame: JoinFrame, domain: Domain, target: Target): void {
  const { ref } = target;
  const room = domain.rooms.enter(ref, session.tenant);
  const manner = { overflow: frame.overflow ?? ref.policy.overflow, watches: frame.presence === true };
  const member: Membership = new Membership(session, room, manner, target, (refusal) => {
    session.drop(member);
    session.refuse(frame, refusal);
  });
  // The room's own name: that of the frame would be one more text for each member.
  session.rooms.set(ref.name, member);
  room.add(member);
  domain.tally.memberships++;
  if (room.capacity === 0) return whenOpen(session, frame, domain, member);
  const place = { room: ref.key, capacity: room.capacity, resumed: session.generation > 1 };
  domain.places.take(place, (refused) => {
    if (member.left) return false;
    if (refused === undefined) {
      member.placed = true;
      whenOpen(session, frame, domain, member);
      return true;
    }
    session.drop(member);
    session.refuseLimited(frame, refused);
    return false;
  });
}

function whenOpen(session: Session, frame: JoinFrame, domain: Domain, member: Membership): void {
  if (member.watches) return whenKnown(session, frame, domain, member);
  member.room.whenOpen((failed) => {
    if (member.left) return;
    if (failed !== undefined) member.evicted(failed);
    else joinOpened(session, frame, domain, member);
  });
}

/** The answer names all members. */
function whenKnown(session: Session, frame: JoinFrame, domain: Domain, member: Membership): void {
  const answered = session.awaits();
  member.room.whenOpen((failed) => {
    if (failed !== undefined && !member.left) member.evicted(failed);
    if (failed !== undefined || member.left) return answered();
    domain.presence.whenKnown(member.room, () => {
      if (!member.left) joinOpened(session, frame, domain, member);
      answered();
    });
  });
}

function joinOpened(session: Session, frame: JoinFrame, domain: Domain, member: Membership): void {
  if (frame.since !== undefined) {
    joinSince(session, frame, domain, member, frame.since);
  } else if (keepsCursor(domain, member.room.ref)) {
    joinAtCursor(session, frame, domain, member);
  } else {
    joinFresh(session, frame, domain, member);
  }
}

/** From the head: whatever was gathered before goes to the others only. */
function joinFresh(session: Session, frame: JoinFrame, domain: Domain, member: Membership): void {
  domain.delivery.flushRoom(member.room);
  member.room.attach(member);
  session.send(joined(session, frame, domain, member, 'fresh', 0));
  entered(domain, member, member.room.last, false);
  // Of what was published while the room was opening.
  member.releaseAcks();
}

function joinAtCursor(session: Session, frame: JoinFrame, domain: Domain, member: Membership): void {
  cursorOf(domain, member.room.ref, member.user, (since) => {
    if (member.left) return;
    if ('ok' in since) return member.evicted(since);
    // A cursor is resumed from like any position; what stands in for one is history (3.7.1).
    const allowed = !('last' in since) || session.may('history', frame.room);
    joinSince(session, frame, domain, member, allowed ? since : { last: 0 });
  });
}

function joinSince(
  session: Session,
  frame: JoinFrame,
  domain: Domain,
  member: Membership,
  since: NonNullable<JoinFrame['since']>,
): void {
  domain.catchUps.begin(() => {
    if (member.left) return;
    domain.bus.replay(member.room.ref, since, REPLAY_PAGE, (page) => {
      if (member.left) return;
      if (page.ok) return joinedSince(session, frame, domain, member, since, page);
      member.evicted(page);
    });
  });
}

function joinedSince(
  session: Session,
  frame: JoinFrame,
  domain: Domain,
  member: Membership,
  since: NonNullable<JoinFrame['since']>,
  page: ReplayPage,
): void {
  const recovered = 'last' in since ? 'fresh' : page.recovered;
  const answer = joined(session, frame, domain, member, recovered, page.events.length + page.remaining);
  // Together with what the catch-up sends first.
  session.answered += domain.bundles.tell(session, answer);
  // Presence comes by a topic, to which the member is subscribed already.
  if (member.watches) domain.bundles.flush(session.connection);
  const position = positionBefore(page, since, member.room.last);
  entered(domain, member, position, 'seq' in since && page.recovered !== 'none');
  if (page.gap !== undefined) tellGap(domain, member, page.gap);
  domain.catchUps.start(member, page, position);
}

/** Where a catch-up stands before the first event of the page. */
function positionBefore(page: ReplayPage, since: NonNullable<JoinFrame['since']>, head: number): number {
  if (page.gap !== undefined) return page.gap.to;
  const first = page.events[0];
  if (first !== undefined) return first.prev;
  return 'seq' in since && page.recovered !== 'none' ? since.seq : head;
}

function tellGap(domain: Domain, member: Membership, gap: NonNullable<ReplayPage['gap']>): void {
  domain.tally.gap(gap.reason);
  const action = gap.reason === 'epoch' ? 'backfill' : 'skip';
  const { from, to, reason } = gap;
  const room = member.room.ref.name;
  domain.witness.gap(member, from, to, reason, action);
  domain.bundles.tell(member, { type: 'gap', room, from, to, reason, action });
}

/** For whoever asks later what this member was to get. */
function entered({ witness }: Domain, member: Membership, from: number, resumed: boolean): void {
  member.enter(witness.moment(), from, resumed);
}

function joined(
  session: Session,
  frame: JoinFrame,
  domain: Domain,
  member: Membership,
  recovered: JoinedFrame['recovered'],
  replay: number,
): JoinedFrame {
  const { room } = member;
  const { description } = room.ref.policy;
  const presence = domain.presence.arrived(member);
  member.place = domain.lifecycle.joined(session, room.ref.name);
  return {
    type: 'joined',
    room: room.ref.name,
    ...(frame.id !== undefined && { id: frame.id }),
    epoch: room.epoch,
    seq: room.last,
    durable: domain.bus.keeps(room.ref),
    recovered,
    replay,
    ...(keepsCursor(domain, room.ref) && frame.since === undefined && { unread: replay }),
    ...presence,
    ...(description !== undefined && { description }),
    ...limitsOf(room),
  };
}

function limitsOf({ capacity, ref }: Room): Pick<JoinedFrame, 'limits'> {
  const { ephemeral } = ref.policy;
  if (capacity === 0 && ephemeral === undefined) return {};
  return { limits: { ...(capacity > 0 && { capacity }), ...(ephemeral !== undefined && { ephemeral }) } };
}
