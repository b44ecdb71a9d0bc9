import type { Cancel, Cluster } from '../cluster.ts';
import type { Tenants } from '../limits/tenants.ts';
import type { Defer, Resumption } from '../ports.ts';
import type { Session } from '../session.ts';
import { isBefore, type Stamps } from './stamps.ts';

export interface ArrivalsParts {
  readonly cluster: Cluster;
  readonly sessions: ReadonlyMap<string, Session>;
  /** The session, which is not here, has a connection on another node. */
  readonly wentOn: (newest: Resumption) => void;
  readonly tenants: Tenants;
  readonly stamps: Stamps;
  readonly defer: Defer;
}

const TOPIC = 'sessions.arrived';
/** In one message: users' names can be as long as their token. */
const AT_ONCE = 50;
/** Arrivals told again in one turn of the loop, after NATS was away. */
const PER_TURN = 1000;

/** A connection, as other nodes are told of it. */
interface Arrival {
  readonly session: string;
  readonly generation: number;
  readonly stamp: number;
  /** Present where the user's older connections are to end. */
  readonly tenant?: string;
  readonly user?: string;
}

/**
 * One connection per session on all nodes together, and one per user where `onDuplicate` is `replace`: a node tells the
 * others who has come, and whoever has an older connection ends it. A node that has a newer one tells that, so that
 * both know; since all compare the same numbers, they agree without asking. New sessions of other tenants cost nothing.
 */
export class Arrivals {
  readonly #parts: ArrivalsParts;
  readonly #cancels: readonly Cancel[];
  #untold: Arrival[] = [];

  constructor(parts: ArrivalsParts) {
    this.#parts = parts;
    const { cluster } = parts;
    this.#cancels = [
      cluster.hear(TOPIC, (message, from) => this.#heard(message as readonly Arrival[], from)),
      cluster.watchConnected((connected) => {
        if (connected) this.#tellAgain();
      }),
    ];
  }

  close(): void {
    for (const cancel of this.#cancels) cancel();
  }

  /** A session that has just connected here. */
  arrived(session: Session): void {
    if (!concernsOthers(session)) return;
    if (this.#untold.length === 0) this.#parts.defer(() => this.#tell());
    this.#untold.push(arrivalOf(session));
  }

  #tell(): void {
    const arrivals = this.#untold;
    this.#untold = [];
    // What cannot be told now is when NATS is back.
    for (let at = 0; at < arrivals.length; at += AT_ONCE)
      this.#parts.cluster.tell(TOPIC, arrivals.slice(at, at + AT_ONCE));
  }

  #tellAgain(): void {
    const { sessions, defer } = this.#parts;
    const all = [...sessions.values()].filter(concernsOthers);
    const turn = () => {
      this.#untold.push(...all.splice(0, PER_TURN).map(arrivalOf));
      this.#tell();
      if (all.length > 0) defer(turn);
    };
    if (all.length > 0) turn();
  }

  #heard(arrivals: readonly Arrival[], from: string): void {
    for (const arrival of arrivals) {
      this.#parts.stamps.heard(arrival.stamp);
      this.#sameSession(arrival, from);
      if (arrival.user !== undefined) this.#sameUser(arrival, arrival.user, from);
    }
  }

  #sameSession(arrival: Arrival, from: string): void {
    const { sessions, wentOn } = this.#parts;
    const mine = sessions.get(arrival.session);
    if (mine === undefined) return wentOn(arrival);
    mine.newest = Math.max(mine.newest, arrival.generation);
    this.#settle(mine, arrival, from, 'a newer connection of this session took over');
  }

  #sameUser(arrival: Arrival, user: string, from: string): void {
    const tenant = this.#parts.tenants.known(arrival.tenant ?? '');
    for (const other of tenant?.users.of(user) ?? []) {
      const mine = this.#parts.sessions.get(other.id);
      if (mine !== undefined) this.#settle(mine, arrival, from, 'a newer connection of the user took over');
    }
  }

  #settle(mine: Session, arrival: Arrival, from: string, reason: string): void {
    if (mine.ended) return;
    const { cluster } = this.#parts;
    const own = arrivalOf(mine);
    if (isNewer(arrival, from, own, cluster.node)) mine.end('replaced', reason);
    // With the user: it came as one whose older connections end.
    else cluster.tellNode(from, TOPIC, [{ ...own, ...userOf(arrival) }]);
  }
}

/** By the session's own count where both are of one session; otherwise by when they came. */
function isNewer(one: Arrival, node: string, other: Arrival, otherNode: string): boolean {
  if (one.session === other.session && one.generation !== other.generation)
    return one.generation > other.generation;
  return isBefore({ stamp: other.stamp, node: otherNode }, { stamp: one.stamp, node });
}

function concernsOthers({ generation, tenant }: Session): boolean {
  return generation > 1 || tenant.policy.onDuplicate === 'replace';
}

function arrivalOf(session: Session): Arrival {
  const { id, generation, stamp, tenant, identity } = session;
  const own = { session: id, generation, stamp };
  return tenant.policy.onDuplicate === 'replace'
    ? { ...own, tenant: identity.tenant, user: identity.user }
    : own;
}

function userOf({ tenant, user }: Arrival): Pick<Arrival, 'tenant' | 'user'> {
  return tenant === undefined || user === undefined ? {} : { tenant, user };
}
