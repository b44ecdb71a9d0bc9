import type { ServerInfoFrame } from '../protocol/frames.ts';
import type { Inbound } from '../protocol/inbound.ts';
import { decodeJson } from '../protocol/json.ts';
import { decodeMsgpack } from '../protocol/msgpack.ts';
import { CatchUps } from './catchup.ts';
import { Delivery } from './delivery.ts';
import { dispatch } from './dispatch.ts';
import type { Domain } from './domain.ts';
import { type After, type DrainPlan, drainSessions } from './drain.ts';
import { Expiries } from './expiry.ts';
import { PresenceNotices } from './notices.ts';
import type { Bus, Clock, Connection, Defer, Fanout, Identity, Log, Peer, TokenVerifier } from './ports.ts';
import { Rooms } from './rooms.ts';
import { Session } from './session.ts';
import type { Limits, NodeIdentity, RoomPolicy } from './settings.ts';
import { SlowReaders } from './slow.ts';
import { closedBy, type Tally } from './tally.ts';

export interface HubParts {
  readonly node: NodeIdentity;
  readonly limits: Limits;
  readonly policies: readonly RoomPolicy[];
  readonly bus: Bus;
  readonly fanout: Fanout;
  readonly verifier: TokenVerifier;
  readonly clock: Clock;
  readonly defer: Defer;
  readonly tally: Tally;
  readonly log: Log;
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
  'msgpack',
] as const;

/** All sessions of a node, and the parts that they work with. */
export class Hub {
  readonly #domain: Domain;
  readonly #newId: () => string;
  readonly #sessions = new Map<string, Session>();
  readonly #expiries: Expiries;

  constructor(parts: HubParts) {
    const { bus, fanout, clock, defer, limits, tally } = parts;
    const delivery = new Delivery(fanout, defer, clock, tally);
    const catchUps = new CatchUps({ bus, delivery, limits, clock, defer, tally });
    const slow = new SlowReaders({ sessions: this.#sessions, limits, delivery, catchUps, tally });
    delivery.whenPublished((bytes) => slow.published(bytes));
    this.#domain = {
      node: parts.node,
      limits,
      clock,
      tally,
      log: parts.log,
      bus,
      fanout,
      verifier: parts.verifier,
      delivery,
      rooms: new Rooms(parts.policies, bus, delivery, tally),
      catchUps,
      slow,
      notices: new PresenceNotices(fanout, delivery),
    };
    this.#newId = parts.newId;
    this.#expiries = new Expiries(clock.now());
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** The session of a new connection; the first frame it gets is `server_info`. */
  connect(connection: Connection, identity: Identity): Peer {
    const session = new Session(this.#newId(), connection, identity, this.#domain);
    this.#sessions.set(session.id, session);
    this.#domain.tally.connections = this.#sessions.size;
    this.#expiries.schedule(session);
    session.send(this.#serverInfo(session));
    this.#domain.log.debug(
      { session: session.id, tenant: identity.tenant, user: identity.user },
      'connected',
    );
    return {
      receive: (bytes, isBinary) => this.#receive(session, bytes, isBinary),
      drained: () => {
        this.#domain.catchUps.drained(session.rooms.values());
        this.#domain.slow.drained(session);
      },
      closed: (code) => this.#closed(session, code),
    };
  }

  /** To be called about once a second. */
  tick(): void {
    this.#expiries.end(this.#domain.clock.now());
  }

  drain(plan: DrainPlan, random: () => number, after: After, done: () => void): void {
    drainSessions([...this.#sessions.values()], plan, random, after, done);
  }

  #receive(session: Session, bytes: Uint8Array, isBinary: boolean): void {
    const { tally } = this.#domain;
    tally.bytesIn += bytes.byteLength;
    const inbound = isBinary ? this.#binary(session, bytes) : this.#text(session, bytes);
    if (!Array.isArray(inbound)) {
      tally.messagesIn++;
      this.#dispatch(session, inbound);
      return;
    }
    tally.messagesIn += inbound.length;
    for (const frame of inbound) this.#dispatch(session, frame);
  }

  #text(session: Session, bytes: Uint8Array): Inbound | Inbound[] {
    if (session.connection.encoding === 'json') return decodeJson(bytes, this.#domain.limits);
    return { type: 'fault', code: 'bad_frame', reason: 'chat.v1.msgpack takes binary messages' };
  }

  #binary(session: Session, bytes: Uint8Array): Inbound | Inbound[] {
    if (session.connection.encoding === 'msgpack') return decodeMsgpack(bytes, this.#domain.limits);
    return { type: 'fault', code: 'bad_frame', reason: 'chat.v1 takes text messages' };
  }

  #dispatch(session: Session, frame: Inbound): void {
    if (session.ended) return;
    try {
      dispatch(session, frame, this.#domain, (renewed) => this.#expiries.schedule(renewed));
    } catch (error) {
      // A broken invariant of ours must cost one request, not every connection of the node.
      this.#domain.log.error({ err: error, session: session.id, frame: frame.type }, 'frame failed');
      session.refuse('id' in frame && frame.id !== undefined ? { id: frame.id } : {}, {
        code: 'internal',
        reason: 'the server failed on this frame',
      });
    }
  }

  #closed(session: Session, code: number): void {
    session.closed();
    this.#expiries.cancel(session);
    this.#sessions.delete(session.id);
    this.#domain.tally.connections = this.#sessions.size;
    this.#domain.tally.close(closedBy(code));
    const { tenant, user } = session.identity;
    this.#domain.log.debug({ session: session.id, tenant, user, code }, 'closed');
  }

  #serverInfo(session: Session): ServerInfoFrame {
    const { node, limits } = this.#domain;
    return {
      type: 'server_info',
      serverId: node.serverId,
      region: node.region,
      version: node.version,
      maxFrame: limits.frameBytes,
      heartbeat: node.heartbeatSeconds,
      session: session.id,
      resumed: false,
      user: session.identity.user,
      tenant: session.identity.tenant,
      features: FEATURES,
      limits: {
        payloadBytes: limits.payloadBytes,
        batch: limits.batch,
        roomsPerConnection: limits.roomsPerConnection,
        historyPage: limits.historyPage,
      },
      reconnect: node.reconnect,
    };
  }
}
