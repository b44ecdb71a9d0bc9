/** What the nodes tell one another of who is in which room, over `Cluster`. */
import type { Cancel, Cluster, NodeChange, NodeInfo } from '../cluster.ts';
import type { After, Clock, Defer } from '../ports.ts';
import type { PresenceSettings } from '../settings.ts';
import { pack } from './pack.ts';
import type { Slice } from './slice.ts';
import { type Delta, digestOf, type Part } from './state.ts';
import type { RoomPresence } from './view.ts';

export interface GossipParts {
  readonly cluster: Cluster;
  readonly settings: PresenceSettings;
  readonly clock: Clock;
  readonly after: After;
  readonly defer: Defer;
  readonly views: ReadonlyMap<string, RoomPresence>;
  /** What other nodes have told has changed who is there. */
  readonly changed: (view: RoomPresence) => void;
  /** Nobody of this node asks for the room any more. */
  readonly idle: (view: RoomPresence) => void;
}

/** `[key]`: the whole is wanted; with version, count and digest: only if it differs. */
type Wanted = readonly [string] | readonly [string, number, number, number];
interface Parts {
  readonly i: string;
  readonly r: readonly Part[];
}

const ASK = 'presence.ask';
const PARTS = 'presence.parts';
const BACK = 'presence.back';
/** To all nodes. */
const ALL = '';
/** A whole that has not come is asked for again. */
const RETRY_MS = 1000;
/** A room goes on to be listened to after its last watcher or query: the next one finds it ready. */
const KEEP_MS = 10_000;
/** Members of a node that nobody calls alive: a heartbeat makes it known, or they leave. */
const STRANGER_MS = 10_000;
/** Of a message: what is around a list. */
const ENVELOPE_BYTES = 512;

/** A node listens to the rooms that somebody here watches, and tells of those that somebody here is in. */
export class Gossip {
  readonly #parts: GossipParts;
  readonly #hearing = new Map<RoomPresence, Cancel>();
  readonly #syncing = new Set<RoomPresence>();
  readonly #ending = new Set<RoomPresence>();
  readonly #idling = new Set<RoomPresence>();
  /** Could not be told. */
  readonly #unsent = new Set<RoomPresence>();
  readonly #wanted = new Map<string, Map<string, Wanted>>();
  /** Of the last delta of this run, over all rooms. */
  #version = 0;
  #round: Iterator<RoomPresence>;
  /** Rooms that are due to be compared: few rooms make less than one a tick. */
  #due = 0;

