/** What this node tells the others of who is in its rooms. */
import type { Cluster, Told } from '../cluster.ts';
import type { Clock } from '../ports.ts';
import type { PresenceSettings } from '../settings.ts';
import { ASK, type Wanted } from './asking.ts';
import { pack } from './pack.ts';
import { packed, textBytes } from './sketch.ts';
import type { Counted, CountPart, CountTold, Delta, Part, Same } from './state.ts';
import type { RoomPresence } from './view.ts';

export interface TellerParts {
  readonly cluster: Cluster;
  readonly settings: PresenceSettings;
  readonly clock: Clock;
  readonly views: ReadonlyMap<string, RoomPresence>;
  /** The view has waited to be told. */
  readonly changed: (view: RoomPresence) => void;
}

type Answer = Part | CountPart | Same;

export interface Parts {
  readonly i: string;
  readonly r: readonly Answer[];
}

/** Every heartbeat: the rooms that were told of between two versions of a node, each with its version. */
export interface Beat {
  readonly i: string;
  readonly after: number;
  readonly to: number;
  readonly rooms: readonly (readonly [key: string, version: number])[];
}

export const PARTS = 'presence.parts';
export const BEAT = 'presence.beat';
/** Which of these users are in the room on a node. */
export const WHO = 'presence.who';
export type Who = readonly [key: string, users: readonly string[]];
/** Of a message: what is around a list. */
export const ENVELOPE_BYTES = 512;
/** `tick` comes about once a second. */
const TICK_MS = 1000;

export class Teller {
  readonly #parts: TellerParts;
  readonly #bytes: number;
  /** Could not be told. */
  readonly #unsent = new Set<RoomPresence>();
  /** Counts that wait for their time. */
  readonly #due = new Set<RoomPresence>();
  /** Of the last that was told in this run, over all rooms. */
  #version = 0;
  /** Of the rooms told of since the last beat; by version. */
  readonly #recent = new Map<string, number>();
  #beaten = 0;
  #beatAt = Number.NEGATIVE_INFINITY;

