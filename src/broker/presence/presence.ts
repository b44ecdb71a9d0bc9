import type {
  Encoding,
  JoinedFrame,
  PresenceMode as Mode,
  PresenceUpdateFrame,
} from '../../protocol/frames.ts';
import type { Cluster } from '../cluster.ts';
import type { Answerable, Delivery } from '../delivery.ts';
import { encodeFrame } from '../encode.ts';
import type { Membership } from '../membership.ts';
import type { After, Clock, Defer, Fanout } from '../ports.ts';
import type { Room } from '../room.ts';
import type { Rooms } from '../rooms.ts';
import type { PresenceSettings } from '../settings.ts';
import type { Tally } from '../tally.ts';
import { Gossip } from './gossip.ts';
import { Graces } from './graces.ts';
import { RoomPresence, type Shared, type WatchedRoom } from './view.ts';

export interface PresenceParts {
  readonly fanout: Fanout;
  readonly delivery: Delivery;
  readonly rooms: Pick<Rooms, 'get'>;
  readonly cluster: Cluster;
  readonly presence: PresenceSettings;
  readonly clock: Clock;
  readonly after: After;
  readonly defer: Defer;
  readonly tally: Tally;
}

/** What a query is answered. */
export type PresenceAnswer = Pick<PresenceUpdateFrame, 'mode' | 'members' | 'users' | 'count' | 'partial'>;
/** As `joined` says it. */
export type JoinedPresence = Pick<JoinedFrame, 'members' | 'count' | 'mode' | 'partial'>;

/** In a room as small as this everybody is told at once when a watcher comes, so that it never hears of itself. */
const SMALL = 100;

/**
 * Who is in which room, on all nodes, told to those who asked (`presence: true`). Where nobody asked, the embedded bus
 * keeps nothing but whom a grace keeps; nodes that share NATS keep who is in a room of theirs, and tell it to those who
 * listen.
 */
export class Presence implements Answerable {
  readonly #parts: PresenceParts;
  readonly #settings: PresenceSettings;
  readonly #gossip: Gossip | undefined;
  readonly #views = new Map<string, RoomPresence>();
  readonly #shared: Shared;
  #changed = new Set<RoomPresence>();
  readonly #graces: Graces;