  constructor(parts: GossipParts) {
    this.#parts = parts;
    this.#round = this.#hearing.keys();
    const { cluster } = parts;
    cluster.hear(ASK, (wanted, from) => this.#answer(wanted as Wanted[], from));
    cluster.hear(PARTS, (message, from) => this.#received(message as Parts, from));
    cluster.hear(BACK, (_, from) => this.#resync(({ node }) => node === from, from));
    cluster.watchNodes((info, change) => this.#node(info, change));
    cluster.watchConnected((connected) => {
      if (connected) this.#back();
    });
  }

  /** From here on the view is kept up to date by what other nodes tell. */
  listen(view: RoomPresence): void {
    if (this.#hearing.has(view)) return;
    const { cluster, clock } = this.#parts;
    // First: what is told while the answers are under way must not be missed.
    const cancel = cluster.hear(topicOf(view.key), (delta, from) => this.#heard(view, delta as Delta, from));
    this.#hearing.set(view, cancel);
    for (const { node, incarnation } of cluster.nodes().slice(1))
      view.slice(node, incarnation).askedAt = clock.now();
    if (view.whole) return;
    this.#syncing.add(view);
    this.#want(ALL, [view.key]);
  }

  /** Whether other nodes are listened to. */
  listens(view: RoomPresence): boolean {
    return this.#hearing.has(view);
  }

  /** Nobody watches any more, or somebody has asked once. */
  keep(view: RoomPresence): void {
    view.askedUntil = this.#parts.clock.now() + KEEP_MS;
    this.#idling.add(view);
  }

  /** Tells the others what has changed here; what cannot be told now is told after the return of the connection. */
  tell(view: RoomPresence): void {
    if (!view.untold) return;
    const { cluster } = this.#parts;
    for (const s of pack(view.untoldStates(), this.#bytes)) {
      const delta: Delta = { i: cluster.incarnation, p: view.version, v: ++this.#version, s };
      if (cluster.tell(topicOf(view.key), delta) === 'unavailable') {
        this.#unsent.add(view);
        return;
      }
      view.version = delta.v;
    }
    view.told();
    if (view.localCount === 0) view.version = 0;
  }

  /** To be called about once a second. */
  tick(): void {
    const { clock, settings } = this.#parts;
    const now = clock.now();
    this.#endDue();
    for (const view of this.#syncing) this.#retry(view);
    for (const view of this.#idling) this.#rest(view, now);
    // One at the most for each room: an answer may be the whole room.
    this.#due = Math.min(this.#hearing.size, this.#due + (this.#hearing.size * 1000) / settings.digestMs);
    for (; this.#due >= 1; this.#due--) this.#compareNext();
  }

  get #bytes(): number {
    return this.#parts.settings.messageBytes - ENVELOPE_BYTES;
  }

  // --------------------------------------------------------------------------------- what others tell

  #heard(view: RoomPresence, delta: Delta, from: string): void {
    const slice = this.#slice(view, from, delta.i);
    slice.delta(delta);
    this.#settle(view, slice);
  }

  #received({ i, r }: Parts, from: string): void {
    for (const part of r) {
      const view = this.#parts.views.get(part.key);
      if (view === undefined || !this.#hearing.has(view)) continue;
      const slice = this.#slice(view, from, i);
      slice.part(part);
      // A part with others to come is no reason to ask anew.
      if (part.more === 0) this.#settle(view, slice);
    }
  }

  #slice(view: RoomPresence, node: string, incarnation: string): Slice {
    const known = view.slices.get(incarnation);
    if (known !== undefined) return known;
    const slice = view.slice(node, incarnation);
    const { cluster, clock } = this.#parts;
    if (cluster.nodes().some((info) => info.incarnation === incarnation)) return slice;
    slice.endsAt = clock.now() + STRANGER_MS;
    this.#ending.add(view);
    return slice;
  }

  #settle(view: RoomPresence, slice: Slice): void {
    if (slice.syncing) {
      this.#syncing.add(view);
      this.#askAgain(view, slice);
    }
    this.#parts.changed(view);
    this.#release(view);
  }

  #release(view: RoomPresence): void {
    if (!view.whole) return;
    this.#syncing.delete(view);
    for (const then of [...view.waiting]) then();
  }

  // ------------------------------------------------------------------------------------------ asking

  #want(node: string, wanted: Wanted): void {
    if (this.#wanted.size === 0) this.#parts.defer(() => this.#ask());
    let rooms = this.#wanted.get(node);
    if (rooms === undefined) {
      rooms = new Map();
      this.#wanted.set(node, rooms);
    }
    rooms.set(wanted[0], wanted);
  }

  /** What one turn wants goes out together. Lost or not sent: `tick` asks again. */
  #ask(): void {
    const { cluster } = this.#parts;
    for (const [node, rooms] of this.#wanted)
      for (const wanted of pack([...rooms.values()], this.#bytes)) {
        if (node === ALL) cluster.tell(ASK, wanted);
        else cluster.tellNode(node, ASK, wanted);
      }
    this.#wanted.clear();
  }

  #askAgain(view: RoomPresence, slice: Slice): void {
    const now = this.#parts.clock.now();
    if (now - slice.askedAt < RETRY_MS) return;
    slice.askedAt = now;
    this.#want(slice.node, [view.key]);
  }

  #retry(view: RoomPresence): void {
    for (const slice of view.slices.values())
      if (slice.syncing && slice.endsAt === undefined) this.#askAgain(view, slice);
    this.#release(view);
  }

  #answer(wanted: readonly Wanted[], from: string): void {
    const { cluster } = this.#parts;
    const parts = wanted.flatMap((each) => this.#partsOf(each));
    if (parts.length === 0) return;
    for (const r of pack(parts, this.#bytes))
      cluster.tellNode(from, PARTS, { i: cluster.incarnation, r } satisfies Parts);
  }

  #partsOf([key, version, count, digest]: Wanted): Part[] {
    const view = this.#parts.views.get(key);
    // First: the whole is then what the versions say.
    if (view !== undefined) this.tell(view);
    const asExpected =
      version === undefined
        ? false
        : (view?.localCount ?? 0) === count && (view?.localDigest() ?? 0) === digest;
    if (asExpected) return [];
    const v = view?.version || this.#version;
    const lists = pack(view?.localStates() ?? [], this.#bytes - ENVELOPE_BYTES);
    return lists.map((s, at) => ({ key, v, s, more: at < lists.length - 1 ? 1 : 0 }));
  }

  /** Whatever loss nobody has noticed is repaired here, room by room over `presence.digestMs`. */
  #compareNext(): void {
    let next = this.#round.next();
    if (next.done === true) {
      this.#round = this.#hearing.keys();
      next = this.#round.next();
    }
    if (next.done === true) return;
    const view = next.value;
    for (const { node, syncing, endsAt, version, members } of view.slices.values())
      if (!syncing && endsAt === undefined)
        this.#want(node, [view.key, version, members.size, digestOf(members)]);
  }

  // ------------------------------------------------------------------------------------------- nodes

  #node({ node, incarnation, status }: NodeInfo, change: NodeChange): void {
    const { settings } = this.#parts;
    if (change === 'up') {
      this.#again(node, incarnation);
      this.#resync((slice) => slice.incarnation === incarnation, node, incarnation);
    }
    // Who was silent has been away for a while already: its clients have had that time to come back elsewhere.
    const passed = status.draining ? 0 : settings.silenceMs;
    if (change === 'down') this.#away(incarnation, Math.max(0, settings.graceMs - passed));
  }

  /** Another run of a node that was there a moment ago: it was not silent, so its clients have their whole grace. */
  #again(node: string, incarnation: string): void {
    const endsAt = this.#parts.clock.now() + this.#parts.settings.graceMs;
    for (const view of this.#ending)
      for (const slice of view.slices.values())
        if (slice.node === node && slice.incarnation !== incarnation)
          slice.endsAt = Math.max(slice.endsAt ?? 0, endsAt);
  }

  #away(incarnation: string, ms: number): void {
    const now = this.#parts.clock.now();
    for (const view of this.#hearing.keys()) {
      const slice = view.slices.get(incarnation);
      if (slice === undefined) continue;
      slice.endsAt = now + ms;
      this.#ending.add(view);
      this.#end(view, now);
      this.#release(view);
    }
    // A tick would come up to a second later.
    if (ms > 0) this.#parts.after(ms, () => this.#endDue());
  }

  #endDue(): void {
    const now = this.#parts.clock.now();
    for (const view of this.#ending) this.#end(view, now);
  }

  #end(view: RoomPresence, now: number): void {
    let ending = false;
    for (const slice of view.slices.values()) {
      if (slice.endsAt === undefined) continue;
      if (slice.endsAt > now) ending = true;
      else view.endSlice(slice);
    }
    if (ending) return;
    this.#ending.delete(view);
    this.#parts.changed(view);
  }

  /** What these nodes have told may not be all: the whole is wanted. */
  #resync(which: (slice: Slice) => boolean, node: string, incarnation?: string): void {
    const now = this.#parts.clock.now();
    for (const view of this.#hearing.keys()) {
      if (incarnation !== undefined) view.slice(node, incarnation).endsAt = undefined;
      let some = false;
      for (const slice of view.slices.values()) {
        if (!which(slice)) continue;
        slice.syncing = true;
        slice.askedAt = now;
        some = true;
      }
      if (!some) continue;
      this.#syncing.add(view);
      this.#want(node, [view.key]);
    }
  }

  /** This node was cut off: neither side has heard the other. */
  #back(): void {
    for (const view of [...this.#unsent]) {
      this.#unsent.delete(view);
      this.tell(view);
    }
    this.#parts.cluster.tell(BACK, null);
    this.#resync(() => true, ALL);
  }

  #rest(view: RoomPresence, now: number): void {
    if (view.watchers === 0 && view.askedUntil > now) return;
    this.#idling.delete(view);
    if (view.watchers > 0) return;
    this.#hearing.get(view)?.();
    this.#hearing.delete(view);
    this.#syncing.delete(view);
    this.#ending.delete(view);
    view.endSlices();
    this.#release(view);
    this.#parts.idle(view);
  }
}

/** Beyond what a client may write: nothing else is told there. */
function topicOf(key: string): string {
  return `p.${key}`;
}
