import type { AckFrame } from '../../protocol/frames.ts';
import type { InboundPub } from '../../protocol/inbound.ts';
import { ECHO_ROOM } from '../../protocol/room.ts';
import type { Domain } from '../domain.ts';
import { encodeEvent } from '../encode.ts';
import { RoomEvent } from '../event.ts';
import type { Membership } from '../membership.ts';
import type { Accepted, Connection, Fault, Skip } from '../ports.ts';
import { fault, NO_SUCH_ROOM, type Session } from '../session.ts';

export function publish(session: Session, frame: InboundPub, domain: Domain): void {
  if (frame.room === ECHO_ROOM) return echo(session, frame, domain);
  const target = session.target(frame.room);
  if (target === undefined) return session.refuse(frame, NO_SUCH_ROOM);
  if (!target.pub)
    return session.refuse(frame, fault('forbidden', 'the token does not allow "pub" in this room'));
  const refused = session.tenant.admitPublish(frame.payloadText, domain.clock);
  if (refused !== undefined) return session.refuseLimited(frame, refused);
  const held = heldAck(session, frame);
  domain.bus.publish(
    {
      room: target.ref,
      from: session.identity.user,
      payload: frame.payloadText,
      msgId: frame.msgId,
      key: frame.key,
      ephemeral: frame.ephemeral === true,
      skip: held,
    },
    (outcome) => settle(session, frame, domain, outcome, held),
  );
}

function settle(
  session: Session,
  frame: InboundPub,
  domain: Domain,
  outcome: Accepted | Fault,
  held: HeldAck | undefined,
): void {
  if (!outcome.ok) return session.refuse(frame, outcome);
  if (outcome.duplicate) domain.tally.duplicates++;
  else domain.tally.published++;
  const ack = ackFrame(frame, outcome);
  // A duplicate has no event of its own to wait for.
  if (held !== undefined && !outcome.duplicate) held.accepted(ack);
  else acknowledge(session, ack);
}

function acknowledge(session: Session, ack: AckFrame): void {
  const member = session.rooms.get(ack.room);
  if (member === undefined) session.answer(ack);
  else member.acknowledge(ack);
}

/** The probe: straight back to its publisher, through the same encoder as any event. */
function echo(session: Session, frame: InboundPub, domain: Domain): void {
  const event = new RoomEvent({
    room: ECHO_ROOM,
    payload: frame.payloadText,
    ts: domain.clock.now(),
    from: session.identity.user,
    msgId: frame.msgId,
    key: frame.key,
  });
  session.sendEncoded(encodeEvent(event, session.connection.encoding));
  session.send(ackFrame(frame, undefined));
}

function ackFrame(frame: InboundPub, outcome: Accepted | undefined): AckFrame {
  return {
    type: 'ack',
    room: frame.room,
    ...(frame.msgId !== undefined && { msgId: frame.msgId }),
    ...(frame.id !== undefined && { id: frame.id }),
    ...(outcome?.seq !== undefined && { seq: outcome.seq, epoch: outcome.epoch }),
    ...(outcome?.duplicate === true && { duplicate: true }),
  };
}

/**
 * With `echo: false` the publisher's next event of the room has a `prev` that it has not seen; its ack says
 * which. So the ack goes out exactly where the event would have stood: when both the bus has accepted it and
 * the event has gone to the others.
 */
class HeldAck implements Skip {
  readonly #session: Session;
  readonly #member: Membership;
  #ack: AckFrame | undefined;
  #placed = false;

  constructor(session: Session, member: Membership) {
    this.#session = session;
    this.#member = member;
  }

  get connection(): Connection {
    return this.#session.connection;
  }

  accepted(ack: AckFrame): void {
    this.#ack = ack;
    // Who has left meanwhile is not waited for: the event may have passed without reaching the room.
    if (this.#placed || this.#member.left) this.#send(ack);
  }

  placed(): void {
    this.#placed = true;
    if (this.#ack !== undefined) this.#send(this.#ack);
  }

  #send(ack: AckFrame): void {
    if (this.#member.native) this.#session.send(ack);
    else acknowledge(this.#session, ack);
  }
}

/** Only who would get the event natively has to be skipped. */
function heldAck(session: Session, frame: InboundPub): HeldAck | undefined {
  if (frame.echo !== false) return undefined;
  const member = session.rooms.get(frame.room);
  return member?.native === true ? new HeldAck(session, member) : undefined;
}