  constructor(parts: PresenceParts) {
    this.#parts = parts;
    this.#settings = parts.presence;
    this.#shared = { sketch: parts.presence.sketch, load: { names: 0, hashes: 0 } };
    const changed = (view: RoomPresence) => this.#mark(view);
    this.#graces = new Graces({ ...parts, settings: parts.presence, changed });
    if (parts.cluster.kind === 'embedded') return;
    this.#gossip = new Gossip({
      ...parts,
      settings: parts.presence,
      views: this.#views,
      load: this.#shared.load,
      changed,
      idle: (view) => this.#forget(view),
    });
  }

  /**
   * `then` runs at once where all is known of who is in the member's room, else when it is, at the latest after
   * `presence.joinWaitMs`. For joins with `presence: true` only.
   */
  whenKnown(room: Room, then: () => void): void {
    if (this.#gossip === undefined || room.tenant.policy.presence === 'off') return then();
    const view = this.#viewOf(room);
    // Whoever waits may be gone before the answer.
    this.#gossip.keep(view);
    this.#known(view, then);
  }

  /** After the member is in the roster. */
  arrived(member: Membership): JoinedPresence | undefined {
    const { room } = member;
    member.present = true;
    if (room.presence === undefined && !this.#wanted(member) && !this.#views.has(room.ref.key))
      return undefined;
    const view = this.#viewOf(room, member);
    view.arrived(member);
    this.#graces.found(member, view);
    this.#mark(view);
    return member.watches ? this.#watched(member, view) : undefined;
  }

  /**
   * After the member has left the roster.
   * @param graceMs it stays for so long, since it may come back; 0: it has left for good
   */
  departed(member: Membership, graceMs: number): void {
    if (!member.present) return;
    member.present = false;
    const view = member.room.presence ?? this.#unwatched(member, graceMs);
    if (view === undefined) return;
    if (member.watches) this.#watch(member, view, -1);
    const kept = graceMs > 0 && this.#graces.keep(member, view, graceMs);
    view.own.departed(member.user, kept);
    this.#mark(view);
    if (member.watches && view.watchers === 0) this.#gossip?.keep(view);
  }

  /**
   * Who is in a room of any node, or which of these users; `then` may run before this returns, and runs at the latest
   * after `presence.joinWaitMs`.
   */
  ask(
    key: string,
    policy: string,
    users: readonly string[] | undefined,
    then: (answer: PresenceAnswer) => void,
  ): void {
    const view = this.#viewFor(key);
    this.#gossip?.keep(view);
    this.#known(view, () => {
      const mode = this.modeOf(view, policy);
      if (users === undefined)
        return then({ mode, ...(mode === 'full' && { members: view.list() }), ...this.#counted(view) });
      this.#present(view, users, (there, all) =>
        then({ mode, users: there, ...this.#counted(view), ...(!all && { partial: true }) }),
      );
    });
  }

  /** How much of the view may be told. */
  modeOf(view: RoomPresence, policy: string): Mode {
    // Watchers hear of another mode first.
    if (view.watchers === 0) view.adoptMode(this.#settings);
    return policy === 'count' ? 'count' : view.mode;
  }

  /** How long a member stays whose connection ended with the code. */
  graceOf(closeCode: number): number {
    return this.#graces.of(closeCode);
  }

  /** The session has a connection on another node, and joins its rooms there. */
  wentOn(session: string): void {
    this.#graces.wentOn(session);
  }

  /** Members whose connection was lost, and whom the other nodes know from this one alone while their grace lasts. */
  get kept(): number {
    return this.#gossip === undefined ? 0 : this.#graces.size;
  }

  /** To be called about once a second. */
  tick(now: number): void {
    this.#graces.tick(now);
    this.#gossip?.tick();
    const { tally } = this.#parts;
    const { load } = this.#shared;
    tally.presenceNames = load.names;
    tally.presenceHashes = load.hashes;
    tally.presenceKept = this.#graces.size;
  }

  /** `flushAnswers` of a turn, or what waited for `presence.batchMs`. */
  flushAnswers(): void {
    const views = this.#changed;
    this.#changed = new Set();
    for (const view of views) {
      this.#gossip?.tell(view);
      if (view.watchers === 0) this.#unheeded(view);
      else this.#publish(view);
    }
  }

  // -------------------------------------------------------------------------------------------- views

  #wanted({ watches, room }: Membership): boolean {
    return (watches || this.#gossip !== undefined) && room.tenant.policy.presence !== 'off';
  }

  /** Of a room that nobody watches: whoever asks within the grace finds the lost member (chat.v1, clause 4.8.3). */
  #unwatched(member: Membership, graceMs: number): RoomPresence | undefined {
    const { name, policy } = member.room.tenant;
    if (graceMs === 0 || policy.presence === 'off' || this.#graces.full(name)) return undefined;
    const view = this.#viewOf(member.room);
    view.arrived(member);
    return view;
  }

  #viewAt(key: string): RoomPresence {
    let view = this.#views.get(key);
    if (view === undefined) {
      view = new RoomPresence(key, this.#gossip && this.#shared);
      this.#views.set(key, view);
    }
    return view;
  }

  /** The view of a room of this node; all that are present are in it, but the newcomer. */
  #viewOf(room: Room, newcomer?: Membership): RoomPresence {
    if (room.presence !== undefined) return room.presence;
    const view = this.#viewAt(room.ref.key);
    view.room = room;
    room.presence = view;
    for (const member of room.members) if (member.present && member !== newcomer) view.arrived(member);
    if (view.own.untold) this.#mark(view);
    return view;
  }

  /** Without other nodes, and where nobody watches or is kept, it is made for one answer. */
  #viewFor(key: string): RoomPresence {
    const room = this.#parts.rooms.get(key);
    if (this.#gossip !== undefined) return room === undefined ? this.#viewAt(key) : this.#viewOf(room);
    const known = this.#views.get(key);
    if (known !== undefined) return known;
    const view = new RoomPresence(key, undefined);
    for (const member of room?.members ?? []) if (member.present) view.arrived(member);
    return view;
  }

  #counted(view: RoomPresence): { readonly count: number; readonly partial?: true } {
    return view.whole ? { count: view.count } : { count: view.count, partial: true };
  }

  #drop(view: RoomPresence): void {
    if (this.#views.get(view.key) === view) this.#views.delete(view.key);
    if (view.room?.presence === view) view.room.presence = undefined;
    view.room = undefined;
  }

  #forget(view: RoomPresence): void {
    const { own } = view;
    const needed = this.#gossip === undefined ? own.keeps : view.localCount > 0 || own.untold;
    if (!needed) this.#drop(view);
  }

  /** Nobody here wants to hear of changes. */
  #unheeded(view: RoomPresence): void {
    view.forgetChanges();
    if (this.#gossip?.listens(view) !== true) this.#forget(view);
  }

  /** `all`: whether nobody is missing from what is known. */
  #present(
    view: RoomPresence,
    users: readonly string[],
    then: (there: string[], all: boolean) => void,
  ): void {
    if (this.#gossip !== undefined && view.counted) return this.#gossip.who(view, users, then);
    then(
      users.filter((user) => view.has(user)),
      true,
    );
  }

  #known(view: RoomPresence, then: () => void): void {
    this.#gossip?.listen(view);
    if (view.ready) return then();
    let over = false;
    const once = () => {
      if (over) return;
      over = true;
      view.waiting.delete(once);
      then();
    };
    view.waiting.add(once);
    this.#parts.after(this.#settings.joinWaitMs, once);
  }

  // ----------------------------------------------------------------------------------------- watchers

  #watched(member: Membership, view: RoomPresence): JoinedPresence {
    // What has changed so far goes to the others only: the newcomer gets the whole in `joined`.
    if (view.watchers === 0) view.forgetChanges();
    else if (view.count <= SMALL) this.#publish(view);
    const mode = this.modeOf(view, member.room.tenant.policy.presence);
    if (view.watchers === 0) view.toldMode = mode;
    this.#watch(member, view, 1);
    return {
      mode,
      ...(mode === 'full' && { members: view.list() }),
      ...this.#counted(view),
    };
  }

  #watch(member: Membership, view: RoomPresence, by: 1 | -1): void {
    const { encoding } = member.connection;
    const topic = member.room.presenceTopic(encoding);
    if (encoding === 'json') view.watchersJson += by;
    else view.watchersMsgpack += by;
    if (by === 1) member.connection.subscribe(topic);
    else member.connection.unsubscribe(topic);
  }

  #mark(view: RoomPresence): void {
    if (this.#changed.size === 0) this.#schedule();
    this.#changed.add(view);
  }

  #schedule(): void {
    const { batchMs } = this.#settings;
    if (batchMs === 0) this.#parts.delivery.answerLater(this);
    else this.#parts.after(batchMs, () => this.flushAnswers());
  }

  #publish(view: RoomPresence): void {
    const { room } = view;
    if (room === undefined) return;
    view.adoptMode(this.#settings);
    const { presence: policy } = room.tenant.policy;
    const mode = this.modeOf(view, policy);
    if (mode === 'count' && this.#tooSoon(view)) return;
    const frame = this.#frame(view, room, mode);
    if (frame === undefined || policy === 'off') return;
    this.#send(room, frame, 'json', view.watchersJson);
    this.#send(room, frame, 'msgpack', view.watchersMsgpack);
  }

  /** A count goes out at most once per `presence.countMs`; the last one does go out. */
  #tooSoon(view: RoomPresence): boolean {
    const { clock, after } = this.#parts;
    const left = view.lastCountAt + this.#settings.countMs - clock.now();
    if (left <= 0) {
      view.lastCountAt = clock.now();
      return false;
    }
    if (!view.countDue) {
      view.countDue = true;
      after(left, () => {
        view.countDue = false;
        this.#mark(view);
      });
    }
    return true;
  }

  /** undefined: there is nothing to tell. */
  #frame(view: RoomPresence, room: WatchedRoom, mode: Mode): PresenceUpdateFrame | undefined {
    const more = mode === 'full' && view.toldMode !== 'full';
    if (!view.changed && !more) return undefined;
    view.toldMode = mode;
    const head = { type: 'presence', room: room.ref.name, count: view.count } as const;
    if (mode === 'count') {
      view.forgetChanges();
      return { ...head, mode };
    }
    const { joined, left } = view.take();
    // Who has joined while changes came without a list, or none came, gets the list now.
    return more ? { ...head, mode, members: view.list() } : { ...head, mode: 'delta', joined, left };
  }

  #send(room: WatchedRoom, frame: PresenceUpdateFrame, encoding: Encoding, watchers: number): void {
    if (watchers === 0) return;
    const { fanout, delivery } = this.#parts;
    const data = encodeFrame(frame, encoding);
    fanout.publish(room.presenceTopic(encoding), data, encoding);
    delivery.sent(room, watchers, data);
  }
}