  constructor(parts: TellerParts) {
    this.#parts = parts;
    this.#bytes = parts.settings.messageBytes - ENVELOPE_BYTES;
    const { cluster, views } = parts;
    cluster.hear(ASK, (wanted, from) => this.#answer(wanted as Wanted[], from));
    cluster.answer(WHO, (question) => {
      const [key, users] = question as Who;
      const members = views.get(key)?.own.members;
      return users.filter((user) => members?.has(user));
    });
  }

  /** Tells the others what has changed here; what cannot be told now is told after the return of the connection. */
  tell(view: RoomPresence): void {
    const { own } = view;
    if (!own.untold) return;
    if (own.naming && own.members.size > this.#parts.settings.deltaMembers) own.countOnly();
    if (own.naming) this.#name(view);
    else this.#count(view);
  }

  /** From here on the others are told names. */
  name(view: RoomPresence): void {
    if (view.own.naming) return;
    view.own.name(++this.#version);
    this.#recently(view.key, this.#version);
  }

  /** From here on the others are told how many there are. */
  count(view: RoomPresence): void {
    if (!view.own.naming || view.localCount === 0) return;
    view.own.countOnly();
    this.tell(view);
  }

  /** To be called about once a second. */
  tick(): void {
    for (const view of this.#due) {
      this.#due.delete(view);
      this.#parts.changed(view);
    }
    const now = this.#parts.clock.now();
    if (now - this.#beatAt < this.#parts.settings.heartbeatMs - TICK_MS / 2) return;
    this.#beatAt = now;
    this.#beat();
  }

  /** The others can be reached again. */
  back(): void {
    for (const view of [...this.#unsent]) {
      this.#unsent.delete(view);
      this.tell(view);
    }
  }

  #name(view: RoomPresence): void {
    const { cluster } = this.#parts;
    const { own } = view;
    for (const s of pack(own.unnamed(), this.#bytes)) {
      const delta: Delta = { i: cluster.incarnation, p: own.version, v: this.#version + 1, s };
      if (this.#send(view, delta) === 'unavailable') return;
      own.version = this.#version;
    }
    own.told(this.#version);
  }

  #count(view: RoomPresence): void {
    const { own } = view;
    const now = this.#parts.clock.now();
    // That nobody is left is told at once: the node forgets the room.
    if (own.members.size > 0 && now - own.countedAt < this.#parts.settings.countMs) {
      this.#due.add(view);
      return;
    }
    const told: CountTold = { i: this.#parts.cluster.incarnation, ...this.#counted(view, this.#version + 1) };
    if (this.#send(view, told) === 'unavailable') return;
    own.countedAt = now;
    own.told(this.#version);
  }

  #counted({ own }: RoomPresence, v: number): Counted {
    const { users, level, hashes } = own.sample();
    return { v, n: users, l: level, h: hashes === undefined ? '' : packed(hashes) };
  }

  /** Takes the next version. */
  #send(view: RoomPresence, message: Delta | CountTold): Told {
    const told = this.#parts.cluster.tell(topicOf(view.key), message);
    if (told === 'unavailable') this.#unsent.add(view);
    else this.#recently(view.key, ++this.#version);
    return told;
  }

  // ----------------------------------------------------------------------------------------- answers

  #answer(wanted: readonly Wanted[], from: string): void {
    const { cluster } = this.#parts;
    const parts = wanted.flatMap((each) => this.#partsOf(each));
    if (parts.length === 0) return;
    for (const r of pack(parts, this.#bytes))
      cluster.tellNode(from, PARTS, { i: cluster.incarnation, r } satisfies Parts);
  }

  #partsOf(wanted: Wanted): Answer[] {
    const [key] = wanted;
    const view = this.#parts.views.get(key);
    // First: the whole is then what the versions say.
    if (view !== undefined) this.#readied(view, wanted[1]);
    if (asExpected(view, wanted)) return wanted[1] === 'version' ? [{ key, v: wanted[2] ?? 0, same: 1 }] : [];
    const v = view?.own.version || this.#version;
    if (view !== undefined && !view.own.naming) return [{ key, ...this.#counted(view, v) }];
    const lists = pack(view?.own.states() ?? [], this.#bytes - ENVELOPE_BYTES);
    return lists.map((s, at) => ({ key, v, s, more: at < lists.length - 1 ? 1 : 0, at }));
  }

  #readied(view: RoomPresence, form: Wanted[1]): void {
    if (form === 'count') this.count(view);
    if (form === 'names' && view.localCount <= this.#parts.settings.deltaMembers) this.name(view);
    this.tell(view);
  }

  // ------------------------------------------------------------------------------------------- beats

  /** Also of nothing: who has missed the last beat learns of it by the next. */
  #beat(): void {
    if (this.#version === 0) return;
    const { cluster } = this.#parts;
    const lists = pack([...this.#recent], this.#bytes);
    for (const [at, rooms] of lists.entries()) {
      const [, last = this.#version] = rooms.at(-1) ?? [];
      const to = at < lists.length - 1 ? last : this.#version;
      const beat: Beat = { i: cluster.incarnation, after: this.#beaten, to, rooms };
      if (cluster.tell(BEAT, beat) === 'unavailable') return;
      this.#beaten = to;
      for (const [key] of rooms) this.#recent.delete(key);
    }
  }

  #recently(key: string, version: number): void {
    // To the end of the order.
    this.#recent.delete(key);
    this.#recent.set(key, version);
  }
}

function asExpected(view: RoomPresence | undefined, wanted: Wanted): boolean {
  const users = view?.localCount ?? 0;
  if (wanted[1] === 'version') {
    const [, , version, expected] = wanted;
    return users === expected && (users === 0 || view?.own.version === version);
  }
  if (wanted[1] !== 'digest') return false;
  const [, , expected, digest] = wanted;
  return users === expected && (users === 0 || view?.own.digest() === digest);
}

/** Of the message that tells a sample of so many users. */
export function sketchBytes(sketch: number): number {
  return ENVELOPE_BYTES + textBytes(sketch);
}

/** Beyond what a client may write: nothing else is told there. */
export function topicOf(key: string): string {
  return `p.${key}`;
}
