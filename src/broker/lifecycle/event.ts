/** What becomes of sessions and rooms, as backends read it: docs/operations/lifecycle.md. */

export const LIFECYCLE_EVENTS = [
  'connected',
  'resumed',
  'joined',
  'left',
  'replaced',
  'kicked',
  'expired',
  'occupied',
  'vacated',
] as const;
export type LifecycleKind = (typeof LIFECYCLE_EVENTS)[number];

export interface LifecycleEvent {
  /** The same for the same event, however often and by whomever it is told: session:generation:event[:room]. */
  readonly id: string;
  readonly event: LifecycleKind;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Where the connection was, or the room's first or last member. */
  readonly node: string;
  /** That run of the node's process. */
  readonly run: string;
  readonly tenant: string;
  readonly user?: string;
  readonly session?: string;
  readonly generation?: number;
  readonly room?: string;
  /** How the connection ended: its close code. */
  readonly code?: number;
  /** Concluded by another node, or by a later run, after the node had died. */
  readonly inferred?: true;
}

/** One connection of a session, with what is needed to tell its end. */
export interface Parting {
  readonly session: string;
  readonly generation: number;
  readonly tenant: string;
  readonly user: string;
  readonly node: string;
  readonly run: string;
  /** Rooms that it was in; `name#n` where it had left others before in this generation. */
  readonly places: readonly string[];
  readonly code?: number;
  readonly inferred?: true;
  /** The session has a newer connection, whose node tells its end. */
  readonly wentOn?: true;
  /** Milliseconds since 1970: until then it may come back. */
  readonly until: number;
}

/** Where events go. Never throws; what it cannot take it counts. */
export interface LifecycleSink {
  append(event: LifecycleEvent): void;
  /** Resolves with true when all that was appended is kept. */
  flushed(): Promise<boolean>;
}

/** Reads back what a run has recorded. undefined: it cannot be read now. */
export type LifecycleArchive = (run: string) => Promise<readonly LifecycleEvent[] | undefined>;

/** The room's name of a place. */
export function roomOf(place: string): string {
  const [name = ''] = place.split('#');
  return name;
}

/** Which connections of a run were open at the end of its record, and in which rooms. */
export function stillOpen(events: readonly LifecycleEvent[], until: number): Parting[] {
  const open = new Map<string, LifecycleEvent>();
  const places = new Map<string, Set<string>>();
  for (const event of events) {
    if (event.session === undefined) continue;
    const key = `${event.session}:${event.generation}`;
    if (event.event === 'connected' || event.event === 'resumed') {
      open.set(key, event);
      places.set(key, places.get(key) ?? new Set());
    } else if (event.event === 'joined') places.get(key)?.add(placeOf(event));
    else if (event.event === 'left') places.get(key)?.delete(placeOf(event));
    else if (event.event === 'expired' || event.event === 'kicked') open.delete(key);
  }
  return [...open].map(([key, { session = '', generation = 0, tenant, user = '', node, run }]) => ({
    session,
    generation,
    tenant,
    user,
    node,
    run,
    places: [...(places.get(key) ?? [])],
    inferred: true,
    until,
  }));
}

function placeOf({ id, session, generation, event }: LifecycleEvent): string {
  return id.slice(`${session}:${generation}:${event}:`.length);
}
