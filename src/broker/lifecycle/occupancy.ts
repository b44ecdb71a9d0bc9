import type { Cancel, Cluster } from '../cluster.ts';
import type { Clock, Defer } from '../ports.ts';
import { isBefore, type Stamped, type Stamps } from '../sessions/stamps.ts';

export interface OccupancyParts {
  readonly cluster: Cluster;
  readonly stamps: Stamps;
  readonly askMs: number;
  readonly clock: Clock;
  readonly defer: Defer;
  readonly tell: (what: 'occupied' | 'vacated', room: string, stamp: number, inferred: boolean) => void;
}

interface Change {
  readonly room: string;
  readonly what: 'occupied' | 'vacated';
  readonly stamp: number;
  readonly inferred: boolean;
}

type Question = readonly (readonly [string, number])[];

/** A time in which this node had members of a room, by stamps. */
interface Former {
  readonly since: number;
  readonly until: number;
}

const TOPIC = 'lifecycle.rooms';
const AT_ONCE = 200;
/** Longer than any node takes to ask. */
const REMEMBERED_MS = 70_000;
/** Of one room. */
const FORMER = 8;
/** Rooms; beyond it the one vacated longest ago is forgotten. About 200 bytes each: who joins and leaves makes many. */
const FORMER_ROOMS = 100_000;

/**
 * When a room gets its first member on all nodes, and loses the last. A node whose own count leaves or reaches 0 asks
 * the others, and tells it unless one had members at that stamp. Whatever a node does after it was asked has later
 * stamps, so that its answer does not change: of all nodes' times together exactly the beginnings and ends are told.
 */
export class Occupancy {
  readonly #parts: OccupancyParts;
  readonly #rooms = new Map<string, { count: number; readonly stamp: number }>();
  /** Of late; the rooms vacated longest ago first. */
  readonly #former = new Map<string, readonly Former[]>();
  #changes: Change[] = [];
  #told: Promise<void> = Promise.resolve();
  readonly #answering: Cancel;

  constructor(parts: OccupancyParts) {
    this.#parts = parts;
    this.#answering = parts.cluster.answer(TOPIC, (question, from) =>
      from === parts.cluster.node ? [] : this.#objections(question as Question, from),
    );
  }

  close(): void {
    this.#answering();
  }

  entered(room: string): void {
    const known = this.#rooms.get(room);
    if (known !== undefined) {
      known.count++;
      return;
    }
    const stamp = this.#parts.stamps.next();
    this.#rooms.set(room, { count: 1, stamp });
    this.#changed({ room, what: 'occupied', stamp, inferred: false });
  }

  /** Members that were counted on another node until now. */
  inherited(room: string): void {
    const known = this.#rooms.get(room);
    if (known !== undefined) known.count++;
    else this.#rooms.set(room, { count: 1, stamp: this.#parts.stamps.next() });
  }

  left(room: string): void {
    const known = this.#rooms.get(room);
    if (known === undefined || --known.count > 0) return;
    this.#rooms.delete(room);
    const until = this.#vacate(room, false);
    // Only other nodes ask for it.
    if (this.#parts.cluster.kind === 'nats') this.#remember(room, { since: known.stamp, until });
  }

  #remember(room: string, time: Former): void {
    const former = [...(this.#former.get(room) ?? []), time];
    // Taken out first, so that the map stands in the order of the ends.
    this.#former.delete(room);
    this.#former.set(room, former.slice(-FORMER));
    if (this.#former.size <= FORMER_ROOMS) return;
    const [oldest] = this.#former.keys();
    if (oldest !== undefined) this.#former.delete(oldest);
  }

  /** A member on a node that has died was there; perhaps it was the last. */
  lost(room: string): void {
    if (!this.#rooms.has(room)) this.#vacate(room, true);
  }

  /** To be called about once a second. */
  tick(): void {
    const old = this.#parts.clock.now() - REMEMBERED_MS;
    for (const [room, former] of this.#former) {
      if ((former.at(-1)?.until ?? 0) > old) return;
      this.#former.delete(room);
    }
  }

  #vacate(room: string, inferred: boolean): number {
    const stamp = this.#parts.stamps.next();
    this.#changed({ room, what: 'vacated', stamp, inferred });
    return stamp;
  }

  #changed(change: Change): void {
    if (this.#changes.length === 0) this.#parts.defer(() => this.#askAll());
    this.#changes.push(change);
  }

  #askAll(): void {
    const changes = this.#changes;
    this.#changes = [];
    for (let at = 0; at < changes.length; at += AT_ONCE) {
      const asked = this.#ask(changes.slice(at, at + AT_ONCE));
      // Asked side by side, told in order.
      this.#told = this.#told.then(async () => this.#tell(await asked));
    }
  }

  /** Those that no other node denies. */
  async #ask(changes: readonly Change[]): Promise<readonly Change[]> {
    const { cluster, askMs } = this.#parts;
    const denied = new Set<number>();
    if (cluster.kind === 'nats') {
      const question: Question = changes.map(({ room, stamp }) => [room, stamp]);
      const { answers } = await cluster.ask(TOPIC, question, askMs);
      for (const answer of answers.values()) for (const at of answer as readonly number[]) denied.add(at);
    }
    return changes.filter((_, at) => !denied.has(at));
  }

  #tell(changes: readonly Change[]): void {
    for (const { what, room, stamp, inferred } of changes) this.#parts.tell(what, room, stamp, inferred);
  }

  /** Which of them fall into a time in which this node had members of the room. */
  #objections(question: Question, from: string): number[] {
    return question.flatMap(([room, stamp], at) => {
      this.#parts.stamps.heard(stamp);
      return this.#had(room, { stamp, node: from }) ? [at] : [];
    });
  }

  #had(room: string, at: Stamped): boolean {
    const { node } = this.#parts.cluster;
    const current = this.#rooms.get(room);
    if (current !== undefined && isBefore({ stamp: current.stamp, node }, at)) return true;
    const former = this.#former.get(room) ?? [];
    return former.some(
      ({ since, until }) => isBefore({ stamp: since, node }, at) && isBefore(at, { stamp: until, node }),
    );
  }
}
