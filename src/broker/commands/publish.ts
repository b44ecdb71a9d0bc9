import type { InboundPub } from '../../protocol/inbound.ts';
import { ECHO_ROOM } from '../../protocol/room.ts';
import type { Domain } from '../domain.ts';
import { encodeEvent } from '../encode.ts';
import { RoomEvent } from '../event.ts';
import type { Tenant } from '../limits/tenant.ts';
import type { Target } from '../membership.ts';
import type { Accepted, Fault, Publication } from '../ports.ts';
import type { SchemaViolation } from '../schema/checks.ts';
import { fault, NO_SUCH_ROOM, type Session } from '../session.ts';
import { publishEphemeral } from '../signals.ts';
import { REFUSED_MS } from '../tally.ts';
import { ackFrame, heldAck, settle } from './acks.ts';

export function publish(session: Session, frame: InboundPub, domain: Domain): void {
  if (frame.room === ECHO_ROOM) return echo(session, frame, domain);
  const target = session.target(frame.room);
  if (target === undefined) return session.refuse(frame, NO_SUCH_ROOM);
  if (!target.pub)
    return session.refuse(frame, fault('forbidden', 'the token does not allow "pub" in this room'));
  if (frame.ephemeral === true) return signal(session, frame, domain, target);
  const refused = session.tenant.admitPublish(frame.payloadText, domain.clock);
  if (refused !== undefined) return session.refuseLimited(frame, refused);
  const misfit = violationOf(session, frame, domain, target);
  if (misfit !== undefined && target.schema?.mode === 'enforce') return session.refuse(frame, misfit);
  const warning = target.schema?.mode === 'warn' ? misfit : undefined;
  const held = heldAck(session, frame, domain, warning);
  const span = domain.tracing.publish(target.ref, frame.payloadText, frame.traceparent);
  const publication = publicationOf(session, frame, target, held, span?.traceparent);
  const sentAt = domain.clock.now();
  session.publishing++;
  domain.bus.publish(publication, (outcome) => {
    session.publishing--;
    span?.end(outcome);
    countAnswer(domain, sentAt, outcome);
    if (outcome.ok) countPublish(domain, session.tenant, publication, outcome);
    settle(session, frame, outcome, held, warning);
  });
}

/** Ephemeral: against limits of its own, and thinned out where the room says so. */
function signal(session: Session, frame: InboundPub, domain: Domain, target: Target): void {
  if (!session.affordsEphemeral(frame)) return;
  const misfit = violationOf(session, frame, domain, target);
  if (misfit !== undefined && target.schema?.mode === 'enforce') return session.refuse(frame, misfit);
  const warning = target.schema?.mode === 'warn' ? misfit : undefined;
  const held = heldAck(session, frame, domain, warning);
  const policy = frame.key === undefined ? undefined : target.ref.policy.ephemeral;
  const publication = { ...publicationOf(session, frame, target, held), expireMs: policy?.expireMs };
  const turn = policy === undefined ? 'now' : domain.signals.offer(publication, policy.perSecond, session);
  if (turn === 'now')
    publishEphemeral(domain, publication, session, (outcome) =>
      settle(session, frame, outcome, held, warning),
    );
  else if (turn === 'held') settle(session, frame, WAITS, held, warning);
  else session.refuseLimited(frame, { ...turn, by: 'node_ephemeral' });
}

/** Accepted, whatever becomes of it: a newer one may take its place. */
const WAITS: Accepted = { ok: true, epoch: '', duplicate: false };

function publicationOf(
  { identity }: Session,
  { payloadText, msgId, key, ephemeral, traceparent }: InboundPub,
  { ref }: Target,
  skip: Publication['skip'],
  span?: string,
): Publication {
  return {
    room: ref,
    from: identity.user,
    payload: payloadText,
    msgId,
    key,
    ephemeral: ephemeral === true,
    skip,
    traceparent: span ?? traceparent,
  };
}

function violationOf(
  session: Session,
  { room, payload, payloadText }: InboundPub,
  domain: Domain,
  { schema }: Target,
): SchemaViolation | undefined {
  const { tenant, user } = session.identity;
  return schema && domain.schemas.violation(schema, payload, payloadText, { tenant, room, user });
}

/** What is wrong with the publish itself says nothing of the bus. */
function countAnswer({ tally, clock }: Domain, sentAt: number, outcome: Accepted | Fault): void {
  if (outcome.ok) tally.acks.observe(Math.max(0, clock.now() - sentAt));
  else if (outcome.code === 'unavailable' || outcome.code === 'overloaded') tally.acks.observe(REFUSED_MS);
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
