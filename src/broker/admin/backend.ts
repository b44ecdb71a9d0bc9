/** What backends may do with rooms, on whichever node they ask. */
import { isRoomName } from '../../protocol/room.ts';
import { countPublish } from '../commands/publish.ts';
import type { Domain } from '../domain.ts';
import { encodeEvent } from '../encode.ts';
import { RoomEvent } from '../event.ts';
import type { Accepted, Fault, HistoryPage, HistoryQuery, RoomRef } from '../ports.ts';
import type { PresenceAnswer } from '../presence/presence.ts';
import { schemaOf } from '../schema/schema.ts';
import type { Session } from '../session.ts';
import { fault, NO_PRESENCE, NO_SUCH_ROOM } from '../session.ts';

export interface BackendPublication {
  readonly tenant: string;
  readonly room: string;
  /** JSON text. */
  readonly payload: string;
  readonly from: string;
  readonly msgId?: string | undefined;
  readonly key?: string | undefined;
  /** Checked by `isTraceparent`. */
  readonly traceparent?: string | undefined;
}

/** The rooms of events for all connections of a tenant, and for single ones: nobody can join rooms of such names. */
const TENANT_ROOM = '@*';
const SESSION_ROOM = '@!';

export class Backend {
  readonly #domain: Domain;
  readonly #sessions: ReadonlyMap<string, Session>;

  constructor(domain: Domain, sessions: ReadonlyMap<string, Session>) {
    this.#domain = domain;
    this.#sessions = sessions;
  }

  /** As a client's publish: the tenant's limits hold, durable rooms answer when it is stored. */
  publish({ tenant, room, ...rest }: BackendPublication): Promise<Accepted | Fault> {
    const { rooms } = this.#domain;
    const ref = isRoomName(room) ? rooms.ref(tenant, room) : undefined;
    if (ref === undefined) return Promise.resolve(NO_SUCH_ROOM);
    return this.#publish(ref, rest).then((outcome) => {
      const { witness } = this.#domain;
      const asked = { type: 'pub', room: ref.key, ...(rest.msgId && { msgId: rest.msgId }) };
      if (!outcome.ok) witness.refused(witness.backends, asked, outcome);
      return outcome;
    });
  }

  #publish(ref: RoomRef, rest: Omit<BackendPublication, 'tenant' | 'room'>): Promise<Accepted | Fault> {
    const { clock, tenants, tally, schemas } = this.#domain;
    const { tenant, name: room } = ref;
    const oversized = this.oversized(rest.payload);
    if (oversized !== undefined) return Promise.resolve(oversized);
    const refused = tenants.of(tenant).admitPublish(rest.payload, clock);
    if (refused !== undefined) {
      tally.refused(refused.by);
      return Promise.resolve(refused);
    }
    const schema = schemaOf(tenants.policies.of(tenant), ref);
    const misfit =
      schema &&
      schemas.violation(schema, JSON.parse(rest.payload), rest.payload, { tenant, room, user: rest.from });
    if (schema?.mode === 'enforce' && misfit !== undefined) return Promise.resolve({ ok: false, ...misfit });
    return this.#toBus(ref, rest);
  }

  #toBus(room: RoomRef, publication: Omit<BackendPublication, 'tenant' | 'room'>): Promise<Accepted | Fault> {
    const { bus, tenants, tracing } = this.#domain;
    const span = tracing.publish(room, publication.payload, publication.traceparent);
    const traced = span === undefined ? publication : { ...publication, traceparent: span.traceparent };
    return new Promise((settled) => {
      bus.publish({ room, ...traced, ephemeral: false }, (outcome) => {
        span?.end(outcome);
        if (outcome.ok)
          countPublish(this.#domain, tenants.of(room.tenant), { room, ...publication }, outcome);
        settled(outcome);
      });
    });
  }

  history(tenant: string, room: string, query: Omit<HistoryQuery, 'maxBytes'>): Promise<HistoryPage | Fault> {
    const { rooms, bus, limits } = this.#domain;
    const ref = isRoomName(room) ? rooms.ref(tenant, room) : undefined;
    if (ref === undefined) return Promise.resolve(NO_SUCH_ROOM);
    const bounded = {
      ...query,
      limit: Math.min(query.limit, limits.historyPage),
      maxBytes: limits.historyPageBytes,
    };
    return new Promise((done) => bus.history(ref, bounded, done));
  }

  /** Who is in a room, on all nodes. */
  presence(tenant: string, room: string): Promise<PresenceAnswer | Fault> {
    const { rooms, tenants, presence } = this.#domain;
    const ref = isRoomName(room) ? rooms.ref(tenant, room) : undefined;
    if (ref === undefined) return Promise.resolve(NO_SUCH_ROOM);
    const { presence: policy } = tenants.of(tenant).policy;
    if (policy === 'off') return Promise.resolve(NO_PRESENCE);
    return new Promise((done) => presence.ask(ref.key, policy, undefined, done));
  }

  /** To every connection that the tenant has on this node, at most once; gives how many there are. */
  broadcast(tenant: string, payload: string, from: string): number {
    return this.#send(TENANT_ROOM, this.#sessions.values(), tenant, payload, from);
  }

  /** To these sessions, as far as they are connected to this node now; gives how many are. */
  message(tenant: string, ids: readonly string[], payload: string, from: string): number {
    const here = ids.map((id) => this.#sessions.get(id)).filter((session) => session !== undefined);
    return this.#send(SESSION_ROOM, here, tenant, payload, from);
  }

  #send(room: string, sessions: Iterable<Session>, tenant: string, payload: string, from: string): number {
    const event = new RoomEvent({ room, payload, ts: this.#domain.clock.now(), from });
    let count = 0;
    for (const session of sessions) {
      if (session.identity.tenant !== tenant || session.ended) continue;
      session.sendEncoded(encodeEvent(event, session.connection.encoding));
      count++;
    }
    return count;
  }

  /** Of what goes to connections without a room: it passes no bus that would say so. */
  oversized(payload: string): Fault | undefined {
    const limit = this.#domain.limits.payloadBytes;
    const bytes = Buffer.byteLength(payload);
    return bytes > limit
      ? fault('payload_too_large', `the payload has ${bytes} bytes`, { limit })
      : undefined;
  }
}
