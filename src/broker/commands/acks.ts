import type { AckFrame, PublishWarning } from '../../protocol/frames.ts';
import type { InboundPub } from '../../protocol/inbound.ts';
import type { Answerable } from '../delivery.ts';
import type { Domain } from '../domain.ts';
import type { Accepted, Connection, Fault, Skip } from '../ports.ts';
import type { Session } from '../session.ts';

/** The answer to a publish. `held`: where `heldAck` gave one. */
export function settle(
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

function acknowledge(session: Session, ack: AckFrame): void {
  const member = session.rooms.get(ack.room);
  if (member === undefined) session.answer(ack);
  else member.acknowledge(ack);
}

export function ackFrame(
  frame: InboundPub,
  outcome: Accepted | undefined,
  warning?: PublishWarning,
): AckFrame {
  return {
    type: 'ack',
    room: frame.room,
    ...(frame.msgId !== undefined && { msgId: frame.msgId }),
    ...(frame.id !== undefined && { id: frame.id }),
    ...(outcome?.seq !== undefined && { seq: outcome.seq, epoch: outcome.epoch }),
    ...(outcome?.duplicate === true && { duplicate: true }),
    ...(outcome?.dedupe !== undefined && { dedupe: outcome.dedupe }),
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

  get stamp(): number {
    return this.#session.stamp;
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
export function heldAck(
  session: Session,
  frame: InboundPub,
  domain: Domain,
  warning: PublishWarning | undefined,
): HeldAck | undefined {
  if (frame.echo !== false) return undefined;
  const member = session.rooms.get(frame.room);
  return member?.native === true ? new HeldAck(session, frame, domain, warning) : undefined;
}
