import type { Cluster } from '../cluster.ts';
import type { Clock, Defer, Log } from '../ports.ts';
import type { Stamps } from '../sessions/stamps.ts';
import {
  type LifecycleArchive,
  type LifecycleEvent,
  type LifecycleKind,
  type LifecycleSink,
  type Parting,
  roomOf,
} from './event.ts';
import { Heirs } from './heirs.ts';
import type { LifecycleHooks, Lived } from './hooks.ts';
import { Occupancy } from './occupancy.ts';
import { type Known, type Verdict, Whereabouts } from './whereabouts.ts';

export interface LifecycleParts {
  readonly sink: LifecycleSink;
  readonly archive: LifecycleArchive;
  /** How long a session may be without a connection before it is over. */
  readonly graceMs: number;
  readonly cluster: Cluster;
  readonly sessions: ReadonlyMap<string, Lived>;
  readonly stamps: Stamps;
  readonly askMs: number;
  readonly clock: Clock;
  readonly defer: Defer;
  readonly log: Log;
}

const REPLACED = 4008;
const KICKED = 4009;
/** When some node does not answer, sessions may be there: they are asked for again so often, `graceMs` apart. */
const ATTEMPTS = 3;

/** The record of sessions on this node: tells each event once per connection, and ends only when they are certain. */
export class Lifecycle implements LifecycleHooks {
  readonly #parts: LifecycleParts;
  readonly #occupancy: Occupancy;
  readonly #whereabouts: Whereabouts;
  readonly #heirs: Heirs;
  /** Connections that have ended and may be continued, in the order of their end. */
  #partings: Parting[] = [];
  /** The newest of each session. */
  readonly #newest = new Map<string, Parting>();
  /** Rooms that a session has left in this generation: makes the places of later joins distinct. */
  readonly #leaves = new WeakMap<Lived, number>();
  #concluding = false;
  #attempts = 0;

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
    this.#occupancy = new Occupancy({
      ...parts,
      tell: (what, room, stamp, inferred) => this.#tellRoom(what, room, stamp, inferred),
    });
    this.#whereabouts = new Whereabouts(parts.cluster, (session) => this.#known(session));
    this.#heirs = new Heirs({
      ...parts,
      conclude: (partings) => this.#infer(partings),
      inherit: (partings) => this.#inherit(partings),
    });
  }

  connected(session: Lived): void {
    this.#tell(session.generation === 1 ? 'connected' : 'resumed', session);
  }

  joined(session: Lived, room: string): string {
    const leaves = this.#leaves.get(session) ?? 0;
    const place = leaves === 0 ? room : `${room}#${leaves}`;
    this.#tell('joined', session, place);
    this.#occupancy.entered(keyOf(session.identity.tenant, room));
    return place;
  }

  left(session: Lived, place: string): void {
    this.#leaves.set(session, (this.#leaves.get(session) ?? 0) + 1);
    this.#tell('left', session, place);
    this.#occupancy.left(keyOf(session.identity.tenant, roomOf(place)));
  }

  closed(session: Lived, code: number): void {
    const { clock, graceMs } = this.#parts;
    const places = present(session);
    const wentOn = session.newest > session.generation;
    const until = clock.now() + graceMs;
    const parting = { ...this.#whoOf(session), places, code, until, ...(wentOn && { wentOn }) };
    if (code === KICKED) {
      this.#append(eventOf('kicked', parting, clock.now()));
      for (const place of parting.places) this.#leave(parting, place);
      return;
    }
    if (code === REPLACED) this.#append(eventOf('replaced', parting, clock.now()));
    this.#await([parting]);
  }

  tick(): void {
    this.#occupancy.tick();
    this.#heirs.tick();
    const now = this.#parts.clock.now();
    if (this.#concluding || (this.#partings[0]?.until ?? now + 1) > now) return;
    const due = this.#partings.filter(({ until }) => until <= now);
    this.#concluding = true;
    this.#conclude(due)
      .catch((error: unknown) => this.#parts.log.error({ err: error }, 'ends of sessions are not told yet'))
      .finally(() => {
        this.#concluding = false;
      });
  }

  async close(): Promise<void> {
    await this.#heirs.close(this.#partings, this.#parts.sessions.size > 0);
    this.#occupancy.close();
    this.#whereabouts.close();
  }

  /** Those that are due leave the list only when they have been told: until then other nodes hear of them here. */
  async #conclude(due: readonly Parting[]): Promise<void> {
    const { verdicts, whole } = await this.#whereabouts.of(due);
    if (!whole && ++this.#attempts < ATTEMPTS) return;
    this.#attempts = 0;
    const told = new Set(due);
    this.#partings = this.#partings.filter((parting) => !told.has(parting));
    for (const parting of due)
      if (this.#newest.get(parting.session) === parting) this.#newest.delete(parting.session);
    for (const verdict of verdicts) this.#end(verdict);
  }

  #end({ parting, wentOn, left }: Verdict): void {
    for (const place of left) this.#leave(parting, place);
    // It is in those rooms still, elsewhere or by a later connection.
    for (const place of parting.places)
      if (!left.includes(place)) this.#occupancy.left(keyOf(parting.tenant, roomOf(place)));
    // The newer connection may have ended with its node meanwhile: whoever tells that tells this, too.
    if (!wentOn && !parting.wentOn) this.#append(eventOf('expired', parting, this.#parts.clock.now()));
  }

  /** Of a node that has died: its rooms were never counted here. */
  async #infer(partings: readonly Parting[]): Promise<boolean> {
    const { verdicts, whole } = await this.#whereabouts.of(partings);
    if (!whole) return false;
    const now = this.#parts.clock.now();
    const rooms = new Set<string>();
    for (const { parting, wentOn, left } of verdicts) {
      for (const place of left) {
        this.#append(eventOf('left', parting, now, place));
        rooms.add(keyOf(parting.tenant, roomOf(place)));
      }
      if (!wentOn) this.#append(eventOf('expired', parting, now));
    }
    for (const room of rooms) this.#occupancy.lost(room);
    return this.#parts.sink.flushed();
  }

  #inherit(partings: readonly Parting[]): void {
    for (const parting of partings)
      for (const place of parting.places) this.#occupancy.inherited(keyOf(parting.tenant, roomOf(place)));
    this.#await(partings);
    this.#partings.sort((one, other) => one.until - other.until);
  }

  #await(partings: readonly Parting[]): void {
    for (const parting of partings) {
      this.#partings.push(parting);
      if (parting.generation > (this.#newest.get(parting.session)?.generation ?? 0))
        this.#newest.set(parting.session, parting);
    }
  }

  #known(session: string): Known | undefined {
    const live = this.#parts.sessions.get(session);
    if (live !== undefined) return { generation: live.generation, rooms: new Set(present(live).map(roomOf)) };
    const newest = this.#newest.get(session);
    return newest && { generation: newest.generation, rooms: new Set(newest.places.map(roomOf)) };
  }

  #leave(parting: Parting, place: string): void {
    this.#append(eventOf('left', parting, this.#parts.clock.now(), place));
    this.#occupancy.left(keyOf(parting.tenant, roomOf(place)));
  }

  #whoOf({ id, generation, identity: { user, tenant } }: Lived): Who {
    const { node, incarnation: run } = this.#parts.cluster;
    return { session: id, generation, tenant, user, node, run };
  }

  #tell(event: LifecycleKind, session: Lived, place?: string): void {
    this.#append(eventOf(event, this.#whoOf(session), this.#parts.clock.now(), place));
  }

  #tellRoom(event: 'occupied' | 'vacated', key: string, stamp: number, inferred: boolean): void {
    const { cluster } = this.#parts;
    const [tenant = '', room = ''] = key.split('\0');
    const { node, incarnation: run } = cluster;
    const id = `${tenant}/${room}:${event}:${stamp}.${node}`;
    // The stamp, so that a room's events can be put in order although several nodes tell them.
    this.#append({ id, event, at: stamp, node, run, tenant, room, ...(inferred && { inferred }) });
  }

  #append(event: LifecycleEvent): void {
    this.#parts.sink.append(event);
  }
}

type Who = Omit<Parting, 'places' | 'until' | 'wentOn'>;

function eventOf(event: LifecycleKind, parting: Who, at: number, place?: string): LifecycleEvent {
  const { session, generation, tenant, user, node, run, code, inferred } = parting;
  const id = `${session}:${generation}:${event}`;
  const who = { event, at, node, run, tenant, user, session, generation };
  const mark = { ...(code !== undefined && { code }), ...(inferred && { inferred }) };
  if (place === undefined) return { id, ...who, ...mark };
  return { id: `${id}:${place}`, ...who, room: roomOf(place), ...mark };
}

function present({ rooms }: Lived): string[] {
  return [...rooms.values()].filter((member) => member.present).map(({ place }) => place);
}

function keyOf(tenant: string, room: string): string {
  return `${tenant}\0${room}`;
}
