import type { CloseReason } from '../protocol/codes.ts';
import { CLOSE_CODES, ERROR_CODES, type ErrorCode } from '../protocol/codes.ts';
import type { ErrorFrame, RequestId, ServerFrame } from '../protocol/frames.ts';
import { type Access, allows, compileAccess, type Grant } from './access/access.ts';
import type { Answerable } from './delivery.ts';
import type { Domain } from './domain.ts';
import { bytesOf, type Encoded, encodeFrame, joinEncoded } from './encode.ts';
import { Trail } from './fate/trail.ts';
import { Allowance, overEphemeral, overOperations } from './limits/operations.ts';
import type { RefusalReason } from './limits/reasons.ts';
import type { Refused, Tenant, TenantMember } from './limits/tenant.ts';
import type { Membership, Owner } from './membership.ts';
import type { Action, Connection, Fault, Identity, Resumption, RoomRef } from './ports.ts';
import { type PayloadSchema, schemaOf } from './schema/schema.ts';

/** What an error answer refers to. */
export interface Request {
  readonly id?: RequestId;
  readonly msgId?: string;
  readonly room?: string;
  /** Of the frame. */
  readonly type?: string;
}

/** A room as this session sees it: decided once, since a publish asks every time. */
export interface Target {
  readonly ref: RoomRef;
  readonly grant: Grant;
  readonly pub: boolean;
  /** What is published there has to fit it. */
  readonly schema: PayloadSchema | undefined;
}

/** Rooms whose decision a session keeps. A session that works with more than this pays a lookup again. */
const TARGETS_MAX = 64;

/** The protocol state of one connection. What it does with each frame stands in commands/. */
export class Session implements Owner, Answerable, TenantMember {
  readonly id: string;
  /** Counts the connections of the session, this one included. */
  readonly generation: number;
  /** The newest connection of the session that is known of, here or elsewhere. */
  newest: number;
  /** When it connected, among all that nodes do. */
  readonly stamp: number;
  readonly connection: Connection;
  /** Milliseconds since 1970. */
  readonly connectedAt: number;
  readonly rooms = new Map<string, Membership>();
  readonly tenant: Tenant;
  readonly trail = new Trail();
  readonly #domain: Domain;
  readonly #allowance = new Allowance();
  #identity: Identity;
  #access: Access;
  readonly #targets = new Map<string, Target>();
  #answers: Encoded[] = [];
  /** Protocol errors left before close 4002, and when the count was last brought up to date. */
  #errorsLeft: number;
  #errorsAt: number;
  ended = false;
  /** Publishes that the bus has yet to answer. */
  publishing = 0;
  /** The socket is; what it was in is told together. */
  #gone = false;
  /** Why this side ended it, if it did. */
  endedWith: { readonly code: number; readonly reason: string; readonly unsent: number } | undefined;

  constructor(
    { session, generation, stamp }: Resumption & { readonly stamp: number },
    connection: Connection,
    identity: Identity,
    domain: Domain,
  ) {
    this.id = session;
    this.generation = generation;
    this.newest = generation;
    this.stamp = stamp;
    this.connection = connection;
    this.#domain = domain;
    this.#identity = identity;
    this.tenant = domain.tenants.of(identity.tenant);
    this.#access = compileAccess(identity, this.tenant.policy.rooms);
    this.#errorsLeft = domain.limits.protocolErrors;
    this.connectedAt = domain.clock.now();
    this.#errorsAt = this.connectedAt;
  }

  get identity(): Identity {
    return this.#identity;
  }

  /** How many rooms it may be in. */
  get roomsMax(): number {
    const { roomsPerConnection } = this.#domain.limits;
    return Math.min(roomsPerConnection, this.tenant.policy.roomsPerConnection || roomsPerConnection);
  }

  /** A refreshed credential: everything decided by the old one is forgotten. */
  adopt(identity: Identity): void {
    this.#identity = identity;
    this.#access = compileAccess(identity, this.tenant.policy.rooms);
    this.#targets.clear();
  }

