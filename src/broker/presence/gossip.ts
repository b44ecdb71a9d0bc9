/** What a node hears from the others of who is in the rooms that somebody here watches, over `Cluster`. */

import type { Cancel, Cluster, NodeChange, NodeInfo } from '../cluster.ts';
import type { After, Clock, Defer } from '../ports.ts';
import { RoundRobin } from '../round-robin.ts';
import type { PresenceSettings } from '../settings.ts';
import { ALL, Asking, type Wanted } from './asking.ts';
import { Forms } from './forms.ts';
import { BYTES_PER_HASH, type Sample, unpacked } from './sketch.ts';
import type { Load, Slice } from './slice.ts';
import { type Counted, type CountTold, type Delta, digestOf } from './state.ts';
import {
  BEAT,
  type Beat,
  ENVELOPE_BYTES,
  PARTS,
  type Parts,
  Teller,
  topicOf,
  WHO,
  type Who,
} from './teller.ts';
import type { RoomPresence } from './view.ts';

export interface GossipParts {
  readonly cluster: Cluster;
  readonly settings: PresenceSettings;
  readonly clock: Clock;
  readonly after: After;
  readonly defer: Defer;
  readonly views: ReadonlyMap<string, RoomPresence>;
  /** What the views keep of other nodes. */
  readonly load: Load;
  /** What other nodes have told has changed who is there. */
  readonly changed: (view: RoomPresence) => void;
  /** Nobody of this node asks for the room any more. */
  readonly idle: (view: RoomPresence) => void;
}

const BACK = 'presence.back';
/** A whole that has not come is asked for again. */
const RETRY_MS = 1000;
/** A room goes on to be listened to after its last watcher or query: the next one finds it ready. */
const KEEP_MS = 10_000;
/** Members of a node that nobody calls alive: a heartbeat makes it known, or they leave. */
const STRANGER_MS = 10_000;

/** A node listens to the rooms that somebody here watches, and tells of those that somebody here is in. */
export class Gossip {
  readonly #parts: GossipParts;
  readonly #hearing = new Map<RoomPresence, Cancel>();
  readonly #syncing = new Set<RoomPresence>();
  readonly #ending = new Set<RoomPresence>();
  readonly #idling = new Set<RoomPresence>();
  /** Up to which version of each run of a node all is known that was told. */
  readonly #beats = new Map<string, number>();
  readonly #teller: Teller;
  readonly #asking: Asking;
  readonly #forms: Forms;
  readonly #round = new RoundRobin<RoomPresence>();
  /** Rooms that are due to be compared: few rooms make less than one a tick. */
  #due = 0;

