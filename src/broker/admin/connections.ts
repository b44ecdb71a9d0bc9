import type { Session } from '../session.ts';
import type { NodeView } from './view.ts';

export interface ConnectionQuery {
  readonly tenant?: string | undefined;
  readonly user?: string | undefined;
  readonly room?: string | undefined;
  readonly limit: number;
  /** The session id of the last one on the page before. */
  readonly after?: string | undefined;
}

export interface ConnectionInfo {
  readonly session: string;
  readonly user: string;
  readonly tenant: string;
  readonly ip: string;
  /** The first hundred names. */
  readonly rooms: readonly string[];
  readonly roomCount: number;
  /** Bytes waiting to be sent. */
  readonly buffered: number;
  /** Milliseconds since 1970. */
  readonly connectedAt: number;
  readonly node: string;
}

export interface ConnectionPage {
  readonly connections: readonly ConnectionInfo[];
  /** Give it as `after` for the next page; absent: this was the last. */
  readonly next?: string;
}

const NAMES = 100;

/** In the order of the session ids, so that pages over several nodes fit together while clients come and go. */
export function listConnections(view: NodeView, query: ConnectionQuery, node: string): ConnectionPage {
  const chosen = firstById(matching(view, query), query.limit + 1);
  return page(
    chosen.map((session) => infoOf(session, node)),
    query.limit,
  );
}

export function mergeConnections(pages: readonly ConnectionPage[], limit: number): ConnectionPage {
  const all = pages.flatMap(({ connections }) => connections);
  all.sort((one, other) => (one.session < other.session ? -1 : 1));
  const merged = page(all, limit);
  if (merged.next !== undefined || pages.every(({ next }) => next === undefined)) return merged;
  const last = merged.connections.at(-1);
  return last === undefined ? merged : { ...merged, next: last.session };
}

function page(found: readonly ConnectionInfo[], limit: number): ConnectionPage {
  const connections = found.slice(0, limit);
  const last = connections.at(-1);
  return found.length > limit && last !== undefined ? { connections, next: last.session } : { connections };
}

function* matching(view: NodeView, query: ConnectionQuery): Generator<Session> {
  for (const session of view.sessions.values()) {
    const { tenant, user } = session.identity;
    if (query.after !== undefined && session.id <= query.after) continue;
    if (query.tenant !== undefined && tenant !== query.tenant) continue;
    if (query.user !== undefined && user !== query.user) continue;
    if (query.room !== undefined && !session.rooms.has(query.room)) continue;
    yield session;
  }
}

/** Sorting all of 20,000 for a page of 100 would hold the loop for 15 ms. */
function firstById(sessions: Iterable<Session>, count: number): Session[] {
  let best: Session[] = [];
  const cut = () => {
    best.sort((one, other) => (one.id < other.id ? -1 : 1));
    best = best.slice(0, count);
  };
  for (const session of sessions) {
    best.push(session);
    if (best.length >= 4 * count) cut();
  }
  cut();
  return best;
}

function infoOf(session: Session, node: string): ConnectionInfo {
  const { user, tenant } = session.identity;
  return {
    session: session.id,
    user,
    tenant,
    ip: session.connection.address,
    rooms: [...session.rooms.keys()].slice(0, NAMES),
    roomCount: session.rooms.size,
    buffered: session.connection.buffered(),
    connectedAt: session.connectedAt,
    node,
  };
}
