import type { AckFrame, PublishWarning } from '../../protocol/frames.ts';
import type { InboundPub } from '../../protocol/inbound.ts';
import { ECHO_ROOM } from '../../protocol/room.ts';
import type { Answerable } from '../delivery.ts';
import type { Domain } from '../domain.ts';
import { encodeEvent } from '../encode.ts';
import { RoomEvent } from '../event.ts';
import type { Tenant } from '../limits/tenant.ts';
import type { Accepted, Connection, Fault, Publication, Skip } from '../ports.ts';
import type { SchemaViolation } from '../schema/checks.ts';
import type { PayloadSchema } from '../schema/schema.ts';
import { fault, NO_SUCH_ROOM, type Session } from '../session.ts';

export function publish(session: Session, frame: InboundPub, domain: Domain): void {
  if (frame.room === ECHO_ROOM) return echo(session, frame, domain);
  const target = session.target(frame.room);
  if (target === undefined) return session.refuse(frame, NO_SUCH_ROOM);
  if (!target.pub)
    return session.refuse(frame, fault('forbidden', 'the token does not allow "pub" in this room'));
  const refused = session.tenant.admitPublish(frame.payloadText, domain.clock);
  if (refused !== undefined) return session.refuseLimited(frame, refused);
  const { schema } = target;
  const misfit = schema && violationOf(session, frame, domain, schema);
  if (misfit !== undefined && schema?.mode === 'enforce') return session.refuse(frame, misfit);
  const warning = schema?.mode === 'warn' ? misfit : undefined;
  const held = heldAck(session, frame, domain, warning);
  const span = domain.tracing.publish(target.ref, frame.payloadText, frame.traceparent);
  const publication = {
    room: target.ref,
    from: session.identity.user,
    payload: frame.payloadText,
    msgId: frame.msgId,
    key: frame.key,
    ephemeral: frame.ephemeral === true,
    skip: held,
    traceparent: span === undefined ? frame.traceparent : span.traceparent,
  };
  domain.bus.publish(publication, (outcome) => {
    span?.end(outcome);
    if (outcome.ok) countPublish(domain, session.tenant, publication, outcome);
    settle(session, frame, outcome, held, warning);
  });
}

function violationOf(
  session: Session,
  { room, payload, payloadText }: InboundPub,
  domain: Domain,
  schema: PayloadSchema,
): SchemaViolation | undefined {
  const { tenant, user } = session.identity;
  return domain.schemas.violation(schema, payload, payloadText, { tenant, room, user });
}

function settle(
  session: Session,
  frame: InboundPub,
  outcome: Accepted | Fault,
  held: HeldAck | undefined,
  warning: PublishWarning | undefined,
): void {
  // A duplicate has no event of its own to wait for.
  if (held !== undefined && !(outcome.ok && outcome.duplicate)) held.settled(outcome);
  else if (outcome.ok) acknowledge(session, ackFrame(frame, outcome, warning));
  else session.refuse(frame, outcome);
}

/** A publish that the bus has taken, of a client or a backend. */
export function countPublish(
  { tally, bus }: Pick<Domain, 'tally' | 'bus'>,
  { usage }: Tenant,
  { room, payload }: Pick<Publication, 'room' | 'payload'>,
  { duplicate, seq }: Accepted,
): void {
  if (duplicate) {
    tally.duplicates++;
    return;
  }
  tally.published++;
  usage.took(Buffer.byteLength(payload), seq !== undefined && bus.keeps(room));
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
    traceparent: frame.traceparent,
  });
  session.sendEncoded(encodeEvent(event, session.connection.encoding));
  session.send(ackFrame(frame, undefined));
}

function ackFrame(frame: InboundPub, outcome: Accepted | undefined, warning?: PublishWarning): AckFrame {
  return {
    type: 'ack',
    room: frame.room,
    ...(frame.msgId !== undefined && { msgId: frame.msgId }),
    ...(frame.id !== undefined && { id: frame.id }),
    ...(outcome?.seq !== undefined && { seq: outcome.seq, epoch: outcome.epoch }),
    ...(outcome?.duplicate === true && { duplicate: true }),
    ...(warning !== undefined && { warning }),
  };
}

/**
 * With `echo: false` the publisher's next event of the room has a `prev` that it has not seen; its ack says
 * which. So the ack goes out exactly where the event would have stood. Between nodes the event may come before the
 * bus's answer and others right behind it: that it comes says as much as the answer.
 */
class HeldAck implements Skip, Answerable {
  readonly #session: Session;
  readonly #frame: InboundPub;
  readonly #warning: PublishWarning | undefined;
  readonly #domain: Domain;
  #outcome: Accepted | Fault | undefined;
  #answered = false;

  constructor(session: Session, frame: InboundPub, domain: Domain, warning: PublishWarning | undefined) {
    this.#session = session;
    this.#frame = frame;
    this.#warning = warning;
    this.#domain = domain;
  }

  get connection(): Connection {
    return this.#session.connection;
  }

  /** If the event has reached the room, it goes out with what the room has gathered; otherwise it never comes to this node. */
  settled(outcome: Accepted | Fault): void {
    if (this.#answered) return;
    this.#outcome = outcome;
    this.#domain.delivery.answerLater(this);
  }

  placed(seq: number | undefined): void {
    const room = this.#session.rooms.get(this.#frame.room)?.room;
    if (this.#outcome?.ok === true) this.#send(this.#outcome);
    // Who has left meanwhile has no order to keep, and waits for the bus.
    else if (room !== undefined)
      this.#send({ ok: true, epoch: room.epoch, duplicate: false, ...(seq !== undefined && { seq }) });
  }

  flushAnswers(): void {
    const room = this.#session.rooms.get(this.#frame.room)?.room;
    if (room?.holds === true) room.awaitFlush(this);
    else this.releaseAcks();
  }

  releaseAcks(): void {
    if (this.#outcome !== undefined) this.#send(this.#outcome);
  }

  #send(outcome: Accepted | Fault): void {
    if (this.#answered) return;
    this.#answered = true;
    if (!outcome.ok) return this.#session.refuse(this.#frame, outcome);
    const ack = ackFrame(this.#frame, outcome, this.#warning);
    // Not the membership that it was published in: the session may have left and joined again since.
    if (this.#session.rooms.get(ack.room)?.native === true) this.#session.send(ack);
    else acknowledge(this.#session, ack);
  }
}

/** Only who would get the event natively has to be skipped. */
function heldAck(
  session: Session,
  frame: InboundPub,
  domain: Domain,
  warning: PublishWarning | undefined,
): HeldAck | undefined {
  if (frame.echo !== false) return undefined;
  const member = session.rooms.get(frame.room);
  return member?.native === true ? new HeldAck(session, frame, domain, warning) : undefined;
}