  policyChanged(): void {
    if (this.ended) return;
    if (!this.tenant.policy.enabled) return this.end('tenant_disabled');
    this.adopt(this.#identity);
    this.expelForbidden('the policy of the tenant does not allow this room');
  }

  /** Leaves the rooms that are not allowed any more; `reason` is what the client is told. */
  expelForbidden(reason: string): void {
    for (const membership of [...this.rooms.values()])
      if (!this.#stillAllowed(membership)) this.expel(membership, fault('forbidden', reason));
  }

  /** A member that watches who comes and goes joined on the strength of two grants. */
  #stillAllowed({ room, watches }: Membership): boolean {
    const { name } = room.ref;
    return this.may('join', name) && (!watches || this.may('presence', name));
  }

  may(action: Action, room: string): boolean {
    const target = this.target(room);
    return target === undefined ? this.#access.may(action, room) : allows(target.grant, action);
  }

  /** undefined: the name matches no room pattern of the config. */
  target(name: string): Target | undefined {
    const known = this.#targets.get(name);
    if (known !== undefined) return known;
    const ref = this.#domain.rooms.ref(this.#identity.tenant, name);
    if (ref === undefined) return undefined;
    const grant = this.#access.grantFor(name);
    const target = { ref, grant, pub: allows(grant, 'pub'), schema: schemaOf(this.tenant.policy, ref) };
    if (this.#targets.size >= TARGETS_MAX) this.#targets.clear();
    this.#targets.set(name, target);
    return target;
  }

  send(frame: ServerFrame): void {
    this.sendEncoded(encodeFrame(frame, this.connection.encoding));
  }

  sendEncoded(data: Encoded): void {
    const { tally, bundles } = this.#domain;
    bundles.flush(this.connection);
    tally.framesOut++;
    const bytes = bytesOf(data);
    tally.bytesOut += bytes;
    this.tenant.usage.bytesOut += bytes;
    this.connection.send(data);
  }

  /** An ack: it must not overtake the events of this turn; the acks of a turn go out as one message. */
  answer(frame: ServerFrame): void {
    if (this.#answers.length === 0) this.#domain.delivery.answerLater(this);
    this.#answers.push(encodeFrame(frame, this.connection.encoding));
  }

  flushAnswers(): void {
    const answers = this.#answers;
    // Ending the session has sent them already.
    if (answers.length === 0) return;
    this.#answers = [];
    this.sendEncoded(joinEncoded(answers, this.connection.encoding));
  }

  refuse(request: Request, fault: Omit<Fault, 'ok'>): void {
    this.#domain.tally.error(fault.code);
    this.#domain.witness.refused(this.trail, request, fault);
    this.send(errorFrame(request, fault));
  }

  /** As `refuse`, and counted by the limit that refused. */
  refuseLimited(request: Request, refused: Refused): void {
    this.#domain.tally.refused(refused.by);
    this.refuse(request, refused);
  }

  /** false: the connection has used up its points; the request is answered. */
  affords(request: Request, cost: number): boolean {
    const { limits, clock } = this.#domain;
    const now = clock.now();
    const wait = this.#allowance.take(limits.operations, cost, now);
    if (wait === 0) return true;
    this.refuseLimited(request, {
      ok: false,
      by: 'connection_rate',
      ...overOperations(limits.operations, wait),
    });
    if (!this.#allowance.refused(limits.operations, now))
      this.end('rate_limited', 'goes on sending in spite of rate_limited');
    return false;
  }

  /** false: the connection or its tenant publishes too much that is ephemeral; the request is answered. */
  affordsEphemeral(request: Request): boolean {
    const { limits, clock } = this.#domain;
    const wait = limits.rates ? this.#allowance.takeEphemeral(limits.ephemeral, clock.now()) : 0;
    const refused = wait > 0 ? overEphemeral(limits.ephemeral, wait) : this.tenant.admitEphemeral(clock);
    if (refused !== undefined) this.refuseLimited(request, refused);
    return refused === undefined;
  }

  /** A frame that broke the protocol: answered, until there were too many. */
  protest(request: Request, fault: Omit<Fault, 'ok'>): void {
    const { limits, clock } = this.#domain;
    const now = clock.now();
    const regained = ((now - this.#errorsAt) * limits.protocolErrors) / 60_000;
    this.#errorsLeft = Math.min(limits.protocolErrors, this.#errorsLeft + Math.max(0, regained)) - 1;
    this.#errorsAt = now;
    this.refuse(request, fault);
    if (this.#errorsLeft < 0) this.end('too_many_errors');
  }

  expel(membership: Membership, fault: Fault): void {
    membership.expelledFor = fault.code;
    this.drop(membership);
    this.#domain.tally.error(fault.code);
    this.send({ type: 'left', room: membership.room.ref.name, code: fault.code, reason: fault.reason });
  }

  /**
   * Takes the session out of a room, at an exact place in the room's order.
   * @param graceMs it is still shown in the room for so long, since it may come back
   */
  drop(membership: Membership, graceMs = 0): void {
    const { delivery, rooms, catchUps, slow, presence, tally, cursors, places, lifecycle, witness } =
      this.#domain;
    const { room } = membership;
    const handed = this.#handed(membership);
    // What the room has gathered goes out before a leave, but to nobody whose socket is gone.
    const gone = witness.moment();
    delivery.flushRoom(room);
    membership.releaseAcks();
    this.rooms.delete(room.ref.name);
    catchUps.stop(membership);
    slow.stop(membership);
    witness.left(membership, handed, this.#gone ? gone : witness.moment());
    room.remove(membership);
    tally.memberships--;
    if (membership.present && !this.#gone) lifecycle.left(this, membership.place);
    presence.departed(membership, graceMs);
    if (membership.placed) places.free(room.ref.key);
    rooms.release(room);
    cursors.flush(room.ref, membership.user);
  }

  /** The last position handed to the socket when the membership ends now. */
  #handed(membership: Membership): number {
    const { catchUps, slow } = this.#domain;
    const { room } = membership;
    const behind = catchUps.under(membership)?.cursor ?? slow.away(membership)?.from;
    return behind ?? (this.#gone ? room.published : room.last);
  }

  end(why: CloseReason, detail?: string): void {
    if (this.ended) return;
    this.ended = true;
    // What these rooms have gathered would come after the close frame, and the acks may not overtake it.
    for (const { room } of this.rooms.values()) this.#domain.delivery.flushRoom(room);
    this.flushAnswers();
    this.#domain.bundles.flush(this.connection);
    const unsent = this.connection.buffered();
    this.endedWith = { code: CLOSE_CODES[why].code, reason: detail ?? why, unsent };
    this.connection.end(this.endedWith.code, this.endedWith.reason);
  }

  endSlow(): void {
    this.#domain.tally.slowConsumer('closed');
    this.end('slow_consumer', 'reads too slowly: resume from the last position');
  }

  /** The socket is gone. */
  closed(code: number): void {
    this.ended = true;
    this.#gone = true;
    const graceMs = this.#domain.presence.graceOf(code);
    for (const membership of [...this.rooms.values()]) this.drop(membership, graceMs);
  }
}

function errorFrame(request: Request, fault: Omit<Fault, 'ok'>): ErrorFrame {
  const { code, reason } = fault;
  return {
    type: 'error',
    code,
    reason,
    retry: ERROR_CODES[code].retry,
    ...(request.id !== undefined && { id: request.id }),
    ...(request.msgId !== undefined && { msgId: request.msgId }),
    ...(request.room !== undefined && { room: request.room }),
    ...(fault.retryAfterMs !== undefined && { retryAfterMs: fault.retryAfterMs }),
    ...(fault.limit !== undefined && { limit: fault.limit }),
    ...(fault.used !== undefined && { used: fault.used }),
    ...(fault.path !== undefined && { path: fault.path }),
  };
}

export function fault(
  code: ErrorCode,
  reason: string,
  extra?: { retryAfterMs?: number; limit?: number },
): Fault {
  return { ok: false, code, reason, ...extra };
}

/** A refusal for a limit on a number of things. */
export function full(
  by: RefusalReason,
  code: ErrorCode,
  reason: string,
  limit: number,
  used: number,
): Refused {
  return { ok: false, by, code, reason, limit, used };
}

/** Of a name that matches no entry of `rooms` in the config (chat.v1, clause 2.3). */
export const NO_PRESENCE: Refused = {
  ...fault('forbidden', 'presence is switched off for this tenant'),
  by: 'tenant_presence',
};

export const NO_SUCH_ROOM = fault('bad_room', 'no room pattern of this server matches');
