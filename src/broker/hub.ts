import type { ServerInfoFrame } from '../protocol/frames.ts';
import type { Inbound } from '../protocol/inbound.ts';
import { decodeJson } from '../protocol/json.ts';
import { decodeMsgpack } from '../protocol/msgpack.ts';
import { Backend } from './admin/backend.ts';
import type { NodeView } from './admin/view.ts';
import { Admission } from './admission.ts';
import { dispatch } from './dispatch.ts';
import { buildDomain, type Domain, type DomainParts } from './domain.ts';
import { Drain, type DrainPlan } from './drain/drain.ts';
import type { Cause, Exclusions } from './exclusion/exclusions.ts';
import { Gate, type PassedIdentity } from './exclusion/gate.ts';
import { Sweep } from './exclusion/sweep.ts';
import { Fates } from './fate/fates.ts';
import type { Departed } from './fate/trail.ts';
import { admitConnection, type ConnectRefusal } from './limits/admission.ts';
import { reconsider } from './limits/changes.ts';
import type { PlaceWait } from './limits/place-queue.ts';
import type {
  Connection,
  Identity,
  Peer,
  Resumption,
  Tickets,
  TicketVerdict,
  TokenVerifier,
} from './ports.ts';
import { type Ending, Resumptions } from './resumption.ts';
import { roomKey } from './rooms.ts';
import { Seconds } from './seconds.ts';
import { Session } from './session.ts';
import { Arrivals } from './sessions/arrivals.ts';
import { Elsewhere, type Inquiry } from './sessions/elsewhere.ts';
import { Endings } from './sessions/endings.ts';
import { FrameTurns } from './sessions/frame-turns.ts';
import { SessionPeer, type Ways } from './sessions/peer.ts';
import { closedBy } from './tally.ts';

export interface HubParts extends Omit<DomainParts, 'gate' | 'answered'> {
  readonly verifier: TokenVerifier;
  readonly tickets: Tickets;
  readonly exclusions: Exclusions;
  /** A new id that nobody can guess. */
  readonly newId: () => string;
}

/** What this server can do beyond the bare protocol; clients look here before they ask for it. */
const FEATURES = [
  'history',
  'presence',
  'refresh',
  'batch',
  'echo',
  'ephemeral',
  'resume',
  'tickets',
  'seen',
  'overflow',
  'msgpack',
  'traceparent',
] as const;

/** All sessions of a node: how they begin, what they receive, how they end. */
export class Hub {
  readonly #parts: Pick<HubParts, 'cluster' | 'ticks' | 'after'>;
  /** Every credential goes through it, whatever door it is shown at. */
  readonly gate: Gate;
  readonly #domain: Domain;
  readonly #backend: Backend;
  readonly #tickets: Tickets;
  readonly #exclusions: Exclusions;
  readonly #newId: () => string;
  readonly #sessions = new Map<string, Session>();
  readonly #resumptions: Resumptions;
  readonly #turns: FrameTurns<Session>;
  readonly #arrivals: Arrivals;
  readonly #endings: Endings;
  readonly #elsewhere: Elsewhere;
  #drain: Drain | undefined;
  readonly #ways: Ways;
  /** When tokens run out, or tickets have to be renewed before that. */
  readonly #due: Seconds<Session>;

