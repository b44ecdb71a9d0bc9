import type { CloseReason } from '../protocol/codes.ts';
import { CLOSE_CODES, ERROR_CODES, type ErrorCode } from '../protocol/codes.ts';
import type { ErrorFrame, RequestId, ServerFrame } from '../protocol/frames.ts';
import { type Access, allows, compileAccess } from './access/access.ts';
import type { Answerable } from './delivery.ts';
import type { Domain } from './domain.ts';
import { bytesOf, type Encoded, encodeFrame, joinEncoded } from './encode.ts';
import type { PassedIdentity } from './exclusion/gate.ts';
import { Trail } from './fate/trail.ts';
import { Allowance, overEphemeral, overOperations } from './limits/operations.ts';
import type { RefusalReason } from './limits/reasons.ts';
import type { Refused, Tenant, TenantMember } from './limits/tenant.ts';
import type { Membership, Owner, Target } from './membership.ts';
import type { Action, Connection, Fault, Resumption } from './ports.ts';
import type { RoundRobinItem } from './round-robin.ts';
import { schemaOf } from './schema/schema.ts';
import type { Timed } from './seconds.ts';

/** What an error answer refers to. */
export interface Request {
  readonly id?: RequestId;
  readonly msgId?: string;
  readonly room?: string;
  /** Of the frame. */
  readonly type?: string;
}

/** Rooms it is not in whose decision a session keeps. One that works with more than this pays a lookup again. */
const TARGETS_MAX = 64;

/** How many are left before close 4002, and when that was counted. */
interface Errors {
  readonly left: number;
  readonly at: number;
}

/** The protocol state of one connection. What it does with each frame stands in commands/. */
export class Session implements Owner, Answerable, TenantMember, Timed, RoundRobinItem {
  roundRobinIndex = -1;
  /** Bytes of answers made for it. */
  answered = 0;
  /** Requests whose answer is still to come. */
  awaited = 0;
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
  #identity: PassedIdentity;
  #access: Access;
  /** The one asked for last, of rooms that it is not in, or was not then. */
  #latest: Target | undefined;
  /** Others of that kind; few sessions have any. */
  #targets: Map<string, Target> | undefined;
  #answers: Encoded[] | undefined;
  /** Protocol errors; undefined: there was none. */
  #errors: Errors | undefined;
  due = 0;
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
    identity: PassedIdentity,
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
    this.connectedAt = domain.clock.now();
  }

  get identity(): PassedIdentity {
    return this.#identity;
  }

  /** How many rooms it may be in. */
  get roomsMax(): number {
    const { roomsPerConnection } = this.#domain.limits;
    return Math.min(roomsPerConnection, this.tenant.policy.roomsPerConnection || roomsPerConnection);
  }

  /** A refreshed credential: everything decided by the old one is forgotten. */
  adopt(identity: PassedIdentity): void {
    this.#identity = identity;
    this.#access = compileAccess(identity, this.tenant.policy.rooms);
    this.#latest = undefined;
    this.#targets = undefined;
    for (const member of this.rooms.values()) {
      member.grant = this.#access.grantFor(member.ref.name);
      member.schema = schemaOf(this.tenant.policy, member.ref);
    }
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
    const known = this.#known(name);
    if (known !== undefined) return known;
    const ref = this.#domain.rooms.ref(this.#identity.tenant, name);
    if (ref === undefined) return undefined;
    const grant = this.#access.grantFor(name);
    const target = { ref, grant, pub: allows(grant, 'pub'), schema: schemaOf(this.tenant.policy, ref) };
    this.#remember(target);
    return target;
  }

  #known(name: string): Target | undefined {
    if (this.#latest?.ref.name === name) return this.#latest;
    return this.rooms.get(name) ?? this.#targets?.get(name);
  }

  #remember(target: Target): void {
    const before = this.#latest;
    this.#latest = target;
    if (before === undefined || this.rooms.has(before.ref.name)) return;
    this.#targets ??= new Map();
    if (this.#targets.size >= TARGETS_MAX) this.#targets.clear();
    this.#targets.set(before.ref.name, before);
  }

  send(frame: ServerFrame): void {
    this.sendEncoded(encodeFrame(frame, this.connection.encoding));
  }

  /** Of answers, acks aside: what the turns of the loop and the points of the connection are about. */
  sendEncoded(data: Encoded): void {
    this.answered += this.#write(data);
  }

  #write(data: Encoded): number {
    const { tally, bundles } = this.#domain;
    bundles.flush(this.connection);
    tally.framesOut++;
    const bytes = bytesOf(data);
    tally.bytesOut += bytes;
    this.tenant.usage.bytesOut += bytes;
    this.connection.send(data);
    return bytes;
  }

  /** Points for what a frame has turned out to cost. */
  charge(points: number): void {
    const { limits } = this.#domain;
    if (limits.rates && points > 0) this.#allowance.charge(limits.operations, points);
  }

  /** A request whose answer may come later. The function it gives is to be called with the answer. */
  awaits(): () => void {
    this.awaited++;
    const before = this.answered;
    return () => {
      this.awaited--;
      const kib = Math.floor((this.answered - before) / 1024);
      this.charge(kib * this.#domain.limits.operations.costAnswerKiB);
      this.#domain.answered(this);
    };
  }

  /** An ack: it must not overtake the events of this turn; the acks of a turn go out as one message. */
  answer(frame: ServerFrame): void {
    if (this.#answers === undefined) {
      this.#answers = [];
      this.#domain.delivery.answerLater(this);
    }
    this.#answers.push(encodeFrame(frame, this.connection.encoding));
  }

  flushAnswers(): void {
    const answers = this.#answers;
    // Ending the session has sent them already.
    if (answers === undefined) return;
    this.#answers = undefined;
    this.#write(joinEncoded(answers, this.connection.encoding));
  }

  refuse(request: Request, fault: Omit<Fault, 'ok'>): void {
    this.#domain.tally.error(fault.code);
    if (fault.by !== undefined) this.#domain.tally.refused(fault.by);
    this.#domain.witness.refused(this.trail, request, fault);
    this.send(errorFrame(request, fault));
  }

  /** As `refuse`, of what has to be counted by the limit that refused. */
  refuseLimited(request: Request, refused: Refused): void {
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
    const { left, at } = this.#errors ?? { left: limits.protocolErrors, at: now };
    const regained = ((now - at) * limits.protocolErrors) / 60_000;
    this.#errors = { left: Math.min(limits.protocolErrors, left + Math.max(0, regained)) - 1, at: now };
    this.refuse(request, fault);
    if (this.#errors.left < 0) this.end('too_many_errors');
  }

  expel(membership: Membership, fault: Fault): void {
    this.drop(membership, 0, fault.code);
    this.#domain.tally.error(fault.code);
    this.send({ type: 'left', room: membership.room.ref.name, code: fault.code, reason: fault.reason });
  }

  /**
   * Takes the session out of a room, at an exact place in the room's order.
   * @param graceMs it is still shown in the room for so long, since it may come back
   * @param code why the server ends it
   */
  drop(membership: Membership, graceMs = 0, code?: ErrorCode): void {
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
    witness.left(membership, handed, this.#gone ? gone : witness.moment(), code);
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