  constructor(parts: GossipParts) {
    this.#parts = parts;
    const { cluster, defer, settings } = parts;
    this.#teller = new Teller(parts);
    this.#asking = new Asking(cluster, defer, settings.messageBytes - ENVELOPE_BYTES);
    this.#forms = new Forms({
      ...parts,
      teller: this.#teller,
      asking: this.#asking,
      syncing: (view) => this.#syncing.add(view),
    });
    cluster.hear(PARTS, (message, from) => this.#received(message as Parts, from));
    cluster.hear(BEAT, (message) => this.#beat(message as Beat));
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
    const cancel = cluster.hear(topicOf(view.key), (told, from) =>
      this.#heard(view, told as Delta | CountTold, from),
    );
    this.#hearing.set(view, cancel);
    this.#round.add(view);
    for (const { node, incarnation } of cluster.nodes().slice(1))
      view.slice(node, incarnation).askedAt = clock.now();
    if (view.whole) return;
    this.#syncing.add(view);
    this.#asking.want(ALL, wholeOf(view));
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
    if (this.#hearing.has(view)) {
      this.#forms.fit(view);
      this.#forms.estimate(view);
    }
    this.#teller.tell(view);
  }

  /**
   * Which of the users are in the room on any node, by asking all; at the latest after `presence.joinWaitMs`.
   * `all`: whether every node has answered.
   */
  who(view: RoomPresence, users: readonly string[], then: (there: string[], all: boolean) => void): void {
    const { cluster, settings } = this.#parts;
    const question: Who = [view.key, users];
    void cluster.ask(WHO, question, settings.joinWaitMs).then(({ answers, missing }) => {
      const there = new Set([...answers.values()].flatMap((answer) => answer as string[]));
      then(
        users.filter((user) => there.has(user)),
        missing.length === 0,
      );
    });
  }

  /** To be called about once a second. */
  tick(): void {
    const { clock, settings } = this.#parts;
    const now = clock.now();
    this.#endDue();
    for (const view of this.#syncing) this.#retry(view);
    for (const view of this.#idling) this.#rest(view, now);
    this.#forms.tick();
    this.#teller.tick();
    // One at the most for each room: an answer may be the whole room.
    this.#due = Math.min(this.#hearing.size, this.#due + (this.#hearing.size * 1000) / settings.digestMs);
    for (; this.#due >= 1; this.#due--) this.#compareNext();
  }

  // --------------------------------------------------------------------------------- what others tell

  #heard(view: RoomPresence, told: Delta | CountTold, from: string): void {
    const slice = this.#slice(view, from, told.i);
    if ('n' in told) view.heardCount(slice, told.v, this.#sampleOf(told));
    else slice.delta(told);
    this.#settle(view, slice);
  }

  #received({ i, r }: Parts, from: string): void {
    for (const part of r) {
      const view = this.#parts.views.get(part.key);
      if (view === undefined || !this.#hearing.has(view)) continue;
      const slice = this.#slice(view, from, i);
      if ('same' in part) slice.same(part.v);
      else if ('n' in part) view.heardCount(slice, part.v, this.#sampleOf(part));
      // With others to come there is no reason to ask anew.
      else if (!slice.part(part)) continue;
      this.#settle(view, slice);
    }
  }

  #sampleOf({ n: users, l: level, h }: Counted): Sample {
    const { load, settings } = this.#parts;
    const hashes = unpacked(h);
    const fits = load.hashes + hashes.length <= settings.othersSketches / BYTES_PER_HASH;
    return { users, level, hashes: fits ? hashes : undefined };
  }

  /** What has been missed is known by the next beat at the latest. */
  #beat({ i, after, to, rooms }: Beat): void {
    for (const [key, version] of rooms) {
      const view = this.#parts.views.get(key);
      const slice = view?.slices.get(i);
      if (view === undefined || slice === undefined || slice.syncing || slice.version >= version) continue;
      this.#askFor(view, slice, wholeOf(view));
    }
    const known = this.#beats.get(i) ?? 0;
    if (after > known) this.#compareAll(i);
    if (to > known) this.#beats.set(i, to);
  }

  #compareAll(incarnation: string): void {
    for (const view of this.#hearing.keys()) {
      const slice = view.slices.get(incarnation);
      if (slice === undefined || slice.syncing || slice.endsAt !== undefined) continue;
      this.#askFor(view, slice, [view.key, 'version', slice.version, slice.users]);
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
    view.settle();
    this.#forms.fit(view);
    if (slice.syncing) {
      this.#syncing.add(view);
      this.#askAgain(view, slice);
    }
    this.#parts.changed(view);
    this.#release(view);
  }

  #release(view: RoomPresence): void {
    if (view.whole) this.#syncing.delete(view);
    if (view.ready) for (const then of [...view.waiting]) then();
  }

  // ------------------------------------------------------------------------------------------ asking

  /** Until it is answered the slice does not count as known. */
  #askFor(view: RoomPresence, slice: Slice, wanted: Wanted): void {
    slice.syncing = true;
    slice.askedAt = this.#parts.clock.now();
    this.#syncing.add(view);
    this.#asking.want(slice.node, wanted);
  }

  #askAgain(view: RoomPresence, slice: Slice): void {
    const now = this.#parts.clock.now();
    if (now - slice.askedAt < RETRY_MS) return;
    slice.askedAt = now;
    this.#asking.want(slice.node, wholeOf(view));
  }

  #retry(view: RoomPresence): void {
    for (const slice of view.slices.values())
      if (slice.syncing && slice.endsAt === undefined) this.#askAgain(view, slice);
    this.#release(view);
  }

  /** Whatever loss nobody has noticed is repaired here, room by room over `presence.digestMs`. */
  #compareNext(): void {
    const view = this.#round.next();
    if (view === undefined) return;
    for (const slice of view.slices.values())
      if (!slice.syncing && slice.endsAt === undefined)
        this.#asking.want(slice.node, compared(view.key, slice));
  }

  // ------------------------------------------------------------------------------------------- nodes

  #node({ node, incarnation, status }: NodeInfo, change: NodeChange): void {
    const { settings } = this.#parts;
    if (change === 'up') {
      this.#again(node, incarnation);
      this.#resync((slice) => slice.incarnation === incarnation, node, incarnation);
    }
    if (change === 'down') {
      this.#beats.delete(incarnation);
      // Who was silent has been away for a while already: its clients have had that time to come back elsewhere.
      const graceMs = status.draining
        ? Math.max(settings.graceMs, settings.drainGraceMs)
        : Math.max(0, settings.graceMs - settings.silenceMs);
      this.#away(incarnation, graceMs, status.draining);
    }
  }

  /** Another run of a node that was there a moment ago: it was not silent, so its clients have their whole grace. */
  #again(node: string, incarnation: string): void {
    const endsAt = this.#parts.clock.now() + this.#parts.settings.graceMs;
    for (const view of this.#ending)
      for (const slice of view.slices.values())
        if (slice.node === node && slice.incarnation !== incarnation)
          slice.endsAt = Math.max(slice.endsAt ?? 0, endsAt);
  }

  #away(incarnation: string, ms: number, drained: boolean): void {
    const now = this.#parts.clock.now();
    for (const view of this.#hearing.keys()) {
      const slice = view.slices.get(incarnation);
      if (slice === undefined) continue;
      // In counts nobody is seen leaving and coming back: whoever has come back elsewhere is in what is told there.
      slice.endsAt = slice.sample === undefined || drained ? now + ms : now;
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
    let [ending, ended] = [false, false];
    for (const slice of view.slices.values()) {
      if (slice.endsAt === undefined) continue;
      if (slice.endsAt > now) {
        ending = true;
        continue;
      }
      view.endSlice(slice);
      ended = true;
    }
    if (!ending) this.#ending.delete(view);
    if (!ended) return;
    this.#forms.fit(view);
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
      this.#asking.want(node, wholeOf(view));
    }
  }

  /** This node was cut off: neither side has heard the other. */
  #back(): void {
    this.#teller.back();
    this.#parts.cluster.tell(BACK, null);
    this.#resync(() => true, ALL);
  }

  #rest(view: RoomPresence, now: number): void {
    if (view.watchers === 0 && view.askedUntil > now) return;
    this.#idling.delete(view);
    if (view.watchers > 0) return;
    this.#hearing.get(view)?.();
    this.#hearing.delete(view);
    this.#round.remove(view);
    this.#syncing.delete(view);
    this.#ending.delete(view);
    view.endSlices();
    this.#forms.rest(view);
    this.#release(view);
    this.#parts.idle(view);
  }
}

function wholeOf({ key, wants }: RoomPresence): Wanted {
  return wants === undefined ? [key] : [key, wants];
}

function compared(key: string, { sample, version, users, members }: Slice): Wanted {
  if (sample !== undefined) return [key, 'version', version, users];
  return [key, 'digest', users, digestOf(members)];
}