  constructor(parts: HubParts) {
    this.#parts = parts;
    this.gate = new Gate({
      ...parts,
      policies: parts.tenants.policies,
      life: parts.exclusions.life,
      openTicket: (ticket) => this.openTicket(ticket),
    });
    this.#domain = buildDomain(
      { ...parts, gate: this.gate, answered: (session) => this.#turns.wake(session) },
      this.#sessions,
    );
    this.#backend = new Backend(this.#domain, this.#sessions);
    this.#tickets = parts.tickets;
    this.#exclusions = parts.exclusions;
    const { defer } = parts;
    this.#turns = this.#turnsOf(parts);
    const { tenants } = this.#domain;
    tenants.policies.watch((name) => {
      const tenant = tenants.known(name);
      if (tenant !== undefined) reconsider(tenant, defer);
    });
    const sweep = new Sweep({
      ...parts,
      sessions: this.#sessions,
      excluded: ({ identity, connection, id }: Session, causes: ReadonlySet<Cause>) =>
        this.#exclusions.of(identity, connection.address, id, causes),
    });
    parts.exclusions.watch((cause) => sweep.changed(cause));
    this.#newId = parts.newId;
    this.#ways = {
      receive: (session, bytes, isBinary) => this.#receive(session, bytes, isBinary),
      drained: (session) => this.#drained(session),
      closed: (session, code, reason) => this.#closed(session, code, reason),
    };
    this.#resumptions = new Resumptions(parts.tickets.ttlSeconds);
    const common = { cluster: parts.cluster, tenants, stamps: this.#domain.stamps };
    this.#arrivals = new Arrivals({
      ...common,
      sessions: this.#sessions,
      wentOn: (newest) => this.#wentOn(newest),
      defer,
    });
    this.#endings = new Endings({ cluster: parts.cluster, resumptions: this.#resumptions, defer });
    this.#elsewhere = new Elsewhere({ ...common, askMs: parts.askMs });
    this.#due = new Seconds(parts.clock.now());
  }

  #drained(session: Session): void {
    const { catchUps, slow } = this.#domain;
    catchUps.drained(session.rooms.values());
    slow.drained(session);
    this.#turns.wake(session);
  }

  #turnsOf({ defer, ticks, limits, log }: HubParts): FrameTurns<Session> {
    const handle = (session: Session, frame: Inbound) => this.#handle(session, frame);
    const admission = new Admission({ domain: this.#domain, defer, ticks, handle });
    const take = (session: Session, frame: Inbound) => admission.take(session, frame);
    return new FrameTurns({ limits, defer, ticks, handle: take, log });
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** For the admin calls. */
  get view(): NodeView {
    const { rooms, tally, bus, clock } = this.#domain;
    return {
      backend: this.#backend,
      policies: this.#domain.tenants.policies,
      violations: this.#domain.schemas.samples,
      fates: new Fates(this.#domain, this.#sessions),
      sessions: this.#sessions,
      rooms: () => rooms.all(),
      room: (tenant, name) => rooms.get(roomKey(tenant, name)),
      tally,
      health: () => bus.health(),
      now: () => clock.now(),
    };
  }

  /** Tenants that something is known of. */
  get tenants(): number {
    return this.#domain.tenants.size;
  }

  /**
   * The identity behind a ticket. One that this node has seen used is refused; on a node that knows nothing of
   * the session a second use within the ticket's life passes, and takes the session over.
   */
  openTicket(ticket: string): TicketVerdict {
    const verdict = this.#tickets.open(ticket);
    if (!verdict.ok) return verdict;
    const live = this.#sessions.get(verdict.resumes.session);
    const used =
      this.#resumptions.used(verdict.resumes) || (live?.generation ?? 0) > verdict.resumes.generation;
    return used ? { ok: false, code: 'unauthorized', reason: 'the ticket has been used already' } : verdict;
  }

  /** What other nodes have to say first; undefined: nothing. */
  inquire(identity: Identity, resumes?: Resumption): Inquiry | undefined {
    return this.#elsewhere.ask(identity, resumes);
  }

  /**
   * Why a verified client may not connect now, if so; to be asked in the turn of `connect`.
   * @param elsewhere what came of `inquire`
   */
  admit(identity: Identity, resumes?: Resumption, elsewhere = 0): ConnectRefusal | undefined {
    const { tenants } = this.#domain;
    const replaced = resumes !== undefined && this.#sessions.has(resumes.session) ? 1 : 0;
    return admitConnection(tenants.of(identity.tenant), identity, replaced, elsewhere);
  }

  /** `admit` found no place for the tenant: undefined, or what to wait for before it is asked again. */
  awaitPlace(identity: Identity, ms: number): PlaceWait | undefined {
    return this.#domain.tenants.awaitPlace(identity.tenant, ms);
  }

  /** The session of a new connection; the first frame it gets is `server_info`. */
  connect(connection: Connection, identity: PassedIdentity, resumes?: Resumption): Peer {
    const stamp = this.#domain.stamps.next();
    const place = resumes
      ? { session: resumes.session, generation: resumes.generation + 1, stamp }
      : { session: this.#newId(), generation: 1, stamp };
    this.#sessions.get(place.session)?.end('replaced', 'a newer connection of this session took over');
    const session = new Session(place, connection, identity, this.#domain);
    this.#sessions.set(session.id, session);
    this.#domain.slow.connected(session);
    this.#arrived(session);
    this.#domain.lifecycle.connected(session);
    this.#exclusions.abuse.connected(identity, connection.address);
    this.#domain.tally.connections = this.#sessions.size;
    this.#schedule(session);
    session.send(this.#serverInfo(session, resumes && this.#resumptions.take(resumes)));
    this.#domain.log.debug(
      { session: session.id, tenant: identity.tenant, user: identity.user },
      'connected',
    );
    return new SessionPeer(session, this.#ways);
  }

  /** To be called about once a second. */
  tick(): void {
    const now = this.#domain.clock.now();
    for (const session of this.#due.take(now)) this.#fallsDue(session, now / 1000);
    this.#resumptions.sweep(now);
    this.#domain.tenants.tick(now);
    this.#domain.presence.tick(now);
    this.#domain.lifecycle.tick();
    this.#domain.witness.trails.tick(now);
  }

  /** Members whom the other nodes know from this one alone, while their grace lasts; 0 where there is no other node. */
  get keptByGrace(): number {
    const { cluster } = this.#parts;
    const heard = cluster.nodes().some(({ node, status }) => node !== cluster.node && !status.draining);
    return heard ? this.#domain.presence.kept : 0;
  }

  /** Before the cluster: what is not over yet is given to other nodes. */
  async close(): Promise<void> {
    await this.#domain.lifecycle.close();
    this.#arrivals.close();
    this.#endings.close();
    this.#elsewhere.close();
    this.#domain.places.close();
  }

  /** Sends everybody away; to be called once. `done` may run before it returns. */
  drain(plan: DrainPlan, random: () => number, done: () => void): Drain {
    const ticketOf = (session: Session) => this.#ticketOf(session);
    const { cluster, ticks, after } = this.#parts;
    this.#drain = new Drain(plan, {
      sessions: this.#sessions,
      cluster,
      ticks,
      after,
      ticketOf,
      random,
      done,
    });
    return this.#drain;
  }

  #wentOn(newest: Resumption): void {
    this.#resumptions.wentOn(newest);
    this.#domain.presence.wentOn(newest.session);
    this.#drain?.back(newest.session);
  }

  #arrived(session: Session): void {
    const { tenant, identity } = session;
    if (tenant.policy.onDuplicate === 'replace')
      for (const other of tenant.users.of(identity.user))
        other.end('replaced', 'a newer connection of the user took over');
    tenant.arrived(identity.user, session);
    this.#arrivals.arrived(session);
    tenant.usage.connected(this.#domain.clock.now());
  }

  #receive(session: Session, bytes: Uint8Array, isBinary: boolean): void {
    const { tally } = this.#domain;
    tally.bytesIn += bytes.byteLength;
    session.tenant.usage.bytesIn += bytes.byteLength;
    const inbound = isBinary ? this.#binary(session, bytes) : this.#text(session, bytes);
    const frames = Array.isArray(inbound) ? inbound : [inbound];
    tally.messagesIn += frames.length;
    if (!session.ended) this.#turns.receive(session, frames, bytes.byteLength);
  }

  #text(session: Session, bytes: Uint8Array): Inbound | Inbound[] {
    if (session.connection.encoding === 'json') return decodeJson(bytes, this.#domain.limits);
    return { type: 'fault', code: 'bad_frame', reason: 'chat.v1.msgpack takes binary messages' };
  }

  #binary(session: Session, bytes: Uint8Array): Inbound | Inbound[] {
    if (session.connection.encoding === 'msgpack') return decodeMsgpack(bytes, this.#domain.limits);
    return { type: 'fault', code: 'bad_frame', reason: 'chat.v1 takes text messages' };
  }

  #handle(session: Session, frame: Inbound): void {
    try {
      dispatch(session, frame, this.#domain, (renewed) => this.#renewTicket(renewed));
    } catch (error) {
      // A broken invariant of ours must cost one request, not every connection of the node.
      this.#domain.log.error({ err: error, session: session.id, frame: frame.type }, 'frame failed');
      // With the msgId of a publish (C3.9.2): without it the publisher waits for an answer until its own deadline.
      session.refuse(frame, { code: 'internal', reason: 'the server failed on this frame' });
    }
  }

  #closed(session: Session, code: number, reason: string | undefined): void {
    this.#domain.lifecycle.closed(session, session.endedWith?.code ?? code);
    session.closed(code);
    this.#turns.closed(session);
    this.#domain.slow.closed(session);
    session.tenant.departed(session.identity.user, session);
    session.tenant.usage.disconnected(this.#domain.clock.now());
    this.#due.delete(session);
    // A session taken over has a newer connection under the same id.
    if (this.#sessions.get(session.id) === session) this.#sessions.delete(session.id);
    const { id, generation, newest } = session;
    const { endedWith } = session;
    const at = this.#domain.clock.now();
    const ending = { code: endedWith?.code ?? code, reason: endedWith?.reason ?? reason ?? '', at };
    this.#domain.witness.departed(departed(session, ending));
    this.#resumptions.ended({ session: id, generation }, newest, ending);
    if ((endedWith !== undefined || reason !== undefined) && newest === generation)
      this.#endings.ended({ session: id, generation }, ending);
    this.#domain.tally.connections = this.#sessions.size;
    this.#domain.tally.close(closedBy(code));
    this.#exclusions.abuse.closed(session.identity, session.connection.address, code);
    const { tenant, user } = session.identity;
    this.#domain.log.debug({ session: id, tenant, user, code }, 'closed');
  }

  #schedule(session: Session): void {
    const { exp } = session.identity;
    // At half of its life: a client whose connection breaks has at least the other half to come back.
    const renewal = this.#domain.clock.now() / 1000 + this.#tickets.ttlSeconds / 2;
    this.#due.set(session, exp === undefined ? renewal : Math.min(exp, renewal));
  }

  #fallsDue(session: Session, nowSeconds: number): void {
    const { exp } = session.identity;
    if (exp !== undefined && exp <= nowSeconds) session.end('token_expired');
    else this.#renewTicket(session);
  }

  #renewTicket(session: Session): void {
    if (session.ended) return;
    this.#schedule(session);
    const ticket = this.#ticketOf(session);
    if (ticket !== undefined) session.send({ type: 'ticket', ticket, ticketTtl: this.#tickets.ttlSeconds });
  }

  #ticketOf(session: Session): string | undefined {
    return this.#tickets.issue(session.identity, { session: session.id, generation: session.generation });
  }

  #serverInfo(session: Session, last: Ending | undefined): ServerInfoFrame {
    const { node, limits } = this.#domain;
    const ticket = this.#ticketOf(session);
    return {
      type: 'server_info',
      serverId: node.serverId,
      region: node.region,
      version: node.version,
      maxFrame: limits.frameBytes,
      heartbeat: node.heartbeatSeconds,
      session: session.id,
      resumed: session.generation > 1,
      user: session.identity.user,
      tenant: session.identity.tenant,
      ...(ticket !== undefined && { ticket, ticketTtl: this.#tickets.ttlSeconds }),
      features: FEATURES,
      limits: {
        payloadBytes: limits.payloadBytes,
        batch: limits.batch,
        roomsPerConnection: session.roomsMax,
        historyPage: limits.historyPage,
      },
      reconnect: node.reconnect,
      ...(last !== undefined && { last }),
    };
  }
}

function departed(session: Session, { code, reason, at }: Ending): Departed {
  const { id, stamp, connectedAt, endedWith, trail } = session;
  const { tenant, user } = session.identity;
  const unsent = endedWith?.unsent;
  return { session: id, tenant, user, stamp, connectedAt, at, code, reason, unsent, trail };
}
